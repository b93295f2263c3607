"""Fits the presence score of a trained model; its masks stay as they are.

Pretraining batches hold either tissue or whole images, so within a batch nothing teaches v_cls to tell an X-ray from a
slide; and a prompt is asked at the scale of its concept, so that "nuclei" sees tiles of an X-ray, and "lungs" a whole
slide. Here batches hold all kinds of image at both scales, and each is asked for all concepts of its scale. Only the
image projection and the presence head learn; they have no influence on the masks. `training.pretrain` ends so.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import random
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.device import autocast
from napari_amvlm.losses import info_nce, same_meaning
from napari_amvlm.models.text_mask import text_guided_embedding
from training.pretraining.batches import Batch, BatchSource
from training.pretraining.data import TaughtImage, is_validation
from training.pretraining.prompts import ABSENT, CONCEPTS, NEVER_THERE
from training.pretraining.scoring import roc_auc

if TYPE_CHECKING:
    from napari_amvlm.models.amvlm import AMVLM

log = logging.getLogger("training.presence")
_RATE = 2e-3
_KINDS = {"xray": ("lungs", "left lung", "right lung"), "spine": ("vertebrae", "intervertebral discs", "spinal canal")}


def fit_presence(model: AMVLM, images: list[TaughtImage], *, steps: int, seed: int) -> float:
    """Fit image projection and presence head of `model` in place.

    Parameters
    ----------
    model
        A trained model, in eval mode; it stays in eval mode.
    images
        Training and validation images of all kinds.
    steps, seed
        Length of the fit, and its seed.

    Returns
    -------
    float
        Area under the ROC curve of presence on validation images.
    """
    train = [i for i in images if not is_validation(i.source, i.name)]
    validation = [i for i in images if is_validation(i.source, i.name)]
    source = BatchSource(train, seed=seed, tile_batch=4, whole_batch=4, size=model.config.whole)
    parameters = [*model.image_projection.parameters(), *model.presence.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    for step in range(steps):
        chance = random.Random(seed * 7919 + step)
        batches = [b for k in (0, 1) for b in _both_scales(source.draw(2 * step + k), chance)]
        loss = _loss(model, batches, chance)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            log.info("step %d, loss %.3f", step, float(loss.detach()))
    return _auc(model, validation, seed=seed)


def _auc(model: AMVLM, images: list[TaughtImage], *, seed: int = 0) -> float:
    """Return the area under the ROC curve of presence over views of `images`, each asked for all concepts.

    Not a number where there is nothing to compare.
    """
    if not images:
        return math.nan
    source = BatchSource(images, seed=seed + 1, tile_batch=4, whole_batch=4, size=model.config.whole)
    present: list[float] = []
    absent: list[float] = []
    for step in range(24):
        chance = random.Random(step)
        for batch in _both_scales(source.draw(step), chance):
            prompts, index, there = _questions(batch, chance)
            with torch.no_grad():
                logits = _presence(model, batch, prompts, index)[0]
            for logit, truth in zip(logits.tolist(), there, strict=True):
                (present if truth else absent).append(logit)
    return roc_auc(present, absent)


def _loss(model: AMVLM, batches: list[Batch], chance: random.Random) -> Tensor:
    """Return the cross-entropy of presence over both kinds of batch, plus L_ITA over all their captions."""
    logits, truth, v_cls, captions, meanings = [], [], [], [], []
    for batch in batches:
        prompts, index, there = _questions(batch, chance)
        logit, seen = _presence(model, batch, prompts, index)
        logits.append(logit)
        truth += there
        v_cls.append(seen)
        captions += batch.captions
        meanings += batch.meanings
    z, target = torch.cat(logits), torch.tensor(truth, dtype=torch.float32)
    balance = (1 - target).sum() / target.sum().clamp_min(1)
    presence = nn.functional.binary_cross_entropy_with_logits(z, target.to(z.device), pos_weight=balance.to(z.device))
    same = same_meaning(meanings, z.device)
    with torch.no_grad():
        t_cls = model.encode_text(captions).t_cls
    return presence + 0.1 * info_nce(torch.cat(v_cls), t_cls, same=same)


def _both_scales(batch: Batch, chance: random.Random) -> list[Batch]:
    """Return the batch, and its images at the other scale: tissue whole, or magnified parts of the rest as tiles."""
    images = batch.images
    if bool(batch.whole.all()):
        side = images.shape[-1]
        part = chance.randrange(side // 3, side)
        top, left = chance.randrange(side - part + 1), chance.randrange(side - part + 1)
        cut = images[..., top : top + part, left : left + part]
        images = nn.functional.interpolate(cut, size=(side, side), mode="bilinear", align_corners=False)
    return [batch, dataclasses.replace(batch, images=images, whole=~batch.whole)]


def _questions(batch: Batch, chance: random.Random) -> tuple[list[str], list[int], list[bool]]:
    """Return wordings, the image each is asked of, and whether it is there, for all concepts of the scale."""
    prompts: list[str] = []
    index: list[int] = []
    there: list[bool] = []
    for i, (meaning, whole) in enumerate(zip(batch.meanings, batch.whole.tolist(), strict=True)):
        kind = meaning if meaning in ABSENT else "tissue"
        shown = _KINDS.get(kind, () if meaning.startswith("hardly") else ("nuclei",))
        for concept in CONCEPTS:
            known = concept.name in shown or concept.name in ABSENT[kind]
            if known and (concept.scale == "whole") == whole:
                prompts.append(chance.choice(concept.prompts))
                index.append(i)
                there.append(concept.name in shown)
        prompts.append(chance.choice(NEVER_THERE))
        index.append(i)
        there.append(False)
    return prompts, index, there


def _presence(model: AMVLM, batch: Batch, prompts: list[str], index: list[int]) -> tuple[Tensor, Tensor]:
    """Return presence logits `(N,)` and v_cls `(B, d)`; the image projection and the presence head get gradient."""
    device = model.device
    images = batch.images.to(device).contiguous(memory_format=torch.channels_last)
    rows = torch.tensor(index, device=device)
    with torch.no_grad(), autocast(device):
        seen = model.see(images, batch.whole.to(device))
        dense = model.text_mask(seen)[rows]
        text = model.encode_text(prompts)
        text_logits = model.text_mask.text_logits(dense, text.t_cls)
        v_text = text_guided_embedding(dense, text_logits)
        skips = model.unet.encode(images, seen.tokens, batch.whole.to(device))
        logits = model.unet.decode(tuple(s[rows] for s in skips), text_logits, text.sentence)
    v_cls = model.image_projection(seen.cls.float())
    return model.presence(v_cls[rows], v_text.float(), text.t_cls.float(), text_logits.float(), logits.float()), v_cls
