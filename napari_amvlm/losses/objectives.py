"""Objectives over image-prompt pairs that pretraining and fine-tuning share (Pan et al. 2025, step 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from napari_amvlm.losses.alignment import info_nce, same_meaning
from napari_amvlm.losses.segmentation import segmentation_loss

if TYPE_CHECKING:
    from collections.abc import Sequence


def text_mask_loss(
    text_logits: Tensor, target: Tensor, known: Tensor | None = None, *, balance: float | Tensor = 1.0
) -> Tensor:
    """Return the mean segmentation loss of the text mask, which lies at a quarter of the resolution.

    Parameters
    ----------
    text_logits
        z_text, `(N, 1, H/4, W/4)`.
    target
        Masks in [0, 1], `(N, 1, H, W)`.
    known
        1 where the target counts, else 0, `(N, 1, H, W)`; None means everywhere.
    balance
        As in `segmentation_loss`.
    """
    if known is None:
        return segmentation_loss(text_logits, nn.functional.avg_pool2d(target, 4), balance=balance).mean()
    weight = nn.functional.avg_pool2d(known, 4)
    share = nn.functional.avg_pool2d(target * known, 4) / weight.clamp_min(1e-6)
    return segmentation_loss(text_logits, share, weight, balance=balance).mean()


def guidance_loss(
    v_text: Tensor, t_cls: Tensor, meanings: Sequence[str], present: Tensor, *, least_meanings: int = 1
) -> Tensor:
    """Return L_tg: InfoNCE between text-guided image embeddings and prompts, over the pairs that are present.

    Parameters
    ----------
    v_text, t_cls
        Unit vectors, `(N, d)`.
    meanings
        N names; pairs of one meaning are positives of each other.
    present
        Bool `(N,)`: whether the image shows what the prompt says.
    least_meanings
        With fewer different meanings, or fewer than two pairs, the loss is 0: there are no negatives.
    """
    names = [name for name, there in zip(meanings, present.tolist(), strict=True) if there]
    if len(names) < 2 or len(set(names)) < least_meanings:
        return v_text.new_zeros(())
    return info_nce(v_text[present], t_cls[present], same=same_meaning(names, v_text.device))


def presence_loss(logits: Tensor, present: Tensor, sure: Tensor) -> Tensor:
    """Return the cross-entropy of presence over the pairs that are sure, at least one.

    Parameters
    ----------
    logits
        Of presence, `(N,)`.
    present, sure
        Bool `(N,)`: whether the image shows what the prompt says, and whether that is known.
    """
    return nn.functional.binary_cross_entropy_with_logits(logits[sure], present[sure].float())
