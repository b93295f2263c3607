"""What every part of the benchmark is told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from napari_amvlm.config import Config

SAMPLES = Path(__file__).parents[2] / "sample_data"


class Options(Config):
    """Which model, where, and on what."""

    model: str | None = Field(None, description="name of an installed model, or a model file; None: the default")
    device: str = Field("auto", description="where the model computes")
    tissue: Path = Field(SAMPLES / "nuclei", description="data folder whose images slides are made of")
    learning: Path = Field(SAMPLES / "nuclei", description="data folder with masks that is learnt from")
    prompt: str = Field("nuclei", description="what the masks of `learning` show")
    minutes: float = Field(1.0, gt=0, le=60, description="budget of the learning run")
    side: int = Field(40_000, ge=3000, le=200_000, description="side of the slide that is written, pixels")
