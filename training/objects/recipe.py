"""Recipes of the object head: which sets hold objects, and how long it learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_amvlm.config import STRIDE, Config, ObjectsConfig


class ObjectSet(Config):
    """Images of one concept whose objects are known.

    Attributes
    ----------
    folder
        Relative to the data folder, in LViT layout.
    prompt
        The concept; the set is left out where the model was not taught it.
    masks
        "instances": a number for each object; "pieces": connected pieces of `labelcol/` are objects, but for pieces of
        an uneven outline, which may be several objects and are not learnt from.
    value
        The value of `labelcol/` that is meant; None: all above 0.
    share
        Share of the crops, relative to the other sets.
    holding_out
        Whether one image in eight, by a hash of its name, is for validation alone.
    """

    folder: str
    prompt: str = "nuclei"
    masks: Literal["instances", "pieces"] = "pieces"
    value: int | None = Field(None, ge=1)
    share: float = Field(1.0, gt=0)
    holding_out: bool = True


class ObjectRecipe(Config):
    """Everything that decides how the head is fitted."""

    licence: str = Field(description="of the weights that may learn from these sets")
    sets: tuple[ObjectSet, ...] = Field(min_length=1)
    scored: tuple[ObjectSet, ...] = Field((), description="further sets, all for validation; left out if missing")
    head: ObjectsConfig
    seed: int = 0
    crop: int = Field(192, ge=64, multiple_of=STRIDE)
    zoom: tuple[float, float] = (0.7, 1.4)
    blur: float = Field(0.7, ge=0, le=5, description="largest sigma of a Gaussian blur, pixels")
    noise: float = Field(0.03, ge=0, le=1, description="largest standard deviation of Gaussian noise")
    doubt: float = Field(0.4, ge=0, description="spread of what is added to the logit of the probability")
    steps: int = Field(4000, ge=1)
    batch: int = Field(6, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    inside: float = Field(3.0, gt=0, description="weight of pixels inside objects, relative to those outside")
