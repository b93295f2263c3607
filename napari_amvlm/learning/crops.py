"""Random crops: geometry in one resampling, for one image of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_amvlm.learning.views import GeometryConfig, random_affine, warp

if TYPE_CHECKING:
    from torch import Tensor


_NEAR = 0.25
"""How far from a crop's centre, in sides, a wanted pixel may lie: in view whatever the rotation."""


def random_crop(
    image: Tensor,
    masks: Tensor,
    size: int,
    geometry: GeometryConfig,
    generator: torch.Generator,
    *,
    zoom: float = 1.0,
    showing: tuple[int, int] | None = None,
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
    showing
        Row and column of a pixel that the crop is placed around, as far as the image's border allows; None places it
        anywhere.

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
    place = torch.rand(2, generator=generator) * 2 - 1
    if showing is None:
        theta[0, :, 2] = place * room
    else:
        sides = torch.tensor([w, h])
        centre = torch.tensor([showing[1], showing[0]]) + 0.5 + place * _NEAR * seen
        theta[0, :, 2] = (2 * centre / sides - 1).clamp(-room, room)
    pixels, labels = warp(image[None], masks[None], theta, size)
    return pixels[0], labels[0]
