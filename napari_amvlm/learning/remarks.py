"""What a person should hear about the images of a run before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import is_gray
from napari_amvlm.models.words.taught import taught

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.learning.data import LabelledImage, LearningData, UnlabelledImage

_STEP = 4
"""Every so many pixels say whether an image is gray."""


def remarks(data: LearningData, config: ModelConfig) -> Iterator[str]:
    """Yield a sentence for whatever may make a run learn something else than was meant.

    That is a prompt that was answered at both working scales, one of which all masks are empty, one that only held-out
    images of a project have and a model of this configuration, that of the run's result, was not taught, and unlabelled
    images that are gray where the labelled ones have colours, or the other way round.
    """
    shown = data.shown_prompts()
    of_project = data.validation if data.entries is not None else ()
    for prompt in dict.fromkeys(prompt for image in of_project for prompt in image.masks):
        if prompt not in data.prompts and taught(config, prompt) is None:
            yield f"{prompt!r} is accepted on held-out images alone, and so not learnt; accept it on another image too."
    for prompt, scale in data.prompt_scales().items():
        if {image.scales.get(prompt, "tiles") for image in data.labelled if prompt in image.masks} != {scale}:
            where = "in tiles" if scale == "tiles" else "on whole images"
            yield f"{prompt!r} was accepted at both working scales; it is learnt {where}, as most of it was."
        if prompt not in shown:
            yield f"All masks of {prompt!r} are empty, so the model learns that it is absent, not what it looks like."
    labelled, unlabelled = _gray(data.labelled), _gray(data.unlabelled)
    others = unlabelled.count(not labelled[0]) if len(set(labelled)) == 1 else 0
    if others:
        ours, theirs = ("gray", "in colour") if labelled[0] else ("in colour", "gray")
        yield (
            f"The labelled images are {ours}, but {others} of {len(unlabelled)} unlabelled ones {theirs}; "
            "take those of another kind out."
        )


def _gray(images: Sequence[LabelledImage | UnlabelledImage]) -> list[bool]:
    """Tell of each image that is in memory whether it has no colours."""
    return [is_gray(i.image[::_STEP, ::_STEP]) for i in images if isinstance(i.image, np.ndarray)]
