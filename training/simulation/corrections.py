"""Three ways to correct a mask, action by action: painting, strokes that spread, and clicks on objects.

Each is a generator: the mask after another action of the person, and how long all of it has taken. The person looks
first (`MouseModel.look_seconds`), finds the largest error (`piece_seconds`), and acts:

- *paint*: outlines the piece, which is right from then on (`mouse`);
- *strokes*: draws a stroke of 30 x 3 pixels over it, and waits until the mask follows (`napari_amvlm.strokes`);
- *clicks*: clicks on a missing object, or selects a wrong one and deletes it; where that makes the mask no better, the
  person paints the piece.

Who changes between painting and erasing presses a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from napari_amvlm.errors import LabelsError
from napari_amvlm.metrics import dice
from napari_amvlm.review.clicks import object_at
from training.simulation.mouse import Corrected, outline_length, wrong_pieces
from training.simulation.strokes import LENGTH, WIDTH, deepest, next_stroke

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_amvlm.strokes import Spread
    from training.simulation.mouse import MouseModel

Corrections = Literal["paint", "strokes", "clicks"]

_KEY_SECONDS = 0.3
"""To press a key: Delete when an object is selected, or that of the brush or the eraser."""

_FOLLOW_SECONDS = 0.15
"""Until the mask has followed a stroke."""

_HALF = 0.5


def steps(
    kind: Corrections,
    probability: NDArray[np.float32],
    truth: NDArray[np.bool_],
    mouse: MouseModel,
    spread: Spread | None = None,
    factor: float = 1.0,
) -> Iterator[Corrected]:
    """Yield the steps of one way to correct what a model found, beginning with the look at it.

    Parameters
    ----------
    probability
        What the model found, `(H, W)`.
    truth
        What is right, bool `(H, W)`.
    spread
        For strokes: of the same image and probability.
    factor
        The model looks at the image resized by so much; strokes have their length and width there.

    Raises
    ------
    LabelsError
        Strokes were asked for without `spread`.
    """
    if kind == "strokes":
        if spread is None:
            raise LabelsError("Strokes need the features of the image to spread on: give a Spread.")
        return _strokes(probability, truth, mouse, spread, factor)
    if kind == "clicks":
        return _clicks(probability, truth, mouse)
    return _paint(probability >= _HALF, truth, mouse)


def until(
    taken: Iterator[Corrected], truth: NDArray[np.bool_], target: float, most: int = 200
) -> tuple[Corrected, bool]:
    """Return what first reaches a Dice, or else the last of it, and whether it does.

    No more than `most` actions are taken.
    """
    last = next(taken)
    for _ in range(most):
        if dice(last.mask, truth) >= target:
            return last, True
        following = next(taken, None)
        if following is None:
            break
        last = following
    return last, dice(last.mask, truth) >= target


def _paint(mask: NDArray[np.bool_], truth: NDArray[np.bool_], mouse: MouseModel) -> Iterator[Corrected]:
    seconds = mouse.look_seconds
    yield Corrected(mask, seconds)
    pieces = wrong_pieces(mask, truth, mouse.tolerance)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    paints = True
    for number in np.argsort(sizes)[::-1][: int((sizes > 0).sum())]:
        piece = pieces == number
        seconds += _KEY_SECONDS * (bool(truth[piece][0]) != paints)
        paints = bool(truth[piece][0])
        seconds += mouse.piece_seconds + mouse.stroke_seconds(outline_length(piece))
        mask = np.where(piece, truth, mask)
        yield Corrected(mask, seconds)


def _strokes(
    probability: NDArray[np.float32], truth: NDArray[np.bool_], mouse: MouseModel, spread: Spread, factor: float
) -> Iterator[Corrected]:
    seconds, mask = mouse.look_seconds, probability >= _HALF
    yield Corrected(mask, seconds)
    length, width = max(1, round(LENGTH / factor)), max(1, round(WIDTH / factor))
    paints = True
    while (stroke := next_stroke(mask, truth, length=length, width=width)) is not None:
        seconds += _KEY_SECONDS * (stroke.positive != paints)
        paints = stroke.positive
        seconds += mouse.piece_seconds + mouse.free_seconds(length) + _FOLLOW_SECONDS
        mask = spread.stroke(stroke.rows, stroke.columns, stroke.positive) >= _HALF
        yield Corrected(mask, seconds)


def _clicks(probability: NDArray[np.float32], truth: NDArray[np.bool_], mouse: MouseModel) -> Iterator[Corrected]:
    seconds, mask = mouse.look_seconds, probability >= _HALF
    yield Corrected(mask, seconds)
    while (wrong := wrong_pieces(mask, truth, mouse.tolerance)).any():
        sizes = np.bincount(wrong.ravel())
        sizes[0] = 0
        piece = wrong == sizes.argmax()
        row, column = deepest(piece)
        seconds += mouse.piece_seconds
        if truth[row, column]:
            clicked = _added(mask, probability, row, column)
        else:
            pieces, _ = ndimage.label(mask)
            clicked = mask & (pieces != pieces[row, column])
            seconds += _KEY_SECONDS
        if dice(clicked, truth) > dice(mask, truth):
            mask = clicked
        else:  # a key takes it back, and the piece is painted
            seconds += _KEY_SECONDS + mouse.piece_seconds + mouse.stroke_seconds(outline_length(piece))
            mask = np.where(piece, truth, mask)
        yield Corrected(mask, seconds)


def _added(mask: NDArray[np.bool_], probability: NDArray[np.float32], row: int, column: int) -> NDArray[np.bool_]:
    try:
        return np.asarray(mask | object_at(probability, row, column))
    except LabelsError:
        return mask
