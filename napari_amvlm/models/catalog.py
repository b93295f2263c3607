"""Which models are installed, and how a name becomes a file. Without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_amvlm.errors import ModelFileError
from napari_amvlm.models.model_info import ModelInfo, read_info

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = "amvlm-open"
WEIGHTS = Path(__file__).parents[1] / "weights"


def installed_models(extra: Iterable[Path] = ()) -> list[ModelInfo]:
    """Return what the headers say of all packaged models, the default first, then of the files `extra`."""
    packaged = sorted(WEIGHTS.glob("*.safetensors"), key=lambda p: (p.stem != DEFAULT, p.stem))
    return [read_info(path) for path in [*packaged, *extra]]


def find_model(name: str | Path | None = None) -> Path:
    """Return the file of a model.

    Parameters
    ----------
    name
        Name of a packaged model, or the path of a file; None means the default.

    Raises
    ------
    ModelFileError
        There is no such model; the message lists those that are.
    """
    wanted = str(name or DEFAULT)
    for path in (Path(wanted).expanduser(), WEIGHTS / f"{wanted}.safetensors"):
        if path.is_file():
            return path
    there = ", ".join(p.stem for p in sorted(WEIGHTS.glob("*.safetensors"))) or "none"
    raise ModelFileError(
        f"There is no model {wanted!r}; give the path of a .safetensors file or one of the installed: {there}."
    )
