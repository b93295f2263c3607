"""Whether a new model is better than the one before, for each prompt, on images that it never learnt from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENOUGH_HELD_OUT = 3
"""With fewer held-out images of a prompt no gain is believed, and a person decides."""

NOISE_FLOOR = 0.01
"""A difference up to this is noise, however many images agree: half precision moves the third decimal of Dice."""

FEW_IMAGES_NOISE = 0.1
"""Noise of a prompt with fewer than `ENOUGH_HELD_OUT` images, whose spread cannot be estimated."""

WORTH_A_LOOK = 0.001
"""A gain within the noise, but above this, is for a person to look at; half precision alone makes smaller ones."""

_CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What held-out images say about a new model, or about one prompt of it."""

    IMPROVED = "improved"
    WORSE = "worse"
    SAME = "same"
    TOO_FEW = "too_few"


@dataclass(frozen=True)
class PromptJudgement:
    """What the held-out images say of one prompt.

    Attributes
    ----------
    prompt
        The prompt; empty where a run of an older version has the mean over prompts only.
    before, after
        Mean Dice over `images` images; None without one.
    noise
        A difference of means up to this is no difference; see `noise_of`.
    images
        Number of images that count: scored before and after, with a mask that a person corrected.
    verdict
        `TOO_FEW` where a gain cannot be told from noise for want of images.
    """

    prompt: str
    before: float | None
    after: float | None
    noise: float
    images: int
    verdict: Verdict

    @property
    def change(self) -> float:
        """Return the difference of means; 0 without an image."""
        return (self.after or 0.0) - (self.before or 0.0)

    def __str__(self) -> str:
        """Say it in a few words."""
        if self.verdict == Verdict.TOO_FEW:
            return in_words([self])
        name = self.prompt or "all prompts"
        numbers = f"{name} ({self.change:+.3f}, noise {self.noise:.3f})"
        heads = {Verdict.IMPROVED: "better on", Verdict.WORSE: "worse on", Verdict.SAME: "about as good on"}
        return f"{heads[self.verdict]} {numbers}"


@dataclass(frozen=True)
class Judgement:
    """What the held-out images say of a model: one `PromptJudgement` for each prompt, the largest loss first."""

    prompts: tuple[PromptJudgement, ...]

    @property
    def verdict(self) -> Verdict:
        """Return `IMPROVED`, and so "serves by itself", only if no prompt lost and one gained, both beyond the noise.

        `WORSE` is a model that lost on any prompt; `TOO_FEW` one that a prompt with too few images may speak for.
        """
        verdicts = {each.verdict for each in self.prompts}
        for verdict in (Verdict.WORSE, Verdict.IMPROVED, Verdict.TOO_FEW):
            if verdict in verdicts:
                return verdict
        return Verdict.SAME if verdicts else Verdict.TOO_FEW

    @property
    def lost(self) -> list[str]:
        """Return the prompts that lost, the largest loss first."""
        return [each.prompt for each in self.prompts if each.verdict == Verdict.WORSE]

    @property
    def unsettled(self) -> list[PromptJudgement]:
        """Return what a person has to decide: the prompts that lost, or else that too few images judge, or else gained.

        Gains within the noise are for a person to look at too: a few held-out images take long to prove a small gain,
        and one that is never served helps nobody.
        """
        of = {verdict: [each for each in self.prompts if each.verdict == verdict] for verdict in Verdict}
        gained = [each for each in of[Verdict.SAME] if each.change > WORTH_A_LOOK]
        return of[Verdict.WORSE] or of[Verdict.TOO_FEW] or gained

    @property
    def for_a_person(self) -> bool:
        """Tell whether a person decides if the model serves: it is not plainly better, nor as good as before."""
        return self.verdict != Verdict.IMPROVED and (self.verdict != Verdict.SAME or bool(self.unsettled))

    def __str__(self) -> str:
        """Say it in one sentence without a full stop."""
        return in_words(self.prompts) or "not judged on any prompt"


def in_words(judged: Sequence[PromptJudgement]) -> str:
    """Say what the held-out images say of some prompts; those with equally few images are named together."""
    few: dict[int, list[str]] = {}
    for each in judged:
        if each.verdict == Verdict.TOO_FEW:
            few.setdefault(each.images, []).append(each.prompt or "all prompts")
    sentences = [str(each) for each in judged if each.verdict != Verdict.TOO_FEW]
    for images, names in few.items():
        wanted = f"{images} of {ENOUGH_HELD_OUT} corrected held-out images"
        sentences.append(f"not judged on {', '.join(names)} ({wanted})")
    return "; ".join(sentences)


def judge(scores: Mapping[str, Sequence[tuple[float, float]]]) -> Judgement:
    """Judge a model by the Dice of each prompt on single held-out images.

    Parameters
    ----------
    scores
        For each prompt, Dice before and after the run on every image that counts, in [0, 1]. A prompt without an
        image is named as one with too few.
    """
    each = [_judge_prompt(prompt, pairs) for prompt, pairs in scores.items()]
    return Judgement(tuple(sorted(each, key=lambda judged: (judged.verdict != Verdict.WORSE, judged.change))))


def noise_of(differences: Sequence[float]) -> float:
    """Return the difference of means that chance alone explains.

    It is the bound of a one-sided paired t test at 5 %: the standard error of the mean of the differences of single
    images, times Student's t of n - 1 degrees of freedom, which grows where images are few (Student, The probable error
    of a mean, 1908; for two models on the same items Dietterich, 1998). It is `NOISE_FLOOR` at least, and
    `FEW_IMAGES_NOISE` with fewer than `ENOUGH_HELD_OUT` images, whose spread says nothing.

    Parameters
    ----------
    differences
        Dice after minus Dice before, image by image.
    """
    n = len(differences)
    if n < ENOUGH_HELD_OUT:
        return FEW_IMAGES_NOISE
    from scipy.special import stdtrit

    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    return max(NOISE_FLOOR, float(stdtrit(n - 1, _CONFIDENCE)) * math.sqrt(variance / n))


def _judge_prompt(prompt: str, pairs: Sequence[tuple[float, float]]) -> PromptJudgement:
    n = len(pairs)
    # a model that gives no number finds nothing
    pairs = [(before, after if math.isfinite(after) else 0.0) for before, after in pairs]
    noise = noise_of([after - before for before, after in pairs])
    if not n:
        return PromptJudgement(prompt, None, None, noise, 0, Verdict.TOO_FEW)
    before, after = (sum(values) / n for values in zip(*pairs, strict=True))
    if after - before < -noise:
        verdict = Verdict.WORSE
    elif n < ENOUGH_HELD_OUT:
        verdict = Verdict.TOO_FEW
    else:
        verdict = Verdict.IMPROVED if after - before > noise else Verdict.SAME
    return PromptJudgement(prompt, before, after, noise, n, verdict)
