"""How deep inside an object each pixel lies: what tells touching objects of one prompt apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.models.layers import layout_of
from napari_amvlm.models.unet import ConvBlock

if TYPE_CHECKING:
    from napari_amvlm.config import ObjectsConfig

_PATCH = 2


class ObjectHead(nn.Module):
    """Estimates the distance to the border of the own object, 1 at its middle and 0 at its border and outside.

    The distance to the border, relative to the largest one in the object, is what DIST (Naylor et al., IEEE TMI 2019)
    regresses. The head is a small U-Net with eyes of its own: it sees all pixels of the image, where borders one pixel
    wide show, and the probability of the prompt, which says whose objects are wanted. So it can learn from crops in any
    position while the large network looks at each image once. It changes nothing of the segmentation.

    Parameters
    ----------
    config
        Channels of its levels, the finest first; squares of 2 x 2 pixels are the channels that the finest begins with.
    """

    def __init__(self, config: ObjectsConfig) -> None:
        super().__init__()
        c, g = config.channels, config.groups
        self.down = nn.ModuleList(
            ConvBlock(4 * _PATCH**2 if i == 0 else c[i - 1], c[i], g, depth=1 if i == 0 else 2) for i in range(len(c))
        )
        self.reduce = nn.ModuleList(nn.Conv2d(c[i + 1], c[i], 1) for i in range(len(c) - 1))
        self.up = nn.ModuleList(ConvBlock(2 * c[i], c[i], g, depth=1 if i == 0 else 2) for i in range(len(c) - 1))
        self.out = nn.Conv2d(c[0], _PATCH**2, 3, padding=1)

    def forward(self, images: Tensor, probability: Tensor) -> Tensor:
        """Return logits of the relative distance.

        Parameters
        ----------
        images
            `(N, 3, H, W)` in [0, 1]; H and W multiples of 16.
        probability
            Of the prompt, `(N, 1, H, W)`; no gradient flows back into it.

        Returns
        -------
        Tensor
            `(N, 1, H, W)`.
        """
        x = (torch.cat([images, probability.detach()], dim=1) - 0.5) * 4
        layout = layout_of(next(self.down.parameters()))
        x = nn.functional.pixel_unshuffle(x, _PATCH).contiguous(memory_format=layout)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            up = nn.functional.interpolate(self.reduce[level](x), scale_factor=2, mode="nearest")
            x = self.up[level](torch.cat([up, skips[level]], dim=1))
        return nn.functional.pixel_shuffle(self.out(x), _PATCH)
