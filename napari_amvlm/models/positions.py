"""Coordinates as image channels: convolutions alone do not know where they are."""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS = 3


def position_channels(like: Tensor, whole: Tensor) -> Tensor:
    """Return y and x in [-1, 1] and a constant 1 for images that are seen whole; all zero for tiles.

    Parameters
    ----------
    like
        `(B, C, H, W)`; gives size, type and device.
    whole
        Bool `(B,)`: a position means something only in an image that is seen whole.

    Returns
    -------
    Tensor
        `(B, 3, H, W)`.
    """
    b, _, h, w = like.shape
    ys = torch.linspace(-1, 1, h, device=like.device, dtype=like.dtype).view(1, 1, h, 1).expand(b, 1, h, w)
    xs = torch.linspace(-1, 1, w, device=like.device, dtype=like.dtype).view(1, 1, 1, w).expand(b, 1, h, w)
    return torch.cat([ys, xs, torch.ones_like(xs)], dim=1) * whole.to(like.dtype).view(b, 1, 1, 1)
