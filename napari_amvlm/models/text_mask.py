"""The text mask generator: where in the image is what the prompt says (Pan et al. 2025, step 2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.models.layers import GroupNorm

if TYPE_CHECKING:
    from napari_amvlm.models.image_encoder import VisionFeatures


class GatedUp(nn.Module):
    """Doubles the resolution and adds a gated residual that also sees a finer map, where there is one.

    out = up(x) + sigmoid(gate) * update, where (gate, update) come from one convolution over up(x) and the finer map.
    """

    def __init__(self, width: int, finer: int, groups: int = 8) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width + finer, 2 * width, 3, padding=1)
        self.norm = GroupNorm(groups, width)

    def forward(self, x: Tensor, finer: Tensor | None) -> Tensor:
        """Map `(B, width, h, w)`, and `(B, finer, 2h, 2w)` unless `finer` is 0, to `(B, width, 2h, 2w)`."""
        up = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        gate, update = self.mix(up if finer is None else torch.cat([up, finer], dim=1)).chunk(2, dim=1)
        return up + torch.sigmoid(gate) * nn.functional.silu(self.norm(update))


class TextMaskGenerator(nn.Module):
    """Dense image embeddings at a quarter of the resolution, and their calibrated similarity to a text.

    Parameters
    ----------
    hidden
        Width of the image encoder's tokens.
    stem
        Channels of the stem at 1/4 and at 1/8; 0 where there is no stem.
    embedding
        Width d of the shared space.
    """

    def __init__(self, hidden: int, stem: tuple[int, int], dense: int, embedding: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(hidden, dense, 1)
        self.to_eighth = GatedUp(dense, stem[1])
        self.to_quarter = GatedUp(dense, stem[0])
        self.out = nn.Conv2d(dense, embedding, 1)
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-1.0))

    def forward(self, seen: VisionFeatures) -> Tensor:
        """Return V_dense, unit vectors, float32 `(B, d, H/4, W/4)`."""
        x = self.to_eighth(self.reduce(seen.tokens), seen.eighth)
        x = self.to_quarter(x, seen.quarter)
        vectors = nn.functional.normalize(_vectors(self.out(x).float()), dim=2)
        return _maps(vectors, x)

    def text_logits(self, dense: Tensor, t_cls: Tensor) -> Tensor:
        """Return z_text = scale * sim(V_dense, t_cls) + bias for pairs.

        Parameters
        ----------
        dense
            V_dense of each pair's image, `(N, d, h, w)`.
        t_cls
            Unit text embedding of each pair's own prompt, `(N, d)`.

        Returns
        -------
        Tensor
            Logits `(N, 1, h, w)`; their sigmoid is the text-guided mask.
        """
        similarity = _maps(torch.bmm(_vectors(dense), t_cls.unsqueeze(2)), dense)
        return self.scale.exp() * similarity + self.bias


def text_guided_embedding(dense: Tensor, text_logits: Tensor) -> Tensor:
    """Return v_text = sum(m_text * V_dense) / sum(m_text), L2-normalised, `(N, d)` (Pan et al. 2025, step 2).

    Parameters
    ----------
    dense
        V_dense of each pair's image, `(N, d, h, w)`.
    text_logits
        z_text, `(N, 1, h, w)`.
    """
    mask = torch.sigmoid(text_logits).flatten(2)
    pooled = torch.bmm(mask, _vectors(dense)).squeeze(1) / mask.sum(2).clamp_min(1e-6)
    return nn.functional.normalize(pooled, dim=-1)


def _vectors(dense: Tensor) -> Tensor:
    """Return `(N, d, h, w)` as `(N, h * w, d)`: a view where a convolution in channels-last order gave it.

    With the channels last in memory, products and sums over them are matrix products, and several times quicker to
    differentiate on a processor than over the planes of `(N, d, h, w)`.
    """
    return dense.permute(0, 2, 3, 1).flatten(1, 2)


def _maps(vectors: Tensor, like: Tensor) -> Tensor:
    """Return `(N, h * w, d)` as `(N, d, h, w)`, the height and width those of `like`."""
    return vectors.transpose(1, 2).reshape(len(vectors), -1, *like.shape[-2:])
