"""Layers that several networks share: normalisation, coordinates as channels, projection heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

POSITION_CHANNELS = 3


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He, ECCV 2018), computed in float32 where a processor has to differentiate it.

    PyTorch's backward pass in bfloat16 and channels-last order is some four times slower on a processor than that in
    float32 with both conversions. Input and output have the same number format.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to the same shape."""
        if x.requires_grad and x.device.type == "cpu" and x.dtype == torch.bfloat16:
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


def layout_of(maps: Tensor) -> torch.memory_format:
    """Return the order in memory of the maps, or of a convolution's weights, `(A, B, h, w)`."""
    last = maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


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


class ProjectionHead(nn.Module):
    """Linear, ReLU, Linear, then L2 normalisation.

    The publication has a batch normalisation in between. It is left out: batches here hold either tiles or whole
    images, and statistics that differ from batch to batch made presence in evaluation unlike presence in training.

    Parameters
    ----------
    width
        Length of the input embedding.
    embedding
        Length d of the output embedding.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, embedding), nn.ReLU(), nn.Linear(embedding, embedding))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, width)` to unit vectors, float32 `(N, embedding)`."""
        return nn.functional.normalize(self.layers(x).float(), dim=-1)
