"""Fits the presence score of weights that know a vocabulary, and calibrates it; their masks stay as they are.

A batch of training asks an image for what it shows and for little else, so the presence head learns to say "present".
Here some training images of each set are asked, as the program serves them, for all that they show and for as many
taught words that they cannot show. Image projection and presence head learn on these features, which are computed
once. A quarter of the training subjects is kept from that: on them the fit ends where their loss is least, and
presence is calibrated by a line through its logits (Platt scaling). Validation images play no part.
"""

from __future__ import annotations

import copy
import logging
import math
import random
import zlib
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_amvlm.errors import InputError
from napari_amvlm.imaging.spine_levels import LEVELS
from napari_amvlm.learning.module_state import descend
from napari_amvlm.models.amvlm import surest
from napari_amvlm.models.inference import EncodedImage, auto_scale, decode_prompt, encode_image
from training.words.answers import expected_calibration_error
from training.words.fields import deniable
from training.words.scores import few_of_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_amvlm.imaging import WorkingScale
    from napari_amvlm.models.amvlm import AMVLM
    from training.words.corpus import LabelledImage

log = logging.getLogger("training.presence")

_KEPT = 4
"""One subject in so many is kept for the end of the fit and for calibration."""
_ELSEWHERE = 2
"""Absent words of the other working scale that each image is asked for besides, such as nuclei of an X-ray."""
_TILES = 4
"""Tiles that a word is denied of, those most like it; what is there is in the one most like it."""
_MOST = 2500
"""Most steps of the fit."""
_NOISE = 2.0
"""Noise on the class tokens, in their standard deviations: a few hundred of them are soon known by heart."""
_PATIENCE = 300
"""Steps without a lower loss after which the fit ends."""


