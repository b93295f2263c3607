"""What decides a pretraining run: the fields of its TOML recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from napari_amvlm.config import Config, ModelConfig
from napari_amvlm.models.build import CONFIGURATIONS
from training.datasets.word_sets import SetSpec  # noqa: TC001 - pydantic reads the annotations
from training.pretraining.data import SOURCES
from training.pretraining.step_one import StepOneConfig


class Index(Config):
    """An index file of sets, and which of them are used."""

    file: str = Field(description="table with a row a set, relative to the data folder")
    wordings: str | None = Field(None, description="table of prompt,wording, relative to the data folder")
    weights: tuple[str, ...] = Field((), description="values of the column `weights` that are used; empty: all")


class Recipe(Config):
    """Everything that decides a pretraining run.

    With `sets` or `index` it teaches a vocabulary, and `sources` and batches of two kinds play no part.
    """

    name: str
    version: str
    licence: str
    training_data: str
    sources: tuple[str, ...] = SOURCES
    sets: tuple[SetSpec, ...] = Field((), description="sets that the recipe itself describes")
    index: tuple[Index, ...] = Field((), description="files that describe sets")
    sides: dict[str, int] = Field({}, description="words seen in tiles of the image at this long side, pixels")
    emphasis: dict[str, float] = Field({}, description="factor on how often a set without a share of its own is drawn")
    held_out_words: tuple[str, ...] = Field((), description="words of a vocabulary that are neither said nor asked")
    held_out_wordings: bool = Field(False, description="whether a quarter of the wordings is neither said nor asked")
    levels: float = Field(0.5, ge=0, le=1, description="how often a view of a spine is asked for a numbered level")
    batch: int = Field(10, ge=1, description="images in a batch of a vocabulary")
    loaders: int = Field(1, ge=0, le=16, description="processes that make batches of a vocabulary; 0: none of its own")
    schedule: Literal["cosine", "constant", "linear"] = "cosine"
    score_images: int = Field(4, ge=1, description="validation images of each set that are scored while it learns")
    model: ModelConfig = ModelConfig()
    vit: str | None = Field(None, description="ViT or DeiT that the image encoder starts as: a folder, or a hub name")
    seed: int = 0
    steps: int = Field(4000, ge=1)
    learning_rate: float = Field(1.5e-3, gt=0)
    encoder_rate: float = Field(0.5, gt=0, description="factor on the rate of the encoders")
    weight_decay: float = Field(0.02, ge=0)
    warmup: int = Field(150, ge=1)
    tile_batch: int = Field(6, ge=1)
    whole_batch: int = Field(4, ge=1)
    tile_every: int = Field(2, ge=1, description="every so many steps the batch is tissue")
    negatives: int = Field(0, ge=0, description="images in a batch that are asked for what they do not show")
    in_vain: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="factor on how often a word of a vocabulary is among what is asked in vain"
    )
    accumulate: int = Field(1, ge=1, description="batches a step; processes share them, so their number divides it")
    crop: int = 256
    first_crop: int = Field(0, ge=0, multiple_of=16, description="side of the views of a vocabulary's first steps")
    first_steps: int = Field(0, ge=0, description="how many steps have smaller views: they cost much less")
    ema_decay: float = Field(0.999, ge=0, lt=1)
    balance_below: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of foreground below which `class_balance` acts; above, cross-entropy is plain",
    )
    text_mask_weight: float = 0.5
    step_one: StepOneConfig = StepOneConfig()
    step_one_weight: float = Field(0.1, ge=0, description="weight of step 1's losses beside those of the masks")
    guidance_weight: float = Field(0.05, description="weight of L_tg")
    presence_weight: float = 0.2
    class_balance: float = Field(0.3, ge=0, le=1)
    start: str | None = Field(
        None, description='weights to go on from: a file\'s SHA-256, or "given" for what --start names; None: random'
    )
    presence_steps: int = Field(300, ge=0, description="steps of the final fit of the presence score")
    log_every: int = Field(50, ge=1)
    score_every: int = Field(500, ge=1)
    save_every_seconds: float = 180

    @field_validator("model", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """Take the name of a configuration for its values; a table may name one as `like` and change it."""
        if isinstance(value, str):
            value = {"like": value}
        if not isinstance(value, dict) or "like" not in value:
            return value
        if value["like"] not in CONFIGURATIONS:
            raise ValueError(f"expected one of {', '.join(CONFIGURATIONS)}, but got {value['like']!r}")
        changes = {key: change for key, change in value.items() if key != "like"}
        like = CONFIGURATIONS[value["like"]].model_dump()
        return {k: {**v, **changes.get(k, {})} if isinstance(v, dict) else changes.get(k, v) for k, v in like.items()}

    @property
    def teaches_words(self) -> bool:
        """Whether the recipe teaches a vocabulary."""
        return bool(self.sets or self.index)
