"""Prompts on the slices of a stack."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import Cancelled, ImageError, InputError
from napari_amvlm.imaging import value_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData
    from napari_amvlm.prediction import Prediction
    from napari_amvlm.predictor import Predictor, ScaleChoice

_SAMPLED = 16
"""Slices from which the values that become 0 and 1 are taken."""


@dataclass(frozen=True)
class SliceReport:
    """The predictions for one slice.

    Attributes
    ----------
    starts_volume
        Whether it is the first of its volume: the slice before, if any, is of another time.
    """

    index: tuple[int, ...]
    predictions: tuple[Prediction, ...]
    done: int
    total: int
    starts_volume: bool


def predict_stack(
    predictor: Predictor,
    image: ImageData,
    prompts: Sequence[str],
    *,
    slices: tuple[int, int] | None = None,
    scale: ScaleChoice = "auto",
    magnification: float = 1.0,
    limits: tuple[float, float] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[SliceReport]:
    """Segment slice after slice; the image side of a slice is computed once for all prompts.

    All slices are brought to [0, 1] by the same values, so that a structure looks the same in each.

    Parameters
    ----------
    image
        A stack: at least one axis before Y and X; smaller levels are not used.
    slices
        First and last slice along the axis before Y, from 0, both included; None means all.  Of further axes, all.
    scale, magnification
        As in `Predictor.predict`.
    limits
        The values that become 0 and 1; by default what `stack_limits` finds.
    should_stop
        Asked before every batch of tiles.

    Raises
    ------
    ImageError
        The image is one plane, or a slice of it cannot be used.
    InputError
        There are no such slices.
    Cancelled
        `should_stop` said so; what was reported is right.
    """
    chosen = slice_numbers(image, slices)
    leading = [range(length) for length in image.data.shape[: len(image.axes) - 3]]
    limits = limits or stack_limits(image)
    total = len(chosen) * int(np.prod([len(axis) for axis in leading], dtype=np.int64))
    places = itertools.product(*leading, chosen)
    for done, index in enumerate(places, start=1):
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped before the stack was done; finished slices are kept.")
        predictor.set_image(np.asarray(image.data[index]), limits=limits)
        predictions = tuple(
            predictor.predict(prompt, scale=scale, magnification=magnification, should_stop=should_stop)
            for prompt in prompts
        )
        yield SliceReport(index, predictions, done, total, index[-1] == chosen[0])


def slice_numbers(image: ImageData, slices: tuple[int, int] | None) -> range:
    """Return the slices that are meant.

    Raises
    ------
    ImageError
        The image has none.
    InputError
        It has others.
    """
    if len(image.axes) < 3:
        raise ImageError(f"{image.name}: expected a stack, but it is one plane, {image.size}; ask it without slices.")
    count = int(image.data.shape[len(image.axes) - 3])
    first, last = slices or (0, count - 1)
    if not 0 <= first <= last < count:
        raise InputError(
            f"{image.name}: expected slices from 0 to {count - 1}, but got {first} to {last}; give a range within."
        )
    return range(first, last + 1)


def stack_limits(image: ImageData) -> tuple[float, float]:
    """Return the values that become 0 and 1 in every slice of a stack, from slices at even distances.

    Raises
    ------
    ImageError
        As `imaging.to_rgb01` does.
    """
    leading = image.data.shape[: len(image.axes) - 2]
    count = int(np.prod(leading))
    numbers = np.unique(np.linspace(0, count - 1, min(_SAMPLED, count)).round().astype(int))
    planes: list[NDArray[Any]] = [np.asarray(image.data[np.unravel_index(number, leading)]) for number in numbers]
    return value_limits(np.concatenate(planes), name=image.name)