@dataclass(frozen=True)
class Asked:
    """What the presence head reads of N questions.

    Attributes
    ----------
    cls
        Class tokens of the image encoder, `(N, hidden)`.
    v_text, t_cls
        Unit vectors, `(N, d)`.
    surest
        Mean probability where text mask and mask are surest, `(N, 2)`.
    there
        1 where the image shows it, float `(N,)`.
    kept
        Whether the subject is kept for calibration, bool `(N,)`.
    """

    cls: Tensor
    v_text: Tensor
    t_cls: Tensor
    surest: Tensor
    there: Tensor
    kept: Tensor

    def rows(self, chosen: Tensor) -> Asked:
        """Return the questions `chosen`, bool `(N,)`."""
        return Asked(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def fit_word_presence(model: AMVLM, images: Sequence[LabelledImage], *, count: int = 8) -> dict[str, float]:
    """Fit image projection and presence head of `model` in place, and calibrate them.

    Parameters
    ----------
    model
        In eval mode; it stays so.
    images
        Training images of all sets, never those for validation.
    count
        How many images of each set are asked.

    Returns
    -------
    dict
        Expected calibration error on the subjects that were kept: `before` and `after`.

    Raises
    ------
    InputError
        There are no images, or too few subjects to keep some for calibration.
    """
    asked = ask(model, images, count)
    fit, kept = asked.rows(~asked.kept), asked.rows(asked.kept)
    if any(part.there.unique().numel() < 2 for part in (fit, kept)):
        raise InputError(
            "Presence needs training images of a few subjects that show a word and of a few that do not, and as many "
            "to calibrate on; give it more sets."
        )
    scores = {"before": _error(model, kept)}
    _fit(model, fit, kept)
    _calibrate(model, kept)
    return scores | {"after": _error(model, kept)}


def ask(model: AMVLM, images: Sequence[LabelledImage], count: int) -> Asked:
    """Ask up to `count` images of each set, each for all that it shows and for as many words that it cannot show.

    Words of the other working scale are asked besides, since images are looked at in another way then. A word is said
    as its name or as one of its wordings. Levels of the spine are words as the others are.
    """
    wordings = {concept.name: concept.prompts for concept in model.config.concepts}
    scales_of = {concept.name: concept.scale for concept in model.config.concepts}
    absent = deniable(images, wordings)
    levels = tuple(level for level in LEVELS if level in wordings)
    sets = {image.spec.name: image.words for image in images}
    taught = Counter(word for words in sets.values() for word in words)
    classes: list[Tensor] = []
    given: list[tuple[Tensor, ...]] = []
    rows: list[tuple[Tensor, ...]] = []
    hooks = (
        model.image_projection.register_forward_pre_hook(lambda _, inputs: classes.append(inputs[0])),
        model.presence.register_forward_pre_hook(lambda _, inputs: given.append(inputs)),
    )
    try:
        for image in few_of_each(images, count):
            chance = random.Random(zlib.crc32(image.key.encode()) + 1)
            kept = zlib.crc32(f"{image.spec.name}/{image.subject}".encode()[::-1]) % _KEPT == 0
            scales: dict[WorkingScale, tuple[EncodedImage, Tensor]] = {}
            for word, there in _questions(image, absent[image.spec.name], levels, taught, scales_of, chance):
                prompt = chance.choice((word, chance.choice(wordings[word])))
                scale = auto_scale(model, prompt, image.labels.shape)
                if scale not in scales:
                    classes.clear()
                    encoded = encode_image(model, image.pixels, scale)
                    scales[scale] = encoded, torch.cat(classes).float()
                given.clear()
                decode_prompt(model, scales[scale][0], prompt)
                _, v_text, t_cls, text_logits, logits = (torch.cat(part).float() for part in zip(*given, strict=True))
                sure = torch.stack([surest(text_logits), surest(logits)], dim=1)
                tiles = sure[:, 1].argsort(descending=True)[: 1 if there else _TILES]
                columns = [part[tiles] for part in (scales[scale][1], v_text, t_cls, sure)]
                truth = torch.full((len(tiles),), float(there)), torch.full((len(tiles),), kept)
                rows.append((*columns, *truth))
    finally:
        for hook in hooks:
            hook.remove()
    if not rows:
        raise InputError("There is no training image to fit presence on; give a recipe whose sets have some.")
    return Asked(*(torch.cat(column) for column in zip(*rows, strict=True)))


def _questions(
    image: LabelledImage,
    absent: Sequence[str],
    levels: Sequence[str],
    taught: Mapping[str, int],
    scales: Mapping[str, str],
    chance: random.Random,
) -> list[tuple[str, bool]]:
    """Return words to ask an image for, and whether it shows them.

    A word is denied the more often, the more sets teach it (`taught`): else what many sets show is hardly ever absent.
    """
    shown = list(image.shown())
    spine = "vertebrae" in image.words
    if spine and image.levels is not None:
        seen = [
            level for index, level in enumerate(LEVELS, start=1) if level in levels and (image.levels == index).any()
        ]
        shown += chance.sample(seen, min(1, len(seen)))
    pool = [*absent, *(() if spine or "vertebrae" not in absent else levels)]
    drawn = chance.choices(pool, [max(1, taught[word]) for word in pool], k=max(3, len(shown))) if pool else []
    own = {scales[word] for word in image.words}
    elsewhere = [word for word in pool if scales[word] not in own]
    if elsewhere:
        drawn += chance.choices(elsewhere, [max(1, taught[word]) for word in elsewhere], k=_ELSEWHERE)
    return [(word, True) for word in shown] + [(word, False) for word in dict.fromkeys(drawn)]


def _logits(model: AMVLM, asked: Asked) -> Tensor:
    v_cls = model.image_projection(asked.cls)
    return model.presence.weigh(v_cls, asked.v_text, asked.t_cls, *asked.surest.unbind(1))


def _loss(logits: Tensor, there: Tensor) -> Tensor:
    """Return the cross-entropy of presence, as if a word were as likely to be there as not."""
    balance = (1 - there).sum() / there.sum().clamp_min(1)
    return nn.functional.binary_cross_entropy_with_logits(logits, there, pos_weight=balance)


def _fit(model: AMVLM, fit: Asked, kept: Asked) -> None:
    parts = nn.ModuleDict({"projection": model.image_projection, "presence": model.presence})
    groups: list[dict[str, Any]] = [
        {"params": model.image_projection.parameters(), "factor": 1e-3},
        {"params": model.presence.parameters(), "factor": 3e-2},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.02)
    chance = torch.Generator().manual_seed(0)
    spread = _NOISE * float(fit.cls.std())
    best, best_state, since = math.inf, copy.deepcopy(parts.state_dict()), 0
    for _ in range(_MOST):
        with torch.no_grad():
            loss = float(_loss(_logits(model, kept), kept.there))
        since = 0 if loss < best else since + 1
        if since == 0:
            best, best_state = loss, copy.deepcopy(parts.state_dict())
        if since > _PATIENCE:
            break
        noise = spread * torch.randn(fit.cls.shape, generator=chance)
        loss_with_noise = _loss(_logits(model, replace(fit, cls=fit.cls + noise.to(fit.cls))), fit.there)
        descend(optimiser, [loss_with_noise], 1.0, longest=math.inf)
    parts.load_state_dict(best_state)
    log.info("fitted: loss %.3f on the subjects that were kept", best)


def _calibrate(model: AMVLM, kept: Asked) -> None:
    """Put a line through the logits, z -> a z + b, so that the kept subjects are as often right as presence says."""
    with torch.no_grad():
        z = _logits(model, kept)
    line = torch.tensor([1.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = _loss(line[0] * z + line[1], kept.there) + 1e-3 * (line[0] - 1) ** 2
        loss.backward()
        return loss

    optimiser.step(closure)
    slope, shift = line.detach()
    with torch.no_grad():
        model.presence.mix.weight.mul_(slope)
        model.presence.mix.bias.mul_(slope).add_(shift)
    log.info("calibrated: slope %.2f, shift %.2f", float(slope), float(shift))


def _error(model: AMVLM, asked: Asked) -> float:
    with torch.no_grad():
        presence = _logits(model, asked).sigmoid()
    return expected_calibration_error(presence.tolist(), (asked.there > 0).tolist())
