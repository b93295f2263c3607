"""A mask on the screen that follows strokes, of which some may have been taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_amvlm.review.objects import replace_region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_amvlm.imaging import WorkingScale

Box = tuple[int, int, int, int]
"""Top, left, height and width of a part of an image, pixels."""

_PART = 768
"""Side of the part of a large image in which strokes spread, pixels at working scale."""

_SHOWN = 0.98
"""Probability of what is shown though the model does not say so; 1 - this of what is not shown though it does."""

_UNSURE = 0.2
"""Least probability in tissue of what the model was never taught: it says no there, and does not know."""

_BELOW = 1e-3


@dataclass(eq=False)
class Stroke:
    """What a person painted or erased in one go.

    Attributes
    ----------
    rows, columns
        Its pixels, int64 `(K,)`.
    positive
        Whether they were painted; else they were erased.
    spreads
        Whether the mask is to follow it.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    positive: bool
    spreads: bool = True


@dataclass(frozen=True)
class Shown:
    """A mask as it is shown.

    Attributes
    ----------
    labels
        Values of its pixels, integers `(H, W)`.
    edited
        Pixels that a person changed, or that followed a stroke, bool `(H, W)`.
    kept
        Pixels that follow no stroke: painted by hand, or locked, bool `(H, W)`.
    threshold
        Probability from which a pixel belongs to the mask.
    value
        What pixels of the mask have; None where each object has a number.
    """

    labels: NDArray[np.integer]
    edited: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    threshold: float
    value: int | None


class Spreads(Protocol):
    """What `strokes.Spread` is to this module."""

    shape: tuple[int, int]

    @property
    def probability(self) -> NDArray[np.float32]:
        """What is shown now, `(H, W)`."""

    def stroke(self, rows: ArrayLike, columns: ArrayLike, positive: bool) -> NDArray[np.float32]:
        """Take one more stroke as evidence."""

    def undo(self) -> NDArray[np.float32]:
        """Take the last stroke back."""


class Follower:
    """What strokes in one part of an image spread to, whichever of them stand.

    Parameters
    ----------
    spread
        Of that part; it has no strokes yet.
    box
        The part; None is all of the image.
    """

    def __init__(self, spread: Spreads, box: Box | None = None) -> None:
        self._spread = spread
        self._box = box or (0, 0, *spread.shape)
        self._strokes: list[Stroke] = []

    def changes(
        self, strokes: Sequence[Stroke], shown: Shown
    ) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], NDArray[np.integer]]:
        """Return rows and columns of the pixels that follow the last of the strokes that stand, and their new values.

        A pixel follows where the stroke moves it over the threshold. What was painted by hand stays, and so does what
        was changed by other means, so that it is not as the strokes before made it.
        """
        top, left, height, width = self._box
        window = (slice(top, top + height), slice(left, left + width))
        before, after = self._mask(strokes[:-1], shown.threshold), self._mask(strokes, shown.threshold)
        labels = shown.labels[window]
        other = shown.edited[window] & ((labels > 0) != before)
        change = (before != after) & ~shown.kept[window] & ~other
        if shown.value is None:
            values = replace_region(labels, np.where(change, after, labels > 0), change)
        else:
            values = np.where(change, after * shown.value, labels)
        rows, columns = np.nonzero(values != labels)
        return (rows + top, columns + left), values[rows, columns].astype(labels.dtype)

    def _mask(self, strokes: Sequence[Stroke], threshold: float) -> NDArray[np.bool_]:
        """Return the mask after these strokes; those that stand already are not computed again."""
        common = 0
        while common < min(len(strokes), len(self._strokes)) and strokes[common] is self._strokes[common]:
            common += 1
        for stroke in reversed(self._strokes[common:]):
            if self._inside(stroke) is not None:
                self._spread.undo()
        for stroke in strokes[common:]:
            inside = self._inside(stroke)
            if inside is not None:
                self._spread.stroke(*inside, stroke.positive)
        self._strokes = list(strokes)
        return np.asarray(self._spread.probability >= np.float32(max(threshold, _BELOW)))

    def _inside(self, stroke: Stroke) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Return the pixels of a stroke that lie in this part; None where there are none."""
        top, left, height, width = self._box
        rows, columns = stroke.rows - top, stroke.columns - left
        inside = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
        return (rows[inside], columns[inside]) if inside.any() else None


def begin_with(
    probability: NDArray[np.floating] | None, mask: NDArray[np.bool_], threshold: float, *, unsure: bool = False
) -> NDArray[np.float32]:
    """Return probabilities that give the mask which is shown, float32 `(H, W)`.

    Parameters
    ----------
    probability
        What the model found, `(H, W)`; None where it did not look.
    mask
        What is shown, bool `(H, W)`.
    threshold
        Probability from which a pixel belongs to the mask.
    unsure
        Whether a no of the model means little: in tissue, of a prompt that it was never taught.
    """
    if probability is None:
        probability = np.zeros(mask.shape, np.float32)
    begun: NDArray[np.float32] = np.maximum(probability, _UNSURE if unsure else 0).astype(np.float32)
    differs = (begun >= np.float32(threshold)) != mask
    begun[differs & mask] = max(_SHOWN, threshold)
    begun[differs & ~mask] = min(1 - _SHOWN, max(threshold - _BELOW, 0))
    return begun


def part_around(stroke: Stroke, shape: tuple[int, int], scale: WorkingScale, largest: int) -> Box | None:
    """Return the part of an image in which a stroke spreads; None is all of it.

    Parameters
    ----------
    stroke
        It lies around the middle of the part; neighbouring strokes have one part.
    shape
        Height and width of the image, pixels.
    scale
        How the image is looked at.
    largest
        Longest side of an image that is looked at in one piece, pixels at working scale.
    """
    if scale.name == "whole" or max(shape) * scale.factor <= largest:
        return None
    side = max(1, round(_PART / scale.factor))
    step = max(1, side // 3)
    corner = []
    for place, length in zip((stroke.rows.mean(), stroke.columns.mean()), shape, strict=True):
        first = round((float(place) - side / 2) / step) * step
        corner.append(int(np.clip(first, 0, max(length - side, 0))))
    return (*corner, min(side, shape[0]), min(side, shape[1]))  # type: ignore[return-value]
