"""What the pixels of an image look like, as coordinates in which similar pixels lie near one another.

The grid has half the working resolution. Every pixel of it has

- the first principal components of the network's maps: each channel standardised over the image, each map of equal
  weight, and the mean squared length of all components together 1;
- its intensity (or its colour), standardised over the image;
- its appearance: intensity in Gaussian windows of several widths and the standard deviation inside them. Network maps
  know where in the image a pixel lies; appearance does not, so it carries a stroke to similar but distant objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import linalg, ndimage
from torch import Tensor, nn

from napari_amvlm.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.models.feature_maps import FeatureMaps

COMPONENTS = 24
"""Principal components that are kept."""

_SAMPLE = 8192
"""Pixels at most from which the components are found."""

_WINDOWS = (0.0, 1.0, 2.0, 4.0)
"""Widths of the Gaussian windows of the appearance: standard deviations, pixels at working scale."""

_TINY = 1e-6


@dataclass(frozen=True)
class Descriptors:
    """Descriptors of the N = h * w pixels of a grid, row by row.

    Attributes
    ----------
    shape, scale, content
        Of the image; as in `FeatureMaps`.
    size
        Height h and width w of the grid.
    components
        Float32 `(N, 24)`.
    colour
        Float32 `(N, 1)` of a gray image, `(N, 3)` of a colour image.
    appearance
        Float32 `(N, A)`.
    guide
        Intensity in each pixel at working scale, float32 `(H, W)`; edges in it are edges of objects.
    """

    shape: tuple[int, int]
    scale: ScaleName
    content: tuple[int, int, int, int]
    size: tuple[int, int]
    components: Tensor
    colour: Tensor
    appearance: Tensor
    guide: NDArray[np.float32]


def describe(features: FeatureMaps) -> Descriptors:
    """Return the descriptors of an image.

    Raises
    ------
    ImageError
        The maps hold a value that is not finite, or there are none.
    """
    planes = features.pixels.numpy()
    if (
        not features.maps
        or not all(bool(torch.isfinite(m).all()) for m in features.maps)
        or not np.isfinite(planes).all()
    ):
        raise ImageError("The features of this image hold values that are not finite; run the prompt on it again.")
    size = (planes.shape[1] // 2, planes.shape[2] // 2)
    standard = _standardised(planes, features.content)
    return Descriptors(
        features.shape,
        features.scale,
        features.content,
        size,
        _rows(_components(features, size)),
        _rows(_halved(standard / np.sqrt(len(standard)))),
        _rows(_halved(_appearance(standard))),
        standard.mean(0),
    )


def _components(features: FeatureMaps, size: tuple[int, int]) -> Tensor:
    """Return the principal components, `(K, h, w)`: found on a grid of a quarter, computed map by map."""
    inside = _content_mask(features)
    coarse = (features.pixels.shape[1] // 4, features.pixels.shape[2] // 4)
    step = -(-int(inside.sum()) // _SAMPLE)
    columns, scales = [], []
    for each in features.maps:
        values = _resized(each, coarse)[:, inside].T[::step]
        mean, deviation = values.mean(0), (values.std(0, correction=0) + _TINY) * len(each) ** 0.5
        columns.append((values - mean) / deviation)
        scales.append((mean, deviation))
    table = torch.cat(columns, 1)
    square = (table.T @ table).double().numpy()
    _, vectors = linalg.eigh(square, subset_by_index=(max(len(square) - COMPONENTS, 0), len(square) - 1))
    axes = torch.from_numpy(vectors[:, ::-1].astype(np.float32))
    length = ((table @ axes) ** 2).sum(1).mean().sqrt() + _TINY
    total = torch.zeros(axes.shape[1], *size)
    parts = axes.split([len(m) for m in features.maps])
    for each, part, (mean, deviation) in zip(features.maps, parts, scales, strict=True):
        weights = part / deviation[:, None] / length
        mixed = torch.einsum("chw,ck->khw", each, weights) - (mean @ weights)[:, None, None]
        total += _resized(mixed, size)
    return total


def _content_mask(features: FeatureMaps) -> Tensor:
    """Return which pixels of the grid of a quarter belong to the image, bool `(h, w)`."""
    top, left, height, width = features.content
    inside = torch.zeros(features.pixels.shape[1] // 4, features.pixels.shape[2] // 4, dtype=torch.bool)
    inside[top // 4 : max((top + height) // 4, top // 4 + 1), left // 4 : max((left + width) // 4, left // 4 + 1)] = (
        True
    )
    return inside


def _standardised(planes: NDArray[np.float32], content: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Return one plane of a gray image, three of a colour image, with mean 0 and deviation 1 over the image."""
    if np.allclose(planes[0], planes[1], atol=2e-3) and np.allclose(planes[0], planes[2], atol=2e-3):
        planes = planes[:1]
    top, left, height, width = content
    inside = planes[:, top : top + height, left : left + width]
    return np.asarray((planes - inside.mean()) / (inside.std() + _TINY), np.float32)


def _appearance(standard: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = []
    for width in _WINDOWS:
        mean = ndimage.gaussian_filter(standard, (0, width, width)) if width else standard
        parts.append(mean)
        if width:
            squares = ndimage.gaussian_filter(standard**2, (0, width, width))
            parts.append(np.sqrt(np.maximum(squares - mean**2, 0)))
    every = np.concatenate(parts)
    return np.asarray(every / np.sqrt(len(every)), np.float32)


def _halved(planes: NDArray[np.float32]) -> Tensor:
    return nn.functional.avg_pool2d(torch.from_numpy(np.asarray(planes, np.float32))[None], 2)[0]


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample `(C, h, w)`: bilinear where it grows, by the mean of areas where it shrinks."""
    if tuple(maps.shape[1:]) == size:
        return maps
    if maps.shape[1] > size[0]:
        return nn.functional.interpolate(maps[None], size=size, mode="area")[0]
    return nn.functional.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def _rows(planes: Tensor) -> Tensor:
    """Return `(C, h, w)` as `(h * w, C)`."""
    return planes.flatten(1).T.contiguous()
