"""The loss of one pretraining batch: step 1 of the method, and what makes the masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_amvlm.device import autocast
from napari_amvlm.losses import guidance_loss, presence_loss, segmentation_loss, text_mask_loss

if TYPE_CHECKING:
    from napari_amvlm.models.amvlm import AMVLM, AmvlmOutput
    from training.pretraining.batches import Batch
    from training.pretraining.recipe import Recipe
    from training.pretraining.step_one import Alignment

_SEEN = 0.002
"""Share of the pixels from which a concept counts as shown; less, but not nothing, is neither here nor there."""


def total_loss(
    model: AMVLM, alignment: Alignment, batch: Batch, recipe: Recipe, chance: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Return the joint loss of a batch and its parts.

    Step 1's losses over images and captions (Pan et al. 2025), and over prompts those that make the masks: segmentation
    and text-mask supervision, L_tg over present prompts, and the presence of each concept. A batch
    of captions alone asks no prompt.
    """
    device = model.device
    images = batch.images.to(device).contiguous(memory_format=torch.channels_last)
    whole = batch.whole.to(device)
    with autocast(device):
        seen = model.see(images, whole)
        if batch.prompts:
            text = model.encode_text(batch.prompts)
            out = model.decode(model.features(images, whole, seen), text, batch.index.to(device))
        step_one = alignment.losses(model, seen, batch, chance) if recipe.step_one_weight and batch.captions else {}
    weights = recipe.step_one.model_dump()
    parts = {name: (recipe.step_one_weight * weights[name], value) for name, value in step_one.items()}
    if batch.prompts:
        parts |= mask_losses(out, text.t_cls, batch, recipe)
    loss = torch.stack([weight * value.float() for weight, value in parts.values()]).sum()
    said = alignment.observed if step_one else {}
    return loss, {name: float(value.detach()) for name, (_, value) in parts.items()} | said


def mask_losses(out: AmvlmOutput, t_cls: Tensor, batch: Batch, recipe: Recipe) -> dict[str, tuple[float, Tensor]]:
    """Return weight and value of each loss over the N prompts of a batch."""
    targets = batch.targets.to(out.logits.device)
    area = targets.mean((1, 2, 3))
    present = area > _SEEN
    sure = present | (area == 0)
    presence = presence_loss(out.presence, present, sure) if bool(sure.any()) else out.presence.sum() * 0
    balance = recipe.class_balance * (area < recipe.balance_below)[..., None, None, None]
    return {
        "segmentation": (1.0, segmentation_loss(out.logits, targets, balance=balance).mean()),
        "text_mask": (recipe.text_mask_weight, text_mask_loss(out.text_logits, targets, balance=balance)),
        "guidance": (recipe.guidance_weight, guidance_loss(out.v_text, t_cls, batch.concepts, present)),
        "presence": (recipe.presence_weight, presence),
    }
