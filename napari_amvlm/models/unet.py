"""The text-conditioned U-Net: its encoder knows no text, so one image serves many prompts."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from napari_amvlm.config import UNetConfig
from napari_amvlm.models.layers import POSITION_CHANNELS, GroupNorm, layout_of, position_channels


class ConvBlock(nn.Module):
    """Convolution, group normalisation, optional FiLM from a text embedding, SiLU; `depth` times.

    FiLM (Perez et al., AAAI 2018) scales and shifts channels by the text: y = (1 + gamma) * norm(x) + beta.
    """

    def __init__(
        self, in_channels: int, out_channels: int, groups: int, *, depth: int = 2, text: int | None = None
    ) -> None:
        super().__init__()
        widths = [in_channels, *[out_channels] * depth]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(GroupNorm(groups, out_channels) for _ in range(depth))
        self.film = nn.Linear(text, 2 * out_channels) if text else None
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        """Map `(N, in, h, w)`, and `(N, text)` where the block is conditioned, to `(N, out, h, w)`."""
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x))
            if index == 0 and self.film is not None and text is not None:
                gamma, beta = self.film(text)[:, :, None, None].chunk(2, dim=1)
                x = torch.addcmul(beta, x, 1 + gamma)
            x = nn.functional.silu(x)
        return x


class TextConditionedUNet(nn.Module):
    """Student and teacher: segments what the text says.

    The finest level lies at 1/patch of the resolution: the image's pixels come in, and the logits' pixels go out, as
    channels (pixel unshuffle and shuffle, Shi et al., CVPR 2016), since it is the finest maps that a processor spends
    its time on. Position and context come from the image encoder's tokens and from coordinates, at the finest level and
    at the bottleneck; the text enters the decoder alone, by FiLM and as the text-guided mask.

    Parameters
    ----------
    hidden
        Width of the image encoder's tokens.
    sentence
        Width of a sentence embedding.
    """

    def __init__(self, config: UNetConfig, *, hidden: int, sentence: int) -> None:
        super().__init__()
        c, g, t = config.channels, config.groups, config.text
        self._patch, self._mask_level = config.patch, config.mask_level
        inputs = 3 * config.patch**2 + POSITION_CHANNELS
        self.down = nn.ModuleList(
            ConvBlock(inputs if i == 0 else c[i - 1], c[i], g, depth=1 if i == 0 else 2) for i in range(len(c))
        )
        self.tokens = nn.Conv2d(hidden, config.tokens, 1)
        self.fuse = ConvBlock(c[-1] + config.tokens + POSITION_CHANNELS, c[-1], g, depth=1)
        self.embed_text = nn.Sequential(nn.Linear(sentence, 2 * t), nn.SiLU(), nn.Linear(2 * t, t))
        self.middle = ConvBlock(c[-1] + 1, c[-1], g, depth=1, text=t)
        self.reduce = nn.ModuleList(nn.Conv2d(c[i + 1], c[i], 1) for i in range(len(c) - 1))
        self.up = nn.ModuleList(
            ConvBlock(2 * c[i] + (i == config.mask_level), c[i], g, depth=1 if i == 0 else 2, text=t)
            for i in range(len(c) - 1)
        )
        self.head = nn.Conv2d(c[0], config.patch**2, 1 if config.patch == 1 else 3, padding="same")

    def encode(self, images: Tensor, tokens: Tensor, whole: Tensor) -> tuple[Tensor, ...]:
        """Run the text-free half.

        Parameters
        ----------
        images
            `(B, 3, H, W)` in [0, 1].
        tokens
            The image encoder's tokens, `(B, hidden, H/16, W/16)`.
        whole
            Bool `(B,)`; coordinates mean something only where it is True.

        Returns
        -------
        tuple of Tensor
            Maps from the finest level, at 1/patch of the resolution, down to the fused bottleneck at 1/16.
        """
        x = nn.functional.pixel_unshuffle((images - 0.5) * 4, self._patch)
        layout = layout_of(next(self.down.parameters()))
        x = torch.cat([x, position_channels(x, whole)], dim=1).contiguous(memory_format=layout)
        skips: list[Tensor] = []
        for index, block in enumerate(self.down):
            x = block(x if index == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        place = position_channels(x, whole)
        skips[-1] = self.fuse(torch.cat([x, self.tokens(tokens).to(x.dtype), place], dim=1))
        return tuple(skips)

    def decode(self, skips: tuple[Tensor, ...], text_logits: Tensor, sentence: Tensor) -> Tensor:
        """Run the text-conditioned half.

        Parameters
        ----------
        skips
            Maps of `encode`, one row for each image-prompt pair.
        text_logits
            z_text of each pair, `(N, 1, H/4, W/4)`; no gradient flows back into it.
        sentence
            Sentence embedding of each pair's prompt, `(N, D')`.

        Returns
        -------
        Tensor
            Logits `(N, 1, H, W)`.
        """
        text = self.embed_text(sentence)
        mask = torch.sigmoid(text_logits.detach()).to(skips[-1].dtype)
        x = self.middle(torch.cat([skips[-1], nn.functional.avg_pool2d(mask, 4)], dim=1), text)
        for level in reversed(range(len(self.up))):
            up = nn.functional.interpolate(self.reduce[level](x), scale_factor=2, mode="nearest")
            parts = [up, skips[level], mask] if level == self._mask_level else [up, skips[level]]
            x = self.up[level](torch.cat(parts, dim=1), text)
        return nn.functional.pixel_shuffle(self.head(x), self._patch)
