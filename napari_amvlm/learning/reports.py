"""Reports of a fine-tuning run, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from napari_amvlm.models.amvlm import AMVLM


@dataclass(frozen=True)
class StepReport:
    """One optimiser step.

    Attributes
    ----------
    step
        Counted from 1.
    fraction
        Share of the budget that is used, 0 to 1.
    seconds, seconds_left
        Learning time so far and to come, without pauses.
    loss, supervised, consistency
        Total loss and its two main parts.
    learning_rate
        Of this step.
    guidance
        L_tg; None where it could not act, since the present prompts of the batch had one meaning.
    """

    step: int
    fraction: float
    seconds: float
    seconds_left: float
    loss: float
    supervised: float
    consistency: float
    learning_rate: float
    guidance: float | None = None


@dataclass(frozen=True)
class ValidationReport:
    """The teacher's scores on the held-out images.

    Attributes
    ----------
    step, fraction
        When; step 0 is the model before the run.
    dice
        Mean over prompts of `per_prompt`.
    per_prompt
        For each prompt the mean over held-out images.
    best
        Whether this is the best teacher so far.
    """

    step: int
    fraction: float
    dice: float
    per_prompt: dict[str, float]
    best: bool


@dataclass(frozen=True)
class FineTuneResult:
    """A finished run.

    Attributes
    ----------
    model
        A new model on the device of the run; the one that was given is unchanged.
    before, after
        Validation Dice before and after; None without held-out images, `after` also where a run was stopped unscored.
    stopped
        Whether the person stopped it before its budget was used up.
    unchanged
        Whether no teacher scored better than the model before the run, whose weights and concepts `model` has then.
    scores
        For each prompt, by the names of held-out images, Dice before and after; empty where nothing was scored.
    student
        Weights of the student's learnt parts as the run left it, in half precision and named as in the model; empty
        where no step was made. Where it and the teacher still disagree, learning has not settled.
    """

    model: AMVLM
    before: float | None
    after: float | None
    steps: int
    seconds: float
    stopped: bool
    unchanged: bool = False
    scores: Mapping[str, Mapping[str, tuple[float, float | None]]] = field(default_factory=dict)
    student: Mapping[str, Tensor] = field(default_factory=dict)

    def pairs(self, prompts: Iterable[str] = ()) -> dict[str, list[tuple[float, float]]]:
        """Return Dice before and after of all images that have both, for each prompt scored and each of `prompts`."""
        pairs: dict[str, list[tuple[float, float]]] = {prompt: [] for prompt in prompts}
        for prompt, by_image in self.scores.items():
            pairs[prompt] = [(before, after) for before, after in by_image.values() if after is not None]
        return pairs


Report = StepReport | ValidationReport
