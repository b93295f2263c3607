"""How deep inside an object each pixel lies: what tells touching objects of one prompt apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.models.layers import GroupNorm

if TYPE_CHECKING:
    from napari_amvlm.config import ObjectsConfig


class ObjectHead(nn.Module):
    """Estimates the distance to the border of the own object, 1 at its middle and 0 at its border and outside.

    The distance to the border, relative to the largest one in the object, is what DIST (Naylor et al., IEEE TMI 2019)
    regresses. Like the second decoder of HoVer-Net (Graham et al., Medical Image Analysis 2019) it goes up the U-Net's
    levels by itself: at each it sees the decoder's features, which know the prompt, and the encoder's, which know the
    pixels. It changes nothing of the segmentation.

    Parameters
    ----------
    config
        Channels of its levels, the finest first.
    levels
        Channels of the U-Net's levels, the finest first.
    patch
        Pixels a side that the finest level holds as channels.
    """

    def __init__(self, config: ObjectsConfig, *, levels: tuple[int, ...], patch: int) -> None:
        super().__init__()
        self._patch = patch
        own = config.channels
        below = (*own[1:], 0)
        self.up = nn.ModuleList(_Layer(2 * levels[i] + below[i], own[i], config.groups) for i in range(len(own)))
        self.out = nn.Conv2d(own[0], patch**2, 3, padding=1)

    def forward(self, decoded: tuple[Tensor, ...], encoded: tuple[Tensor, ...]) -> Tensor:
        """Return logits of the relative distance.

        Parameters
        ----------
        decoded, encoded
            Features of the decoder and of the encoder, `(N, C, h, w)` of each level, the finest first; more levels than
            the head has are not used.

        Returns
        -------
        Tensor
            `(N, 1, H, W)`.
        """
        x: Tensor | None = None
        for level in reversed(range(len(self.up))):
            parts = [decoded[level], encoded[level]]
            if x is not None:
                parts.append(nn.functional.interpolate(x, size=parts[0].shape[-2:], mode="nearest"))
            x = self.up[level](torch.cat(parts, dim=1))
        return nn.functional.pixel_shuffle(self.out(x), self._patch)


class _Layer(nn.Module):
    """Convolution, group normalisation, SiLU."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = GroupNorm(groups, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.norm(self.conv(x)))
