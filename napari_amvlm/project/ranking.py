"""What teaches most, as pure functions: scores of tiles, an order with diversity, and a heat map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_amvlm.imaging.tiles import Tile

_HARDEST = 0.1
"""An image is as instructive as this share of its tiles, the hardest ones, is on average."""


@dataclass(frozen=True)
class TileScores:
    """How much the tiles of an image, or of a region, would teach about one prompt.

    Attributes
    ----------
    tiles
        int32 `(N, 4)`: y, x, height, width in pixels of the image.
    disagreement
        float32 `(N,)` in [0, 1]: mean absolute difference of two answers' probabilities: the teacher's and the
        student's, or where there is no student, the mask's and the text evidence's (`session.queue_order`).
    entropy
        float32 `(N,)` in [0, 1]: mean binary entropy of the served model's probability, bits.

    Raises
    ------
    InputError
        Lengths differ, there is no tile, or a number lies outside [0, 1].
    """

    tiles: NDArray[np.int32]
    disagreement: NDArray[np.float32]
    entropy: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the arrays, and bring them to the types above."""
        tiles = np.ascontiguousarray(self.tiles, dtype="<i4")
        object.__setattr__(self, "tiles", tiles)
        if tiles.ndim != 2 or tiles.shape[1] != 4 or not len(tiles):
            raise InputError(f"tiles must have the shape (N, 4), N above 0, but have {tiles.shape}: give y, x, h, w.")
        for name in ("disagreement", "entropy"):
            values = np.ascontiguousarray(getattr(self, name), dtype="<f4")
            if values.shape != (len(tiles),):
                raise InputError(f"{name} must have one number for each of {len(tiles)} tiles, but has {values.shape}.")
            if not ((values >= 0) & (values <= 1)).all():
                raise InputError(f"{name} must lie in [0, 1], but does not: give means of probabilities.")
            object.__setattr__(self, name, values)

    def summary(self) -> tuple[float, float]:
        """Return disagreement and entropy of the whole: the mean of the hardest tenth of its tiles, at least one."""
        count = max(1, round(_HARDEST * len(self.tiles)))
        means = [float(np.sort(values)[-count:].mean()) for values in (self.disagreement, self.entropy)]
        return means[0], means[1]

    def mixed(self, units: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float32]:
        """Return the mean of disagreement and entropy of each tile in `units` (see `in_units`), float32 `(N,)`."""
        return mix(in_units(self.disagreement, units[0]), in_units(self.entropy, units[1]))


def score_tiles(student: ArrayLike, teacher: ArrayLike, tiles: Sequence[Tile]) -> TileScores:
    """Score the tiles of an image out of two probability maps of one prompt.

    Parameters
    ----------
    student, teacher
        `(H, W)`, in [0, 1].

    Raises
    ------
    InputError
        Shapes differ, or a tile is not inside the image.
    """
    one, other = np.asarray(student, np.float32), np.asarray(teacher, np.float32)
    if one.shape != other.shape or one.ndim != 2:
        raise InputError(f"two probability maps of one shape (H, W) are needed, but got {one.shape} and {other.shape}.")
    difference, uncertain = np.abs(one - other), binary_entropy(other)
    boxes = np.array([(t.y, t.x, t.height, t.width) for t in tiles], dtype=np.int32).reshape(-1, 4)
    _check_inside(boxes, one.shape)
    means = np.array(
        [
            [part[y : y + h, x : x + w].mean(dtype=np.float64) for part in (difference, uncertain)]
            for y, x, h, w in boxes.tolist()
        ]
    ).reshape(-1, 2)
    return TileScores(boxes, np.clip(means[:, 0], 0, 1), np.clip(means[:, 1], 0, 1))


def in_units(values: ArrayLike, unit: float) -> NDArray[np.float32]:
    """Return values as shares of `unit`, at most 1; 0 where the unit is 0.

    Disagreement and entropy differ in size: a student that follows its teacher closely differs from it by hundredths,
    while the entropy of an unsure mask is tenths. Each is measured by the largest score in the queue, or the
    smaller one would never count.

    Examples
    --------
    >>> in_units([0.01, 0.02, 0.04], 0.02).tolist()
    [0.5, 1.0, 1.0]
    """
    numbers = np.asarray(values, dtype=np.float64)
    return np.minimum(numbers / unit, 1).astype(np.float32) if unit > 0 else np.zeros(numbers.shape, np.float32)


def mix(disagreement: ArrayLike, entropy: ArrayLike) -> NDArray[np.float32]:
    """Return how much something teaches: the mean of disagreement and entropy."""
    one, other = np.asarray(disagreement, np.float32), np.asarray(entropy, np.float32)
    return np.asarray((one + other) / 2, dtype=np.float32)


