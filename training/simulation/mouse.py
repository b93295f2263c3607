"""What correcting a mask costs a person: a model of the mouse, as pure functions.

The person looks at a queue item, which takes a fixed time, and compares the proposed mask with what is right.  A
boundary that lies within the tolerance is left alone.  Each connected piece that is wrong beyond it, painted too much
or missing, is found and clicked at, which takes a fixed time too, and then outlined once along its whole contour, holes
included, at constant speed.  The position is read at a fixed rate, so that a stroke lasts a whole number of readings;
at 50 pixels a second and 120 readings there is a point every 0.4 pixels, and a polygon through them follows a contour
of nuclei or organs well within the tolerance: the outlined piece is as right as the truth is.

Who follows a contour within a tolerance steers through a tunnel of that width, and the speed grows with the width
(steering law: Accot and Zhai, CHI 1999).  A stroke anywhere inside an object is free of that and much faster.  Measured
times of outlines are 54 s (OpenSurfaces) and 79 s (COCO) an object, see Bearman et al., ECCV 2016: at 50 pixels a
second the model is still faster than those people.

Where it is faster to clear the queue item with one click and to outline everything that is there, the person does
that, so that a useless proposal costs one click more than none.

Lengths are pixels of the image, times are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field
from scipy import ndimage
from skimage.measure import find_contours

from napari_amvlm.config import Config
from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOUCHING = np.ones((3, 3), np.bool_)
"""Pixels that touch at a corner belong to one piece."""


class MouseModel(Config):
    """How fast a person corrects.

    Attributes
    ----------
    pixels_per_second
        Speed along a contour, image pixels.
    free_pixels_per_second
        Speed of a stroke that follows no contour, image pixels.
    readings_per_second
        How often the position is read, hertz.
    tolerance
        A wrong pixel is left alone where the centre of a right one across the boundary is this near, pixels.
    piece_seconds
        To find a wrong piece, to get there and to click.
    look_seconds
        To look over a queue item, whether or not anything is wrong.
    """

    pixels_per_second: float = Field(50.0, gt=0, le=100_000)
    free_pixels_per_second: float = Field(400.0, gt=0, le=100_000)
    readings_per_second: float = Field(120.0, gt=0, le=10_000)
    tolerance: int = Field(2, ge=0, le=100)
    piece_seconds: float = Field(1.0, ge=0, le=600)
    look_seconds: float = Field(5.0, ge=0, le=3600)

    def stroke_seconds(self, length: float) -> float:
        """Return how long it takes to follow `length` pixels of a contour, in whole readings.

        Examples
        --------
        >>> MouseModel().stroke_seconds(50)
        1.0
        """
        return self._seconds(length, self.pixels_per_second)

    def free_seconds(self, length: float) -> float:
        """Return how long a stroke of `length` pixels takes that follows no contour, in whole readings.

        Examples
        --------
        >>> MouseModel().free_seconds(400)
        1.0
        """
        return self._seconds(length, self.free_pixels_per_second)

    def _seconds(self, length: float, speed: float) -> float:
        return math.ceil(length / speed * self.readings_per_second) / self.readings_per_second


@dataclass(frozen=True)
class Corrected:
    """What a person has made of a proposed mask, bool `(H, W)`, and the seconds since the look at it began."""

    mask: NDArray[np.bool_]
    seconds: float


def correct(proposed: NDArray[np.bool_], truth: NDArray[np.bool_], mouse: MouseModel) -> Corrected:
    """Correct a mask in the cheaper of two ways: piece by piece, or all anew after one click that clears it.

    Parameters
    ----------
    proposed, truth
        bool `(H, W)`.

    Raises
    ------
    LabelsError
        The shapes differ.
    """
    if proposed.shape != truth.shape or proposed.ndim != 2:
        raise LabelsError(
            f"a proposed and a true mask of one shape (H, W) are needed, but they have {proposed.shape} "
            f"and {truth.shape}: give masks of one image."
        )
    mended = _mend(proposed, truth, mouse, cleared=False)
    if not proposed.any():
        return mended
    anew = _mend(np.zeros_like(truth), truth, mouse, cleared=True)
    return anew if anew.seconds < mended.seconds else mended


def wrong_pieces(proposed: NDArray[np.bool_], truth: NDArray[np.bool_], tolerance: int) -> NDArray[np.int32]:
    """Return the pieces of a mask that are wrong by more than a tolerance.

    A piece is a connected set of pixels that are all too much or all missing.  It holds the pixels farther than
    `tolerance` from the true boundary, and the wrong ones around them as far as the tolerance reaches: who outlines a
    missing nucleus outlines all of it, but leaves the rim of its neighbour as it is.

    Parameters
    ----------
    proposed, truth
        bool `(H, W)`.
    tolerance
        Pixels; 0 takes every wrong pixel.

    Returns
    -------
    ndarray
        int32 `(H, W)`: 0 where nothing is to be done, else the number of a piece, from 1 on.
    """
    pieces = np.zeros(truth.shape, np.int32)
    for wrong, inside in ((proposed & ~truth, ~truth), (truth & ~proposed, truth)):
        part = wrong & (_depth(inside) > tolerance)
        if tolerance and part.any():
            part = ndimage.binary_dilation(part, _TOUCHING, iterations=tolerance, mask=wrong)
        numbers, _ = ndimage.label(part, _TOUCHING)
        pieces[part] = numbers[part] + pieces.max()
    return pieces


def outline_length(piece: NDArray[np.bool_]) -> float:
    """Return the length of the contours of a piece, holes included, pixels.

    Examples
    --------
    >>> round(outline_length(np.ones((10, 10), bool)), 1)
    38.8
    """
    contours = find_contours(np.pad(piece, 1).astype(np.float32), 0.5)
    return float(sum(np.linalg.norm(np.diff(contour, axis=0), axis=1).sum() for contour in contours))


def _mend(proposed: NDArray[np.bool_], truth: NDArray[np.bool_], mouse: MouseModel, *, cleared: bool) -> Corrected:
    pieces = wrong_pieces(proposed, truth, mouse.tolerance)
    places = ndimage.find_objects(pieces)
    lengths = [outline_length(pieces[box] == number) for number, box in enumerate(places, start=1)]
    clicks = len(lengths) + cleared
    seconds = mouse.look_seconds + clicks * mouse.piece_seconds + sum(map(mouse.stroke_seconds, lengths))
    return Corrected(np.where(pieces > 0, truth, proposed), seconds)


def _depth(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far each pixel of `inside` is from the nearest one outside, pixels; infinite where there is none."""
    if inside.all():
        return np.full(inside.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(inside))
