"""Random crops: geometry in one resampling, for one image of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_amvlm.learning.views import GeometryConfig, random_affine, warp

if TYPE_CHECKING:
    from torch import Tensor


def random_crop(
    image: Tensor, masks: Tensor, size: int, geometry: GeometryConfig, generator: torch.Generator, *, zoom: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Cut a randomly placed, rotated and zoomed square out of an image.

    Parameters
    ----------
    image
        `(3, H, W)` in [0, 1].
    masks
        `(K, H, W)` in [0, 1].
    size
        Side of the crop, pixels.
    geometry
        Bounds of the view.
    generator
        Source of chance.
    zoom
        A magnification on top of the random one.

    Returns
    -------
    tuple of Tensor
        `(3, size, size)` and `(K, size, size)`.
    """
    theta = random_affine(1, geometry, generator)
    theta[:, :, :2] /= zoom
    h, w = image.shape[-2:]
    seen = size / zoom
    room = torch.tensor([max(0.0, 1 - seen / w), max(0.0, 1 - seen / h)])
    theta[0, :, 2] = (torch.rand(2, generator=generator) * 2 - 1) * room
    pixels, labels = warp(image[None], masks[None], theta, size)
    return pixels[0], labels[0]
