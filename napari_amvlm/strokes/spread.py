"""Strokes that spread over an image: a Gaussian process on the model's own features, without training.

The logits of a mask are those of the model and a residual that the strokes determine:

    z(x) = z_model(x) + k(x, S) (K(S, S) + s^2 I + c B)^-1 (t - z_model(S))

S are at most 12 pixels of each stroke, t is 5 or -5, B is 1 for two pixels of one stroke, and z_model is clipped to
[-5, 5]; `kernel` has k and c. Far from all strokes the residual is 0, and the mask is the model's. In whole images the
border of the mask is moved to the edges of the image where there is a residual (`edges`). In tissue that is corrected
as a whole each stroke also shifts z_model everywhere by a small step, as a perceptron learns its bias from its errors:
who erases again and again has a model that finds too much. What was painted stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from scipy.special import logit
from torch import Tensor, nn

from napari_amvlm.errors import InputError, LabelsError
from napari_amvlm.imaging import resize
from napari_amvlm.strokes.descriptors import Descriptors, describe
from napari_amvlm.strokes.edges import EdgeFilter
from napari_amvlm.strokes.kernel import Kernel, Reach

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_amvlm.models.feature_maps import FeatureMaps

_BOUND = 5.0
"""Largest logit of the model; minus it is that of a prompt that the model was not taught."""

_TARGET = 5.0
"""Logit of what was painted."""

_NOISE = 0.3
_PER_STROKE = 12
_POINTS, _BYTES = 600, 256 << 20
"""Pixels of strokes, and bytes of their columns, beyond which the mask so far takes the place of the model's."""

_SPEAKS = 0.5
"""Residual from which the strokes alone decide; below it the model's mask fades in."""

_STEP, _LEAST_SHIFT, _MOST_SHIFT = 0.1, -2.0, 1.2
"""Shift of the logits of tissue by each stroke, and its bounds; the upper one leaves a probability of 0.2 below 0.5."""

_WINDOW, _FINE = 6, 512 * 512
"""Radius of the edge filter, pixels at working scale, and the largest image that it sees at that scale."""


@dataclass(frozen=True)
class _Evidence:
    """Pixels of the grid that one stroke gave, int64 `(M,)`, and the logit that they should have."""

    pixels: NDArray[np.int64]
    logit: float


@dataclass(frozen=True)
class _Before:
    """What a stroke changed: the mask and the evidence before it, and what was painted under it."""

    ground: NDArray[np.float32]
    base: NDArray[np.float32]
    evidence: tuple[_Evidence, ...]
    pixels: tuple[NDArray[np.int64], NDArray[np.int64]]
    painted: NDArray[np.int8]
    cells: tuple[NDArray[np.int64], NDArray[np.int64]]
    known: NDArray[np.int8]
    shift: tuple[float, float]


