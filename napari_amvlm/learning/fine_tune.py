"""Semi-supervised fine-tuning as a plain generator of reports: no Qt, no files of its own."""

from __future__ import annotations

import copy
import logging
import math
from typing import TYPE_CHECKING

import torch

from napari_amvlm.config import LearningConfig, ModelConfig
from napari_amvlm.device import lost_errors, memory_errors, release_memory
from napari_amvlm.errors import Cancelled, DeviceLostError
from napari_amvlm.learning.budget import LearningBudget
from napari_amvlm.learning.crop_source import CropSource
from napari_amvlm.learning.loop import Loop, never
from napari_amvlm.learning.mean_teacher import MeanTeacher
from napari_amvlm.learning.memory_steps import ADVICE, MemorySteps
from napari_amvlm.learning.module_state import below, flat
from napari_amvlm.learning.networks import learnt_parts
from napari_amvlm.learning.new_concepts import beaten_by, with_prompts
from napari_amvlm.learning.remarks import remarks
from napari_amvlm.learning.reports import FineTuneResult, Report, ValidationReport
from napari_amvlm.learning.run_state import Progress, RunState, Snapshots
from napari_amvlm.learning.start_scores import start_scores
from napari_amvlm.learning.validation import mean_score, prompt_means, validate, validate_other
from napari_amvlm.models.build import build_model
from napari_amvlm.models.device_model import cpu_tensors, model_on_cpu
from napari_amvlm.models.words.taught import taught

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torch import Tensor

    from napari_amvlm.learning.data import LearningData
    from napari_amvlm.learning.loop import StepLosses
    from napari_amvlm.learning.run_state import StateKeeper
    from napari_amvlm.learning.validation import Scores
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.text_prompted import TextPrompted

_LOG = logging.getLogger(__name__)
_RETAINED = 2


def fine_tune(
    model: AMVLM,
    data: LearningData,
    config: LearningConfig | None = None,
    *,
    device: torch.device | None = None,
    should_stop: Callable[[], bool] = never,
    should_pause: Callable[[], bool] = never,
    keeper: StateKeeper | None = None,
    on_message: Callable[[str], None] | None = None,
    text_model: TextPrompted | None = None,
) -> Generator[Report, None, FineTuneResult]:
    """Fine-tune a copy of `model` on labelled and unlabelled images.

    The teacher is validated now and then on held-out images, and the best one is returned; without held-out images, or
    if `config.keep` is "last", the last one. Prompts of a project that the result is not taught are not scored.

    Parameters
    ----------
    model
        Where to start; it is never changed.
    device
        Where to compute; None means where the model is.
    should_stop
        Called after every step; if it returns True, the best teacher so far is returned, or the last one, without a
        score, if only the starting model has a score yet.
    should_pause
        While it returns True, the run sleeps and the budget stands still.
    keeper
        Saves the run's state now and then and when it is stopped, and loads the state to continue from. With a budget
        of steps and on the CPU, a continued run gives the weights of an uninterrupted one bit by bit.
    on_message
        Called when memory runs short and the run continues with fewer, then smaller crops at once, and when its device
        is lost and it continues on the processor from the last snapshot.
    text_model
        Another one, for prompts that `model` was not taught: its masks count as the starting model's, in pseudo-labels
        and in scores, until the teacher is better on the held-out images.

    Yields
    ------
    StepReport or ValidationReport
        After every step and every validation; the first of a new run is the validation of `model` itself.

    Returns
    -------
    FineTuneResult
        The generator's return value.

    Raises
    ------
    NotEnoughDataError
        No image is labelled, or all masks are empty.
    DivergedError
        The loss was not finite several times in a row.
    OutOfMemoryError
        The device has not enough memory, not even for the smallest crops one by one.
    """
    data.check()
    config = config or LearningConfig()
    device = device or model.device
    tell = on_message or _LOG.warning
    snapshots, tensors = Snapshots(keeper), cpu_tensors(model)

    def reports(start: AMVLM, device: torch.device) -> Generator[Report, None, FineTuneResult]:
        with memory_errors(device, "this run", ADVICE), lost_errors(device):
            # No name here holds the run: what it has allocated goes with it, also when it fails.
            return (
                yield from _Run(
                    start, data, config, device, should_stop, should_pause, snapshots, tell, text_model
                ).reports()
            )

    try:
        return (yield from reports(model, device))
    except DeviceLostError as error:
        lost = str(error)
    finally:
        release_memory(device)
    tell(f"{lost} Learning goes on with the processor.")
    return (yield from reports(model_on_cpu(model.config, tensors), torch.device("cpu")))


