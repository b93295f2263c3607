"""The network that all rows of a comparison share: a plain U-Net, and decoders to go with its encoder."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTHS = (16, 32, 64, 128, 256)
"""Channels from full resolution down to 1/16: 1.96 million parameters."""

Upsampling = Literal["bilinear", "nearest", "transposed"]


class Block(nn.Sequential):
    """Two convolutions, each with batch normalisation and a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise((inputs, outputs, outputs)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Decoder(nn.Module):
    """The upward half of a U-Net.

    Parameters
    ----------
    masks
        Number of masks K.
    widths
        Channels from full resolution down.
    upsampling
        How the resolution is doubled.
    """

    def __init__(self, masks: int, widths: Sequence[int] = WIDTHS, upsampling: Upsampling = "bilinear") -> None:
        super().__init__()
        self._make_up(masks, widths, upsampling)

    def _make_up(self, masks: int, widths: Sequence[int], upsampling: Upsampling) -> None:
        self._upsampling = upsampling
        self.up = nn.ModuleList(Block(a + b, a) for a, b in itertools.pairwise(widths))
        self.head = nn.Conv2d(widths[0], masks, 1)
        if upsampling == "transposed":
            self.grow = nn.ModuleList(nn.ConvTranspose2d(w, w, 2, stride=2) for w in widths[1:])

    def features(self, skips: Sequence[Tensor]) -> Tensor:
        """Return the last map, `(B, widths[0], H, W)`, from those of the encoder."""
        x = skips[-1]
        for level in range(len(self.up) - 1, -1, -1):
            if self._upsampling == "transposed":
                x = self.grow[level](x)
            else:
                corners = False if self._upsampling == "bilinear" else None
                x = nn.functional.interpolate(x, scale_factor=2, mode=self._upsampling, align_corners=corners)
            x = self.up[level](torch.cat([_with_dense_gradient(x), skips[level]], dim=1))
        return x

    def decode(self, skips: Sequence[Tensor]) -> Tensor:
        """Return logits `(B, K, H, W)`."""
        return self.head(self.features(skips))  # type: ignore[no-any-return]

    def forward(self, skips: Sequence[Tensor]) -> Tensor:
        """Return logits `(B, K, H, W)` from the maps of an encoder."""
        return self.decode(skips)


def _with_dense_gradient(x: Tensor) -> Tensor:
    """Return `x`, whose gradient will lie in memory as `x` does.

    The gradient of one part of `torch.cat` is a view, from which the upsampling is differentiated four times slower: a
    step of the network takes a fifth longer.
    """
    if x.requires_grad:
        last = x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        x.register_hook(lambda gradient: gradient.contiguous(memory_format=layout))
    return x


class PlainUNet(Decoder):
    """U-Net (Ronneberger et al., MICCAI 2015) with batch normalisation and bilinear upsampling.

    Parameters
    ----------
    classes
        Number of masks K.
    widths
        Channels from full resolution down to 1/16.
    upsampling
        How the resolution is doubled.
    """

    def __init__(self, classes: int = 1, widths: Sequence[int] = WIDTHS, upsampling: Upsampling = "bilinear") -> None:
        nn.Module.__init__(self)
        self.down = nn.ModuleList(Block(a, b) for a, b in itertools.pairwise((3, *widths)))
        self._make_up(classes, widths, upsampling)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the maps of all levels, from full resolution down, of images `(B, 3, H, W)` in [0, 1]."""
        x = (images - 0.5) * 4
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        return skips

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Map images `(B, 3, H, W)` in [0, 1], H and W multiples of 16, to logits `(B, K, H, W)`."""
        return self.decode(self.encode(images))