class Spread:
    """The mask of one prompt in one image, or in one part of it, corrected by strokes.

    Parameters
    ----------
    features
        Of the image, see `Predictor.features`; or what `describe` made of them, which takes most of the time.
    probability
        What the model found, float `(H, W)` in [0, 1] at the image's own size; None for a prompt that the model was not
        taught: its mask begins empty.
    reach
        "near": a stroke changes what looks alike near it; "whole": also what looks alike anywhere.

    Raises
    ------
    ImageError
        A feature is not finite.
    LabelsError
        The probability has another shape, or a value that is not finite.
    InputError
        `reach` is neither of the two.
    """

    def __init__(
        self,
        features: FeatureMaps | Descriptors,
        probability: NDArray[np.floating] | None = None,
        *,
        reach: Reach = "near",
    ) -> None:
        if reach not in get_args(Reach):
            raise InputError(f"Expected reach to be one of {list(get_args(Reach))}, but got {reach!r}.")
        self.shape, self._content = features.shape, features.content
        ground = _checked(probability, self.shape)
        described = features if isinstance(features, Descriptors) else describe(features)
        self._whole = features.scale == "whole"  # in tissue the model's borders are better than those of the stain
        self._grid = described.size
        self._canvas = (2 * self._grid[0], 2 * self._grid[1])
        self._step = 0.0 if self._whole or reach == "near" else _STEP
        self._kernel = Kernel(described, reach, features.scale)
        self._fine = described.guide.size <= _FINE
        guide = described.guide if self._fine else _halved(described.guide)
        self._edges = EdgeFilter(guide, _WINDOW if self._fine else _WINDOW // 2)
        self._limit = min(_POINTS, max(_BYTES // (4 * self._grid[0] * self._grid[1]), _PER_STROKE))
        self._model = ground
        self.reset()

    @property
    def probability(self) -> NDArray[np.float32]:
        """What is shown now, float32 `(H, W)` in [0, 1], read-only; 1 and 0 where somebody painted."""
        return self._probability

    def reset(self) -> NDArray[np.float32]:
        """Forget all strokes, and return the model's mask."""
        self._history: list[_Before] = []
        self._evidence: tuple[_Evidence, ...] = ()
        self._shift, self._stood = 0.0, 0.0
        self._painted = np.zeros(self.shape, np.int8)
        self._known = np.zeros(self._canvas, np.int8)
        self._stand_on(self._model)
        return self._shown(self._model.copy())

    def stroke(self, rows: ArrayLike, columns: ArrayLike, positive: bool) -> NDArray[np.float32]:
        """Take what was painted as evidence, and return the mask that follows from all strokes.

        A later stroke counts where it covers an earlier one.

        Parameters
        ----------
        rows, columns
            Pixels of the image that were painted, integers `(K,)`, in any order.
        positive
            True: they were painted; False: they were erased.

        Returns
        -------
        ndarray
            `probability`.

        Raises
        ------
        LabelsError
            There are no pixels, they are no integers, or one lies outside the image; nothing was changed.
        """
        pixels = _inside(rows, columns, self.shape)
        top, left, height, width = self._content
        cells = (
            (top + (2 * pixels[0] + 1) * height // (2 * self.shape[0])).astype(np.int64),
            (left + (2 * pixels[1] + 1) * width // (2 * self.shape[1])).astype(np.int64),
        )
        before = self._ground, self._base, self._evidence
        painted, known = self._painted[pixels], self._known[cells]
        self._history.append(_Before(*before, pixels, painted, cells, known, (self._shift, self._stood)))
        if sum(len(each.pixels) for each in self._evidence) + _PER_STROKE > self._limit:
            self._stand_on(self._probability)
            self._evidence, self._stood = (), self._shift
        step = self._step if positive else -self._step
        self._shift = min(max(self._shift + step, _LEAST_SHIFT), _MOST_SHIFT)
        self._painted[pixels] = self._known[cells] = 1 if positive else -1
        covered = np.unique(cells[0] // 2 * self._grid[1] + cells[1] // 2)
        new = _Evidence(self._along(covered), _TARGET if positive else -_TARGET)
        self._evidence = (*_uncovered(self._evidence, covered), new)
        return self._answer()

    def undo(self) -> NDArray[np.float32]:
        """Take the last stroke back with all that it changed, and return the mask; without strokes nothing changes."""
        if not self._history:
            return self._probability
        before = self._history.pop()
        self._ground, self._base, self._evidence = before.ground, before.base, before.evidence
        self._painted[before.pixels], self._known[before.cells] = before.painted, before.known
        self._shift, self._stood = before.shift
        return self._answer() if self._evidence else self._shown(self._model.copy())

    def _stand_on(self, probability: NDArray[np.float32]) -> None:
        """Take a mask in the place of the model's."""
        top, left, height, width = self._content
        self._ground = probability
        self._base = np.full(self._canvas, -_BOUND, np.float32)
        small = np.clip(resize(probability, (height, width)), 1e-6, 1 - 1e-6)
        self._base[top : top + height, left : left + width] = np.clip(logit(small), -_BOUND, _BOUND)

    def _along(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return at most 12 of a stroke's pixels of the grid, evenly spaced along it."""
        place = np.stack(np.divmod(pixels, self._grid[1]), 1).astype(np.float64)
        place -= place.mean(0)
        _, axes = np.linalg.eigh(place.T @ place)
        order = np.argsort(place @ axes[:, -1], kind="stable")
        return pixels[order[np.linspace(0, len(pixels) - 1, min(_PER_STROKE, len(pixels))).round().astype(np.int64)]]

    def _residual(self, base: NDArray[np.float32]) -> Tensor:
        """Return the residual logits of the grid, float32 `(h, w)`; `base` are its logits, `(h * w,)`."""
        counts = [len(each.pixels) for each in self._evidence]
        points = np.concatenate([each.pixels for each in self._evidence])
        targets = np.repeat([each.logit for each in self._evidence], counts)
        stroke = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        columns = [self._kernel.columns(each.pixels) for each in self._evidence]
        system = torch.cat([each[torch.from_numpy(points)] for each in columns], 1).double()
        system += self._kernel.scatter * (stroke[:, None] == stroke[None])
        system += _NOISE * torch.eye(len(points), dtype=torch.float64)
        weights = torch.linalg.solve(system, torch.from_numpy(targets - base[points])).float()
        total = torch.zeros(len(base))
        for column, weight in zip(columns, weights.split(counts), strict=True):
            total.addmv_(column, weight)
        return total.reshape(self._grid)

    def _answer(self) -> NDArray[np.float32]:
        """Return the mask that follows from the evidence."""
        coarse = _halved(self._base)
        shift = self._shift - self._stood
        residual = shift + self._residual(coarse.ravel() + shift)
        if self._fine:
            base, known = self._base, self._known
            change = nn.functional.interpolate(
                residual[None, None], size=self._canvas, mode="bilinear", align_corners=False
            )[0, 0].numpy()
        else:
            base, change = coarse, residual.numpy()
            known = np.sign(_halved(self._known.astype(np.float32))).astype(np.int8)
        before = np.tanh(base / 2)
        after = np.tanh((base + change) / 2)
        moved = (after - before) / 2
        if self._whole:
            moved = (self._edges(after, known) - before) / 2 * np.clip(np.abs(change) / _SPEAKS, 0, 1)
        top, left, height, width = (side if self._fine else side // 2 for side in self._content)
        shown = self._ground + resize(moved[top : top + height, left : left + width], self.shape)
        return self._shown(np.clip(shown, 0, 1))

    def _shown(self, probability: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep what is shown, with what was painted, and return it."""
        probability[self._painted > 0] = 1
        probability[self._painted < 0] = 0
        probability.flags.writeable = False
        self._probability = probability
        return probability


def _checked(probability: NDArray[np.floating] | None, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the mask that strokes begin with, `(H, W)`."""
    if probability is None:
        return np.full(shape, 1 / (1 + np.exp(_BOUND)), np.float32)
    if probability.shape != shape:
        raise LabelsError(
            f"The probability has the shape {probability.shape}, but the features are of an image of {shape}; "
            "give both of one image."
        )
    if not np.isfinite(probability).all():
        raise LabelsError("The probability holds values that are not finite; run the prompt on this image again.")
    return np.asarray(np.clip(probability, 0, 1), np.float32)


def _inside(rows: ArrayLike, columns: ArrayLike, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of a stroke, each once."""
    y, x = np.atleast_1d(np.asarray(rows)).ravel(), np.atleast_1d(np.asarray(columns)).ravel()
    if y.size != x.size or not y.size:
        raise LabelsError(f"A stroke needs a row and a column of each pixel, but got {y.size} rows, {x.size} columns.")
    if not (np.issubdtype(y.dtype, np.integer) and np.issubdtype(x.dtype, np.integer)):
        raise LabelsError(f"Rows and columns of a stroke must be integers, but are {y.dtype} and {x.dtype}.")
    if min(y.min(), x.min()) < 0 or y.max() >= shape[0] or x.max() >= shape[1]:
        raise LabelsError(
            f"The stroke leaves the image of {shape[0]}x{shape[1]} pixels: its rows go from {y.min()} to {y.max()} and "
            f"its columns from {x.min()} to {x.max()}; give the pixels inside."
        )
    flat = np.unique(y.astype(np.int64) * shape[1] + x.astype(np.int64))
    row, column = np.divmod(flat, shape[1])
    return row, column


def _uncovered(evidence: tuple[_Evidence, ...], covered: NDArray[np.int64]) -> tuple[_Evidence, ...]:
    """Return evidence without the pixels that a later stroke covers."""
    left = []
    for each in evidence:
        keep = ~np.isin(each.pixels, covered)
        if keep.all():
            left.append(each)
        elif keep.any():
            left.append(_Evidence(each.pixels[keep], each.logit))
    return tuple(left)


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(nn.functional.avg_pool2d(torch.from_numpy(values)[None, None], 2)[0, 0].numpy(), np.float32)