def binary_entropy(probability: ArrayLike) -> NDArray[Any]:
    """Return `-p log2 p - (1 - p) log2 (1 - p)`, in [0, 1]; 0 where p is 0 or 1.

    Examples
    --------
    >>> binary_entropy(np.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    p = np.asarray(probability)
    p = p if np.issubdtype(p.dtype, np.floating) else p.astype(np.float64)
    total = np.zeros_like(p)
    for part in (p, 1 - p):
        total -= part * np.log2(part, where=part > 0, out=np.zeros_like(p))
    return np.asarray(np.clip(total, 0, 1))


def rank(
    scores: ArrayLike,
    features: ArrayLike | None = None,
    *,
    diversity: float = 0.5,
    count: int | None = None,
    seen: ArrayLike | None = None,
) -> list[int]:
    """Order items so that the first ones teach most and are not all alike: greedy farthest-point choice.

    Again and again the item comes that has the highest `(1 - diversity) * score + diversity * distance`, where the
    scores are scaled to [0, 1] and the distance is the Euclidean one of its feature to the nearest that was chosen or
    `seen`, as a share of the largest such distance at the beginning. Where nothing was seen, the item with the highest
    score comes first. Of equals the earlier one comes first.

    Parameters
    ----------
    scores
        `(N,)`, finite.
    features
        `(N, D)`, finite; None orders by score alone.
    diversity
        In [0, 1].
    count
        So many are chosen in this way, and the rest follows by score; None is all of them.
    seen
        `(M, D)`: features of what is known already, so that the like of it teaches less.

    Returns
    -------
    list of int
        All indices 0 to N - 1, the most instructive first.

    Raises
    ------
    InputError
        Shapes do not fit, a number is not finite, or `diversity` is not in [0, 1].
    """
    values = np.asarray(scores, dtype=np.float64)
    points = None if features is None else np.asarray(features, dtype=np.float64)
    _check_ranking(values, points, diversity)
    by_score: list[int] = np.argsort(-values, kind="stable").tolist()
    if points is None or diversity == 0 or len(values) < 2:
        return by_score
    known = np.zeros((0, points.shape[1])) if seen is None else np.asarray(seen, dtype=np.float64)
    if known.ndim != 2 or known.shape[1] != points.shape[1] or not np.isfinite(known).all():
        raise InputError(f"what was seen needs finite features as long as the others, but has {known.shape}: check it.")
    order = [] if len(known) else by_score[:1]
    nearest = _nearest(points, known if len(known) else points[order])
    scale = nearest.max()
    if scale == 0:
        return by_score
    spread = np.ptp(values)
    share = (1 - diversity) * ((values - values.min()) / spread if spread > 0 else np.zeros_like(values))
    waiting = np.ones(len(values), np.bool_)
    waiting[order] = False
    while len(order) < min(len(values), len(values) if count is None else count):
        gain = np.where(waiting, share + diversity * nearest / scale, -1.0)
        chosen = int(gain.argmax())
        order.append(chosen)
        waiting[chosen] = False
        np.minimum(nearest, _nearest(points, points[chosen : chosen + 1]), out=nearest)
    return [*order, *(index for index in by_score if waiting[index])]


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each of `points` `(N, D)` to the nearest of `others` `(M, D)`, M above 0."""
    nearest = np.full(len(points), np.inf)
    for other in others:
        np.minimum(nearest, np.linalg.norm(points - other, axis=1), out=nearest)
    return nearest


def heat_map(tiles: ArrayLike, values: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Spread the scores of tiles over their image: each pixel has the mean of the tiles that cover it, others 0.

    Parameters
    ----------
    tiles
        `(N, 4)`: y, x, height, width.
    values
        `(N,)`.

    Returns
    -------
    ndarray
        float32 `shape`.

    Raises
    ------
    InputError
        A tile is not inside the image, or lengths differ.
    """
    boxes, numbers = np.asarray(tiles).reshape(-1, 4), np.asarray(values, dtype=np.float64)
    if len(boxes) != len(numbers):
        raise InputError(f"each tile needs one value, but there are {len(boxes)} tiles and {len(numbers)} values.")
    _check_inside(boxes, shape)
    total, covers = np.zeros(shape), np.zeros(shape, np.int32)
    for (y, x, height, width), value in zip(boxes.tolist(), numbers.tolist(), strict=True):
        total[y : y + height, x : x + width] += value
        covers[y : y + height, x : x + width] += 1
    return (total / np.maximum(covers, 1)).astype(np.float32)


def _check_inside(boxes: NDArray[Any], shape: tuple[int, ...]) -> None:
    corners, sizes = boxes[:, :2], boxes[:, 2:]
    if (corners < 0).any() or (sizes < 1).any() or (corners + sizes > np.array(shape)).any():
        raise InputError(f"a tile is not inside the image of {shape[0]}x{shape[1]} pixels: cut tiles of this image.")


def _check_ranking(values: NDArray[np.float64], points: NDArray[np.float64] | None, diversity: float) -> None:
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"scores must be a vector of finite numbers, but have the shape {values.shape}: check them.")
    if not 0 <= diversity <= 1:
        raise InputError(f"diversity must lie in [0, 1], but is {diversity}: choose another.")
    if points is None:
        return
    if points.ndim != 2 or len(points) != len(values) or not np.isfinite(points).all():
        raise InputError(f"features must be finite, one row for each of {len(values)} scores, but are {points.shape}.")
