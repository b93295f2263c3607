"""Objects out of a probability map: touching ones are parted where they are narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import InputError
from napari_amvlm.imaging.depth_objects import clear_pixels, climb, smoothed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

HIGHEST_NUMBER = 1 << 24
"""Objects that come from elsewhere get smaller numbers than this, so that tables by number fit into memory."""

_SMOOTHING = 1.0
_LEAST_NECK = 0.75
"""Two bulges are two objects if the neck between them is narrower by this much, in pixels of radius."""


def split_instances(
    probability: ArrayLike,
    threshold: float = 0.5,
    *,
    min_size: int = 20,
    depth: NDArray[np.floating] | None = None,
    marker: float = 0.5,
) -> NDArray[np.int32]:
    """Give a number to each object in a probability map.

    Every pixel that reaches `threshold` is foreground.  Where the model gave a depth, each pixel climbs to the middle
    of an object, and what leads to none, or to a faint one, is left out, see `depth_objects`.  Elsewhere the watershed
    of the smoothed distance to the background parts touching objects; bulges that differ by less than 0.75 pixels in
    radius from the neck between them stay one object.

    Parameters
    ----------
    probability
        `(H, W)`, in [0, 1].
    threshold
        Least probability of foreground.
    min_size
        Smaller objects are left out, pixels.
    depth
        How deep inside an object each pixel lies, in [0, 1], of the same shape.
    marker
        Depth from which on a pixel belongs to the middle of an object.

    Returns
    -------
    ndarray
        int32 `(H, W)`: 0 is background, objects are 1 to n without gaps.

    Raises
    ------
    InputError
        Not a 2-D map.
    """
    from scipy import ndimage
    from skimage.measure import label
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    values = np.asarray(probability)
    if values.ndim != 2:
        raise InputError(f"Expected a probability map (H, W), but got the shape {values.shape}; give one plane.")
    foreground = values >= threshold
    if not foreground.any():
        return np.zeros(values.shape, np.int32)
    if depth is not None:
        smooth = smoothed(depth)
        climbed = climb(foreground, smooth, marker, clear_pixels(smooth, values.astype(np.float32), threshold, marker))
        return _numbered(np.where(climbed.is_object[climbed.labels], climbed.labels, 0), min_size)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(foreground), _SMOOTHING)
    distance[~foreground] = 0
    flooded = reconstruction(distance - _LEAST_NECK, distance)
    markers = label(local_maxima(flooded) & foreground, connectivity=2)
    objects = watershed(-distance, markers, mask=foreground).astype(np.int32)
    # What is too small to have a bulge of its own is one object for each connected part.
    rest = label(foreground & (objects == 0), connectivity=1)
    objects[rest > 0] = rest[rest > 0] + objects.max()
    return _numbered(objects, min_size)


def bounded_numbers(objects: NDArray[np.integer], highest: int = HIGHEST_NUMBER) -> NDArray[np.integer]:
    """Return objects as they are, or numbered from 1 on, in their order, where one has a number above `highest`.

    Tables by number would not fit into memory otherwise: some programs number objects by chance, up to 2**32.

    Examples
    --------
    >>> bounded_numbers(np.array([0, 7, 4_000_000_000, 7], np.uint32)).tolist()
    [0, 1, 2, 1]
    """
    if objects.max(initial=0) <= highest:
        return objects
    values, numbers = np.unique(objects, return_inverse=True)
    return np.asarray(numbers.reshape(objects.shape) + int(values[0] != 0), np.int32)


def _numbered(objects: NDArray[np.int32], min_size: int) -> NDArray[np.int32]:
    """Return objects of at least so many pixels, numbered without gaps."""
    from skimage.segmentation import relabel_sequential

    sizes = np.bincount(objects.ravel())
    objects[sizes[objects] < min_size] = 0
    return np.asarray(relabel_sequential(objects)[0], dtype=np.int32)