class _Run:
    """The state of one run."""

    def __init__(
        self,
        model: AMVLM,
        data: LearningData,
        config: LearningConfig,
        device: torch.device,
        should_stop: Callable[[], bool],
        should_pause: Callable[[], bool],
        keeper: StateKeeper | None,
        tell: Callable[[str], None],
        text_model: TextPrompted | None,
    ) -> None:
        self._device, self._text_model = device, text_model
        given, data = data, data.at_one_scale().squared(config.square)
        self._served = with_prompts(model, data)
        for remark in remarks(given, self._served):
            tell(remark)
        if data.entries is not None:  # of a project: what is not taught in the end is not served, and judges nothing
            data = data.scored_on(lambda prompt: taught(self._served, prompt) is not None)
        self._data, self._config = data, config
        self._model = _copy(model, model.config, device)
        self._source = CropSource(data, config, model.config, device)
        labelled = sum(bool(image.masks) for image in data.labelled)
        unlabelled = len(data.unlabelled) if config.unlabelled_batch else 0
        self._teacher = MeanTeacher(
            self._model, config, labelled=labelled, unlabelled=unlabelled, text_model=text_model
        )
        self._failed: tuple[str, ...] | None = None
        self._shown = _copy(self._model, self._served, device)
        self._budget = LearningBudget(config, unknown=self._source.has_unknown)
        self._loop = Loop(self._budget, keeper, should_stop, should_pause)
        self._memory = MemorySteps(config, model.config.tile, device, tell)
        self._scores: list[Scores] = []
        self._other: Scores | None = None
        self._scoring_seconds = 0.0
        self._best: dict[str, Tensor] | None = None
        self._validations = 0

    def _note_failed(self, failed: tuple[str, ...] | None) -> None:
        """Learn the prompts that the starting model fails at as new ones; None finds out which they are."""
        self._failed = self._failed_prompts() if failed is None else failed
        self._teacher.learn_as_new(self._failed)

    def _failed_prompts(self) -> tuple[str, ...]:
        """Return the prompts that the starting model fails at, on labelled images, where it would label others."""
        config = self._config
        if not (config.start_least and config.consistency and self._source.has_unknown):
            return ()
        scores = start_scores(self._model, self._data, config.crop, self._loop.should_stop)
        return tuple(prompt for prompt, dice in scores.items() if dice < config.start_least)

    def reports(self) -> Generator[Report, None, FineTuneResult]:
        """Score the starting model, learn, and return the best teacher."""
        kept = self._loop.keeper.load() if self._loop.keeper is not None else None
        try:
            if kept is None:
                self._note_failed(None)
                yield from self._validation()
                self._budget.restart()
                self._scoring_seconds = 0.0
            else:
                self._restore(kept)
            yield from self._learn()
        except Cancelled:
            self._loop.stopped = True
        return self._result()

    def _validation(self) -> Generator[Report, None, None]:
        """Score the teacher, and keep it if it is the best so far."""
        if not self._data.validation:
            return
        started = self._budget.seconds
        try:
            scores = self._validated()
        except Cancelled:
            # A continued run repeats this validation.
            if self._budget.step and self._loop.keeper is not None:
                self._loop.keeper.save(self._state())
            raise
        if not scores:
            return
        scores = self._as_served(scores)
        score = mean_score(scores)
        best = not self._scores or score > max(map(mean_score, self._scores))
        self._scores.append(scores)
        self._scoring_seconds += self._budget.seconds - started
        if best:
            self._best = copy.deepcopy(self._teacher.teacher.state_dict())
        yield ValidationReport(self._budget.step, self._budget.fraction, score, prompt_means(scores), best)

    def _validated(self) -> Scores:
        """Score the teacher; before the first step the starting model as it is served, with composed prompts."""
        validation, memory = self._data.validation, self._memory
        model = self._teacher_model() if self._budget.step else self._model

        def scores() -> Scores:
            return validate(model, validation, load=memory.load, should_stop=self._loop.should_stop)

        return memory.run(scores, memory.fewer_tiles)

    def _as_served(self, scores: Scores) -> Scores:
        """Return the scores with those of the other text model where it answers: at first, and while it is as good."""
        if self._text_model is None:
            return scores
        if self._other is None:
            self._other = validate_other(self._text_model, self._model.config, self._data.validation)
        means, others = prompt_means(scores), prompt_means(self._other)
        kept = {prompt for prompt, mean in others.items() if not self._scores or mean >= means.get(prompt, 0.0)}
        return {prompt: self._other[prompt] if prompt in kept else each for prompt, each in scores.items()}

    def _step(self) -> StepLosses:
        """Make one step."""
        rate, weight = self._budget.learning_rate, self._budget.consistency_weight
        if weight and not self._teacher.settled:
            self._teacher.settle()

        def step() -> StepLosses:
            retained = self._retained()
            return self._teacher.step(
                self._source.draw(labelled_alone=self._budget.supervised_alone),
                learning_rate=rate,
                consistency=weight,
                decay=self._budget.ema_decay,
                text_share=self._budget.text_share,
                retained=retained,
            )

        def fewer() -> str | None:
            change = self._memory.fewer_crops()
            self._source.use(self._memory.config)
            return change

        return self._memory.run(step, fewer)

    def _learn(self) -> Generator[Report, None, None]:
        """Step until the budget is used up or the run is stopped, and score the teacher now and then."""
        yield from self._planned_validation()
        for report in self._loop.steps(self._step, self._state):
            yield report
            yield from self._planned_validation()
        if not self._loop.stopped:
            yield from self._validation()

    def _planned_validation(self) -> Generator[Report, None, None]:
        """Score the teacher if a validation in the middle of the run is due."""
        fraction, every = self._budget.fraction, 1 / self._config.validations
        if (self._validations + 1) * every <= fraction < 1:
            if self._budget.may_score(self._scoring_seconds):
                yield from self._validation()
            self._validations = math.floor(self._budget.fraction / every)

    def _state(self) -> RunState:
        """Return the state between two steps."""
        tensors = flat({"teaching": self._teacher.state(), "crops": self._source.state(), "best": self._best or {}})
        budget, loop, scores = self._budget, self._loop, tuple(self._scores)
        numbers = (budget.step, budget.seconds, self._scoring_seconds, self._validations, scores, loop.not_finite)
        return RunState(tensors, Progress(*numbers, failed=self._failed))

    def _restore(self, state: RunState) -> None:
        """Continue the run that saved `state`."""
        done = state.progress
        self._teacher.restore(below(state.tensors, "teaching."))
        self._source.restore(below(state.tensors, "crops."))
        self._best = below(state.tensors, "best.") or None
        self._scores, self._scoring_seconds = list(done.scores), done.scoring_seconds
        self._validations, self._loop.not_finite = done.validations, done.not_finite
        self._budget.resume(done.step, done.seconds)
        self._note_failed(done.failed)

    def _result(self) -> FineTuneResult:
        """Return the chosen teacher as a model of its own; stopped before the second score, the last one, unscored."""
        last = self._config.keep == "last"
        unscored = self._loop.stopped and self._budget.step > 0 and (last or len(self._scores) < 2)
        state = self._teacher.teacher.state_dict() if unscored or last or self._best is None else self._best
        first: Scores = self._scores[0] if self._scores else {}
        chosen: Scores = {}
        if self._scores and not unscored:
            chosen = self._scores[-1] if last else max(self._scores, key=mean_score)
        unchanged = bool(chosen) and not last and chosen is self._scores[0]
        config = self._model.config if unchanged else self._served
        if self._text_model is not None:
            beaten = [prompt for prompt, each in (self._other or {}).items() if chosen.get(prompt, each) == each]
            config = beaten_by(config, self._data.prompts, beaten, self._text_model.name)
        model = _copy(self._model, config, self._device)
        learnt_parts(model).load_state_dict(state)
        return FineTuneResult(
            model.eval(),
            mean_score(first) if first else None,
            mean_score(chosen) if chosen else None,
            self._budget.step,
            self._budget.seconds,
            self._loop.stopped,
            unchanged,
            {
                prompt: {name: (dice, chosen.get(prompt, {}).get(name)) for name, dice in by_image.items()}
                for prompt, by_image in first.items()
            },
            self._teacher.student_weights() if self._budget.step else {},
        )

    def _retained(self) -> list[str]:
        if not self._config.retention or self._budget.step % self._config.retention_every:
            return []
        count = min(_RETAINED, self._memory.config.labelled_batch)
        return self._source.retained(self._data.prompts, count)

    def _teacher_model(self) -> AMVLM:
        """Return the model with the teacher's parts in place; they are shared, not copied."""
        for name, part in self._teacher.teacher.items():
            setattr(self._shown, name, part.eval())
        return self._shown


def _copy(model: AMVLM, config: ModelConfig, device: torch.device) -> AMVLM:
    """Return a copy on `device` that shares the frozen sentence encoder, which stays where it is: others use it too."""
    copied = build_model(config, text_encoder=model.text_encoder, seed=0)
    for name, part in copied.named_children():
        if name != "text_encoder":
            part.load_state_dict(getattr(model, name).state_dict())
            part.to(device)
    return copied.eval()
