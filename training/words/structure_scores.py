"""How well a model answers prompts with structure, on combinations that were trained and on those that were not."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.metrics import dice, iou
from napari_amvlm.predictor import Predictor
from training.words.referents import FORMS, View, held_out_combination
from training.words.scores import mean_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_amvlm.models.amvlm import AMVLM
    from training.words.corpus import LabelledImage
    from training.words.referents import Referent

_TRIES = 12


@dataclass(frozen=True)
class StructureScore:
    """One prompt with structure asked of one image.

    Attributes
    ----------
    image, form, meaning, prompt
        `SET/NAME`, the form, form with words, and what was asked.
    trained
        Whether the combination is one that training may draw.
    dice
        Dice with the referent.
    plain
        Dice of the referent with what the model finds for the plain word: what ignoring the structure would give.
    """

    image: str
    form: str
    meaning: str
    prompt: str
    trained: bool
    dice: float
    plain: float


def score_structure(model: AMVLM, images: Iterable[LabelledImage]) -> list[StructureScore]:
    """Ask each image a few prompts of every form that it allows, and all levels of the spine, as the program does."""
    found: list[StructureScore] = []
    predictor = Predictor(model, device=str(model.device))
    for image in images:
        predictor.set_image(image.image)
        view = View(
            image.labels,
            image.words,
            (*image.words, *image.spec.paired),
            np.ones(image.labels.shape, np.bool_),
            levels=image.levels,
            complete=not image.spec.partial,
            whole=image.spec.kind == "whole",
        )
        for referent in _referents(view, random.Random(zlib.crc32(image.key.encode()))):
            word = referent.words[0] if referent.words else image.words[0]
            prompt = referent.wordings[0]
            answers = [predictor.predict(text).probability >= THRESHOLD for text in (prompt, word)]
            form, *words = (referent.form,) if referent.form == "level" else referent.meaning.split("|")
            found.append(
                StructureScore(
                    image.key,
                    referent.form,
                    referent.meaning,
                    prompt,
                    not held_out_combination(form, *words),
                    float(dice(answers[0], referent.mask)),
                    float(dice(answers[1], referent.mask)),
                )
            )
    return found


def _referents(view: View, chance: random.Random) -> list[Referent]:
    """Return the levels, and up to two referents of each form, one trained and one held out."""
    found: dict[str, Referent] = {referent.meaning: referent for referent in view.numbered()}
    for form in FORMS:
        for wanted in (False, True):
            for _ in range(_TRIES):
                made = view.structured(form, chance, lambda *said, kept=wanted: held_out_combination(*said) == kept)
                if made is not None:
                    found[made.meaning] = made
                    break
    return list(found.values())


def by_form(scores: Sequence[StructureScore]) -> list[dict[str, Any]]:
    """Return a row for each form or level, trained and held out: n, mean Dice, and that of the plain word."""
    return mean_rows(
        (
            {"form": s.meaning if s.form == "level" else s.form, "trained": "trained" if s.trained else "held out"},
            {"dice": s.dice, "plain": s.plain},
        )
        for s in scores
    )


def complement_overlap(model: AMVLM, image: LabelledImage, word: str) -> tuple[float, float]:
    """Return IoU of "everything except WORD" with what the model finds for the word, and with its complement."""
    predictor = Predictor(model, device=str(model.device))
    predictor.set_image(image.image)
    plain, rest = (predictor.predict(text).probability >= THRESHOLD for text in (word, f"everything except {word}"))
    return float(iou(rest, plain)), float(iou(rest, ~plain))
