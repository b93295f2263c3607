"""How good the starting model is at the taught prompts of a run, on labelled images that it has not learnt from yet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.learning.validation import prompt_means, validate
from napari_amvlm.models.words.taught import taught

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_amvlm.learning.data import LabelledImage, LearningData
    from napari_amvlm.models.amvlm import AMVLM

_MOST = 8
"""Number of images for each prompt."""


def start_scores(
    model: AMVLM, data: LearningData, side: int, should_stop: Callable[[], bool] | None = None
) -> dict[str, float]:
    """Return the mean Dice of a model by taught prompt, over up to 8 labelled images that show what the prompt says.

    Of an image that is seen in tiles, one square of `side` pixels is looked at, in the middle of what it shows. Prompts
    that no labelled image shows have no score.

    Raises
    ------
    Cancelled
        `should_stop` said so, which is asked at each image.
    """
    known = [prompt for prompt in data.prompt_scales() if taught(model.config, prompt) is not None]
    pieces = [piece for prompt in known for piece in _pieces(data, prompt, side)]
    return prompt_means(validate(model, pieces, should_stop=should_stop))


def _pieces(data: LearningData, prompt: str, side: int) -> Iterator[LabelledImage]:
    found = 0
    for image in data.labelled:
        if prompt not in image.masks or found == _MOST:
            continue
        shown = image.shown(prompt)
        if not shown.any():
            continue
        found += 1
        yield _piece(image, prompt, shown, side if image.scales.get(prompt, "tiles") == "tiles" else max(shown.shape))


def _piece(image: LabelledImage, prompt: str, shown: np.ndarray, side: int) -> LabelledImage:
    """Return the square of `side` pixels that has the middle one of the `shown` pixels nearest to its own middle.

    It lies within the image, and has this prompt alone; of a smaller image it is all.
    """
    found = np.argwhere(shown)
    corner = np.clip(found[len(found) // 2] - side // 2, 0, np.maximum(0, np.subtract(shown.shape, side)))
    top, left = corner.tolist()
    part = np.s_[top : top + side, left : left + side]
    reviewed = image.reviewed_for(prompt)
    return replace(
        image,
        image=image.pixels()[part],
        masks={prompt: image.masks[prompt][part]},
        reviewed=None if reviewed is None else reviewed[part],
        objects={},
    )
