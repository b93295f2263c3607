"""Prompts on a slide as a whole, for anatomy; the result goes into a store like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import Cancelled
from napari_amvlm.imaging import resize, value_limits
from napari_amvlm.imaging.formats.limits import LARGEST_PLANE
from napari_amvlm.slides.block_writer import SlideReport
from napari_amvlm.slides.blocks import BlockPlan
from napari_amvlm.slides.rectangles import whole_pixels
from napari_amvlm.slides.source import thinned
from napari_amvlm.slides.store import TODO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData, Tile
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.slides.store import SlideStore

_FINER = 4
"""The level that is read has at least so many times the pixels a side that the network sees."""


def fill_whole(
    predictor: Predictor,
    image: ImageData,
    store: SlideStore,
    *,
    region: Tile | None = None,
    first: Tile | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[SlideReport]:
    """Ask the prompts of a store about the whole slide at a low resolution, and store the answers block by block.

    Parameters
    ----------
    store
        Where results go; blocks that are done there are not done again.
    region
        What is to be stored of them, pixels of the slide, in whole blocks; None means all of it.
    should_stop
        Asked before every prompt and every block.

    Raises
    ------
    ImageError
        The image cannot be used.
    Cancelled
        `should_stop` said so; finished blocks are in the store.
    """
    plan = BlockPlan(store.grid, store.grid.meeting(region) & (store.states == TODO), first)
    if not plan.total:
        return
    small = _small(image, _FINER * predictor.model.config.whole)
    predictor.set_image(small, limits=value_limits(small, name=image.name))
    predictions = [
        predictor.predict(prompt, scale="whole", should_stop=should_stop) for prompt in store.request.prompts
    ]
    presence = tuple(prediction.presence for prediction in predictions)
    for done, index in enumerate(plan, start=1):
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped before the slide was done; finished blocks are kept.")
        area = store.grid.rectangle(index)
        block = np.stack([_enlarged(each.probability, area, store.grid.shape) for each in predictions])
        store.write(index, block, presence)
        yield SlideReport(store, index, presence, False, done, plan.total)


def _small(image: ImageData, side: int) -> NDArray[Any]:
    """Return the smallest level whose longer side has at least `side` pixels, thinned where it has too many."""
    fit = [level for level in image.levels if max(level.shape[:2]) >= side]
    return thinned(fit[-1] if fit else image.data, LARGEST_PLANE)


def _enlarged(probability: NDArray[np.float32], area: Tile, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a part of the slide out of probabilities at a lower resolution."""
    y, x = probability.shape[0] / shape[0], probability.shape[1] / shape[1]
    box = (area.y * y, area.x * x, (area.y + area.height) * y, (area.x + area.width) * x)
    around = whole_pixels(box, (2, 2), (probability.shape[0], probability.shape[1]))
    part = probability[around.slices]
    inside = (box[0] - around.y, box[1] - around.x, box[2] - around.y, box[3] - around.x)
    return np.clip(resize(part, (area.height, area.width), box=inside), 0, 1)
