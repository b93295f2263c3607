"""One learning run on the open project. The docks call it in a thread."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm.errors import AmvlmError, Cancelled, ProjectBusyError, ProjectError, StorageError, sentence
from napari_amvlm.session.learning_data import learning_data
from napari_amvlm.session.run_record import finish_run, judged_run, keep_model, start_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_amvlm.config import LearningConfig, ScaleName
    from napari_amvlm.learning import FineTuneResult, LearningData, Report
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import ImageScore, ModelRecord, Project, RunRecord
    from napari_amvlm.session.verdict import Judgement


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    record
        The model that was kept; None where no teacher scored better than the model before the run.
    before, after
        Mean Dice on held-out images; None was not measured.
    stopped
        Whether a person stopped it.
    scores
        Of every prompt on every held-out image, the worst first.
    judgement
        What the scores say of the model.
    """

    record: ModelRecord | None
    run_id: int
    before: float | None
    after: float | None
    stopped: bool
    seconds: float
    scores: tuple[ImageScore, ...]
    judgement: Judgement


class LearningRun:
    """Learns from a project, starting at the model that serves.

    Parameters
    ----------
    project, predictor
        The model that the predictor has when `steps` begins is the start; it is never changed here.
    device
        Name of the device to learn on; "auto" takes the best.
    on_problem
        Called with a sentence for each image that cannot be read and is left out.
    on_message
        Called with a sentence when memory runs short, or the device is lost, and the run goes on; in the run's thread.
    """

    def __init__(
        self,
        project: Project,
        predictor: Predictor,
        config: LearningConfig,
        *,
        device: str = "auto",
        on_problem: Callable[[str], None] | None = None,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        self._project = project
        self._predictor = predictor
        self._text_model = other = predictor.text_model
        self._config = config if other is None else config.model_copy(update={"text_model": other.source})
        self._device = device
        self._on_problem = on_problem
        self._on_message = on_message
        self._info: ModelInfo | None = None
        self._run: RunRecord | None = None
        self._prompts: tuple[str, ...] = ()

    def steps(
        self, should_stop: Callable[[], bool], should_pause: Callable[[], bool]
    ) -> Generator[Report, None, FineTuneResult]:
        """Read the project, then learn; a failure is entered into the ledger before it goes on."""
        from napari_amvlm.device import bounded_threads, resolve_device
        from napari_amvlm.learning import fine_tune

        device = resolve_device(self._device)
        model, self._info = self._predictor.served
        data, self._run = self._entered(model, should_stop)
        self._prompts = data.prompts
        try:
            # one core stays free for the window
            with bounded_threads():
                result = yield from fine_tune(
                    model,
                    data,
                    self._config,
                    device=device,
                    should_stop=should_stop,
                    should_pause=should_pause,
                    on_message=self._on_message,
                    text_model=self._text_model,
                )
        except BaseException as error:
            self._end("failed", sentence(error))
            raise
        return result

    def _entered(self, model: AMVLM, should_stop: Callable[[], bool]) -> tuple[LearningData, RunRecord]:
        """Read the project, and enter into the ledger exactly what was read.

        Reading takes a while, and somebody may accept masks meanwhile: an image that was read to be learnt from may be
        held out by now. Then all is read once more.
        """
        data = self._read(model, should_stop)
        try:
            return data, start_run(self._project, self._config, self._info, data)
        except (ProjectBusyError, StorageError):
            raise
        except ProjectError:
            data = self._read(model, should_stop)
            return data, start_run(self._project, self._config, self._info, data)

    def _read(self, model: AMVLM, should_stop: Callable[[], bool]) -> LearningData:
        from napari_amvlm.models.inference import auto_scale

        def scale(prompt: str, shape: tuple[int, int], gray: bool) -> ScaleName:
            return auto_scale(model, prompt, shape, gray=gray).name

        data = learning_data(
            self._project, predictor_scales=scale, on_problem=self._on_problem, should_stop=should_stop
        )
        data.check()
        return data

    def keep(self, result: FineTuneResult) -> Outcome:
        """Store the new model in the project, if there is one; it does not serve by that."""
        run = self._run
        if run is None or result.steps == 0:
            self._end("stopped", "stopped before the first step")
            raise Cancelled("Stopped before the first step; nothing was learnt, and the served model is unchanged.")
        record: ModelRecord | None = None
        try:
            if result.unchanged:
                finish_run(self._project, result, run)
            else:
                record = keep_model(self._project, result, self._info, self._prompts, run)
        except BaseException as error:
            self._end("failed", sentence(error))
            raise
        scores, judgement = judged_run(self._project, run.id)
        return Outcome(
            record, run.id, result.before, result.after, result.stopped, result.seconds, tuple(scores), judgement
        )

    def _end(self, state: str, message: str) -> None:
        if self._run is not None:
            # the person must hear of the failure itself, not of a ledger that could not note it
            with contextlib.suppress(AmvlmError, OSError):
                self._project.runs.finish(self._run.id, "stopped" if state == "stopped" else "failed", message=message)
