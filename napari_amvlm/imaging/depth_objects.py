"""Touching objects told apart by how deep inside an object each pixel lies; a part of an image can be done by itself.

Every pixel climbs to its deepest neighbour, step by step, until it reaches the middle of an object. A step depends on
nothing but the eight neighbours, so that parts of a slide, joined where steps cross their borders, give exactly the
objects of one piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMOOTHING = 1.0
"""Standard deviation of the Gaussian that a depth map is smoothed with, pixels."""

REACH = 5
"""How far around a part its pixels depend on the maps, pixels: the Gaussian's radius, and one step."""

_CLEAR = 0.35
"""How far above the marker the deepest pixel of an object lies at least where its probability just is foreground."""

_SURE = 0.5
"""By how much less where its probability is 1."""

LEAST_RADIUS = 3.0
"""Objects with a smaller largest distance to their border have no depth of 1, pixels."""

_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


class Climbed(NamedTuple):
    """Where the pixels of a part have climbed to.

    Attributes
    ----------
    labels
        int32 `(H, W)`: 0 is background; pixels with one number belong together.
    highest
        The highest number.
    is_object
        Of each number from 0 to the highest, whether the part shows that it is an object: a middle with a clear pixel,
        and not a faint one, a top that is no middle, or a pixel outside the part; bool `(highest + 1,)`.
    outside
        Row and column of the pixel outside the part that each of the last numbers stands for, int `(n, 2)`.
    is_middle
        Which pixels are middles themselves, bool `(H, W)`.
    """

    labels: NDArray[np.int32]
    highest: int
    is_object: NDArray[np.bool_]
    outside: NDArray[np.int64]
    is_middle: NDArray[np.bool_]


def clear_pixels(
    depth: NDArray[np.float32], probability: NDArray[np.float32], threshold: float, marker: float
) -> NDArray[np.bool_]:
    """Return the pixels that are deep or probable enough to show an object, bool, of the maps' shape.

    At the threshold a pixel must lie 0.35 deeper than the marker, at a probability of 1 not even as deep; in between,
    evenly less: small objects are shallow, but sure.

    Parameters
    ----------
    depth, probability
        Smoothed depth, and probability.
    threshold
        Least probability of foreground.
    marker
        Depth from which on pixels are the middle of an object.
    """
    room = np.float32(1 - threshold)
    shallow = (depth - np.float32(marker + _CLEAR)) * room
    return np.asarray(shallow + np.float32(_SURE) * (probability - np.float32(threshold)) >= 0)


def climb(
    foreground: NDArray[np.bool_],
    depth: NDArray[np.floating],
    marker: float,
    clear: NDArray[np.bool_],
    *,
    margin: int = 0,
) -> Climbed:
    """Let every pixel of the foreground climb.

    Parameters
    ----------
    foreground
        `(H, W)`.
    depth
        Smoothed depth, `(H, W)`.
    marker
        Depth from which on pixels are the middle of an object; what hangs together, by sides or corners, is one.
    clear
        `clear_pixels`, `(H, W)`; a middle without any is no object.
    margin
        Pixels of all at each side that lie outside the part; at the border of the whole image there are none, so give
        background there.

    Returns
    -------
    Climbed
        Of the part without its margin.
    """
    from skimage.measure import label

    middle = foreground & (depth >= marker)
    inside = np.zeros(foreground.shape, np.bool_)
    inner = (slice(margin, foreground.shape[0] - margin), slice(margin, foreground.shape[1] - margin))
    inside[inner] = True
    numbers = np.asarray(label(middle & inside, connectivity=2), dtype=np.int32)
    middles = int(numbers.max(initial=0))
    at = np.flatnonzero(foreground & inside & ~middle)
    step = _steps(foreground, depth, at)
    # Paths are halved until they end: at a middle, at a top, or outside.
    place = np.arange(foreground.size)
    place[at] = step
    while not np.array_equal(step, further := place[step]):
        step = place[at] = further
    ends = np.unique(step)
    fresh = ends[numbers.ravel()[ends] == 0]
    leaves = ~inside.ravel()[fresh]
    fresh = np.concatenate([fresh[~leaves], fresh[leaves]])
    flat = numbers.ravel()
    named = flat.copy()
    named[fresh] = middles + 1 + np.arange(len(fresh))
    flat[at] = named[step]
    outside = np.stack(np.divmod(fresh[len(fresh) - int(leaves.sum()) :], foreground.shape[1]), axis=1) - margin
    labels = flat.reshape(foreground.shape)
    is_object = np.zeros(middles + len(fresh) + 1, np.bool_)
    is_object[labels[middle & inside & clear]] = True
    return Climbed(labels[inner], middles + len(fresh), is_object, outside, middle[inner])


def _steps(foreground: NDArray[np.bool_], depth: NDArray[np.floating], at: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the flat index of the deepest of each pixel and its neighbours in the foreground; of equals, the first."""
    width = foreground.shape[1] + 2
    padded = np.pad(np.where(foreground, depth, -np.inf), 1, constant_values=-np.inf).ravel()
    rows, columns = np.divmod(at, foreground.shape[1])
    own = (rows + 1) * width + columns + 1
    best, deepest = own.copy(), padded[own]
    for dy, dx in _NEIGHBOURS:
        beside = own + dy * width + dx
        value = padded[beside]
        better = (value > deepest) | ((value == deepest) & (beside < best))
        best[better], deepest[better] = beside[better], value[better]
    rows, columns = np.divmod(best, width)
    return np.asarray((rows - 1) * foreground.shape[1] + columns - 1, np.intp)


def smoothed(depth: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a depth map, smoothed within `REACH` - 1 pixels."""
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(depth.astype(np.float32), SMOOTHING, truncate=REACH - 1), np.float32)


def depth_of(objects: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return how deep inside its object each pixel lies, float32 `(H, W)`: what a model is taught.

    It is the distance to the border of the object relative to the largest one in it, so 1 at its middle, and 0 outside
    objects; slivers that are thinner than `LEAST_RADIUS` stay shallow. The border of the image is no border of an
    object.

    Parameters
    ----------
    objects
        Numbers, `(H, W)`; 0 is background.
    """
    from scipy import ndimage

    numbers = np.unique(objects, return_inverse=True)[1].reshape(objects.shape) + int(bool((objects > 0).all()))
    depth = np.zeros(objects.shape, np.float32)
    for number, box in enumerate(ndimage.find_objects(numbers.astype(np.int32)), start=1):
        around = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        own = numbers[around] == number
        distance = ndimage.distance_transform_edt(own) if not own.all() else own * LEAST_RADIUS
        depth[around][own] = (distance / max(distance.max(), LEAST_RADIUS))[own]
    return depth
