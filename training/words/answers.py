"""The answers present, absent and not taught, against what is so, and how well presence is calibrated."""

from __future__ import annotations

import functools
import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.models.inference import auto_scale, decode_prompt, encode_image
from napari_amvlm.models.words.taught import taught
from napari_amvlm.prediction import answer_of
from training.runs.markdown import table
from training.words.fields import deniable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_amvlm.models.amvlm import AMVLM
    from training.words.corpus import LabelledImage

ANSWERS = ("present", "absent", "not taught")
_BINS = 10
_ABSENT = 2
"""Absent words that an image is asked for: as many as it shows, and at most so many."""


@dataclass(frozen=True)
class Answered:
    """One prompt asked of one image.

    Attributes
    ----------
    image, prompt
        `SET/NAME`, and what was asked.
    truth, answer
        One of `ANSWERS`.
    presence
        Probability that the model gave.
    """

    image: str
    prompt: str
    truth: str
    answer: str
    presence: float


def answers(model: AMVLM, images: Sequence[LabelledImage], unknown: Sequence[str]) -> list[Answered]:
    """Ask each image for the words that it shows, for two that it does not, and for an unknown one.

    Parameters
    ----------
    model
        In eval mode.
    images
        Of sets that the model was taught, and perhaps of others: what is a word of these alone was not taught.
    unknown
        Words that nobody taught it.
    """
    wordings = {concept.name: concept.prompts for concept in model.config.concepts}
    absent = {name: [w for w in denied if w in wordings] for name, denied in deniable(images, wordings).items()}
    found: list[Answered] = []
    for image in images:
        chance = random.Random(zlib.crc32(image.key.encode()))
        denied = absent[image.spec.name]
        asked = [(word, "present" if word in wordings else "not taught") for word in image.shown()]
        asked += [(word, "absent") for word in chance.sample(denied, min(_ABSENT, len(denied)))]
        asked.append((chance.choice(unknown), "not taught"))
        look = functools.cache(functools.partial(encode_image, model, image.pixels))
        for prompt, truth in asked:
            scale = auto_scale(model, prompt, image.labels.shape)
            presence = decode_prompt(model, look(scale), prompt).presence
            answer = answer_of(presence, taught=taught(model.config, prompt) is not None)
            found.append(Answered(image.key, prompt, truth, answer, presence))
    return found


def confusion(found: Sequence[Answered]) -> dict[str, dict[str, int]]:
    """Return how often each truth got each answer."""
    return {t: {a: sum(f.truth == t and f.answer == a for f in found) for a in ANSWERS} for t in ANSWERS}


def calibration_error(found: Sequence[Answered]) -> float:
    """Return the expected calibration error of presence over the taught words."""
    asked = [f for f in found if f.truth != "not taught"]
    return expected_calibration_error([f.presence for f in asked], [f.truth == "present" for f in asked])


def expected_calibration_error(presence: Sequence[float], there: Sequence[bool]) -> float:
    """Return how far probabilities are from how often they are right: the mean gap over ten bins of equal width.

    Each bin counts by its number of answers; 0 without answers.
    """
    bins = _bins(presence, there)
    return float(sum(abs(said - share) * count for said, share, count in bins) / max(1, len(presence)))


def calibration_bins(found: Sequence[Answered]) -> list[tuple[float, float, int]]:
    """Return for each tenth of presence that was said of taught words: its mean, how often it was right, answers."""
    asked = [f for f in found if f.truth != "not taught"]
    return _bins([f.presence for f in asked], [f.truth == "present" for f in asked])


def answers_page(found: Sequence[Answered], model: str) -> str:
    """Return the page of answers in Markdown: counts, confusion matrix, and a row for each taught word."""
    taught_words = sorted({f.prompt for f in found if f.truth != "not taught"})
    images = len({f.image for f in found})
    error = f"{calibration_error(found):.3f}"
    counts = [[truth, *map(str, row.values())] for truth, row in confusion(found).items()]
    rows = []
    for word in taught_words:
        cells = [word]
        for truth in ("present", "absent"):
            said = [f.answer for f in found if (f.prompt, f.truth) == (word, truth)]
            cells.append(" / ".join(str(said.count(answer)) for answer in ANSWERS) if said else "")
        rows.append(cells)
    return (
        f"# Answers of {model}\n\n{len(found)} questions to {images} images about {len(taught_words)} taught words; "
        f"expected calibration error of presence {error}.\n\n"
        f"{_lines(('what is so', *ANSWERS), counts)}\n\n## By word\n\n"
        f"Answers {' / '.join(ANSWERS)}, where it is there and where it is not.\n\n"
        f"{_lines(('word', 'present', 'absent'), rows)}\n"
    )


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(table(heads, rows))


def _bins(presence: Sequence[float], there: Sequence[bool]) -> list[tuple[float, float, int]]:
    said, truth = np.array(presence), np.array(there)
    rows = np.minimum((said * _BINS).astype(int), _BINS - 1)
    return [
        (float(said[rows == b].mean()), float(truth[rows == b].mean()), int((rows == b).sum())) for b in np.unique(rows)
    ]
