"""LViT: a U-Net beside a transformer that reads the text, and pseudo-labels that are renewed step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from napari_amvlm.config import STRIDE, TextEncoderConfig
from napari_amvlm.losses import segmentation_loss
from training.methods.backbone import PlainUNet
from training.methods.protocol import Method, Views, rise, supervised
from training.methods.teachers import Taught

if TYPE_CHECKING:
    from collections.abc import Sequence


class PixelAttention(nn.Module):
    """PLAM: weighs the channels of a map by their mean and by their maximum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, H, W)` to the same shape."""
        gate = self.mix(x.mean((2, 3), keepdim=True)) + self.mix(x.amax((2, 3), keepdim=True))
        return x * torch.sigmoid(gate)


class LViTNetwork(nn.Module):
    """A U-Net whose skip connections get the output of a transformer over image and text.

    Parameters
    ----------
    masks
        Number of masks K.
    widths
        Of the U-Net.
    hidden
        Width of the transformer's tokens, one for each 16x16 pixels.
    """

    def __init__(self, masks: int, widths: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.unet = PlainUNet(masks, widths)
        self.text = nn.Linear(TextEncoderConfig().width, hidden)
        sizes = [STRIDE >> level for level in range(4)]
        self.embed = nn.ModuleList(nn.Conv2d(w, hidden, s, stride=s) for w, s in zip(widths, sizes, strict=False))
        self.down, self.up = (
            nn.ModuleList(
                nn.TransformerEncoderLayer(hidden, 4, 2 * hidden, dropout=0.0, batch_first=True, norm_first=True)
                for _ in sizes
            )
            for _ in range(2)
        )
        self.rebuild = nn.ModuleList(nn.Conv2d(hidden, w, 1) for w, _ in zip(widths, sizes, strict=False))
        for layer in self.rebuild:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.attention = nn.ModuleList(PixelAttention(w) for w, _ in zip(widths, sizes, strict=False))
        self.sentence: Tensor | None = None
        """Sentence embeddings `(1, D)` for images that are asked without a text of their own."""

    def forward(self, images: Tensor, text: Tensor | None = None) -> Tensor:
        """Return logits `(B, K, H, W)` of images `(B, 3, H, W)` with sentence embeddings `(B, D)`."""
        skips = self.unet.encode(images)
        text = self.sentence if text is None else text
        sentence = skips[0].new_zeros(1, 1) if text is None else self.text(text.to(skips[0].device))
        grid = (images.shape[-2] // STRIDE, images.shape[-1] // STRIDE)
        tokens: Tensor = sentence[:, None]
        kept: list[Tensor] = []
        for embed, block, skip in zip(self.embed, self.down, skips, strict=False):
            tokens = block(embed(skip).flatten(2).transpose(1, 2) + tokens)
            kept.append(tokens)
        for level in range(len(kept) - 1, -1, -1):
            tokens = self.up[level](tokens + kept[level])
            context = self.rebuild[level](tokens.transpose(1, 2).unflatten(2, grid))
            size = skips[level].shape[-2:]
            context = nn.functional.interpolate(context, size=size, mode="bilinear", align_corners=False)
            skips[level] = skips[level] + self.attention[level](context)
        return self.unet.decode(skips)


class LViTMethod(Method):
    """Its own network, with pseudo-labels of an average of itself and a loss between texts and masks."""

    title: ClassVar[str] = "LViT"
    source: ClassVar[str] = "Li et al., IEEE TMI 2023"
    departures: ClassVar[str] = (
        "its transformer on our U-Net; a frozen MiniLM sentence, not BERT words; the pseudo-label iteration "
        "averages weights, not stored masks, since crops differ from step to step, and ramps up; no learnt positions"
    )
    reads_text: ClassVar[bool] = True

    decay: float = Field(0.99, ge=0, lt=1, description="beta of the pseudo-label iteration")
    text_weight: float = Field(0.1, ge=0, description="alpha: of the loss between texts and masks")
    hidden: int = Field(64, ge=8, multiple_of=4)

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return the network and the average of itself."""
        return Taught(LViTNetwork(masks, widths, self.hidden), self.decay)

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return L_sup + lambda(t) (L_pseudo + alpha L_LV).

        L_LV = 1 - cos(mask, label of the labelled crop of the batch whose text is most alike).
        """
        logits = network.student(views.strong, views.text)
        rows = views.labelled
        losses = {"supervised": supervised(views, logits)}
        free = views[~rows]
        if not len(free.weak) or not bool(rows.any()) or views.text is None or free.text is None:
            return losses
        with torch.no_grad():
            pseudo = free.asked(network.teacher.eval()(free.weak, free.text)).float().sigmoid()
        own = free.asked(logits[~rows])
        alike = nn.functional.normalize(free.text, dim=1) @ nn.functional.normalize(views.text[rows], dim=1).T
        contrast = views.target[rows][alike.argmax(1)]
        flat = own.float().sigmoid().flatten(1), contrast.float().flatten(1)
        label = (pseudo >= 0.5).to(pseudo.dtype)
        losses["pseudo"] = rise(time) * segmentation_loss(own, label, balance=0.0).mean()
        losses["text"] = rise(time) * self.text_weight * (1 - nn.functional.cosine_similarity(*flat).mean())
        return losses

    def after_step(self, network: Any, time: float) -> None:
        """Let the average follow."""
        network.follow()

    def predictor(self, network: Any) -> nn.Module:
        """Return the network."""
        return network.student  # type: ignore[no-any-return]
