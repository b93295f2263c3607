"""The Learn dock: learn from accepted masks in the background, and choose which model serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_amvlm._qt.dock import Dock
from napari_amvlm._qt.learn.comparison import Comparison
from napari_amvlm._qt.learn.judge import Judging
from napari_amvlm._qt.learn.model_entries import model_entries
from napari_amvlm._qt.learn.panel import LearnPanel
from napari_amvlm._qt.queue.add_images import ImageAdder
from napari_amvlm._qt.queue.queue import queue_for
from napari_amvlm._qt.serving import LOADING
from napari_amvlm._qt.settings import preferences
from napari_amvlm._qt.widgets.auto_learn import AutoLearn
from napari_amvlm._qt.workers import LearnThread
from napari_amvlm.config import LearningConfig
from napari_amvlm.session import Verdict, in_words
from napari_amvlm.session.learning_run import LearningRun, Outcome
from napari_amvlm.wording import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import napari.viewer

    from napari_amvlm._qt.widgets.status_line import Level
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import ModelRecord
    from napari_amvlm.session import Judgement


class LearnDock(Dock):
    """Learns in the background, and shows how good the new model is; see `Dock` for the other parameters.

    Parameters
    ----------
    make_run : callable
        Makes the run; takes what `LearningRun` takes.
    """

    panel: LearnPanel

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        workspace: Workspace | None = None,
        make_run: Callable[..., LearningRun] = LearningRun,
    ) -> None:
        super().__init__(viewer, LearnPanel(), workspace)
        self.make_run = make_run
        self._thread: LearnThread | None = None
        self._stopping = False
        self._problems: list[str] = []
        self._learnt_in: Path | None = None
        self._learnt_at = 0
        self.outcome: Outcome | None = None
        # widgets
        self.panel.auto.setValue(AutoLearn(on=False, after=preferences().learn_after))
        self.judging = Judging(self.panel, self.workspace, self)
        self.comparison = Comparison(self._viewer, self.panel, self.workspace, self.judging, self)
        self.adding = ImageAdder(self._viewer, self.workspace, self)
        # signals
        panel = self.panel
        panel.start_button.clicked.connect(self.start)
        panel.pause_button.clicked.connect(self.pause_or_resume)
        panel.stop_button.clicked.connect(self.stop)
        panel.add_button.openImagesRequested.connect(self.adding.add_open_images)
        panel.add_button.pathsPicked.connect(self.add_files)
        panel.auto.valueChanged.connect(self._on_auto_changed)
        panel.text_model.picked.connect(self.workspace.use_text_model)
        self.workspace.modelChanged.connect(self._refresh)
        self.workspace.projectChanged.connect(self._refresh)
        self.workspace.projectOpened.connect(self._on_project_opened)
        self.workspace.projectChanged.connect(self._learn_if_due)
        self.workspace.busyChanged.connect(self._on_busy_changed)
        if self.workspace.model_state == "none":
            self.workspace.load_model()
        self._on_busy_changed()
        self._refresh()

    # What the buttons do

    def start(self) -> None:
        """Start to learn in the background, for as long as the budget says."""
        self._start(self.panel.budget.value().minutes)

    def _start(self, minutes: float) -> None:
        workspace = self.workspace
        if workspace.says_opening():  # the project at hand is about to be closed
            return
        if workspace.project is None or workspace.predictor is None or workspace.view is None:
            missing = "The model is not loaded yet." if workspace.project else "No project is open yet."
            self.say("warning", f"{missing} Accept a mask in the Annotate dock first; that opens one.")
            return
        if workspace.view.counts.accepted - workspace.view.counts.held_out < 1:
            self.say("warning", "There is nothing to learn from yet; accept a mask in the Annotate dock first.")
            return
        self._learnt_at = workspace.view.counts.accepted
        self._problems = []
        self._stopping = False
        self.outcome = None
        self.panel.question.withdraw()
        self.panel.curve.clear()
        thread: LearnThread
        run = self.make_run(
            workspace.project,
            workspace.predictor,
            LearningConfig(minutes=minutes),
            device=self.panel.budget.value().device,
            on_problem=self._problems.append,
            on_message=lambda text: thread.noticed.emit(text),
        )
        thread = LearnThread(run.steps, run.keep)
        # also if this dock is closed by then
        thread.returned.connect(lambda _: workspace.with_project(lambda _project: None))
        self._follow(thread)
        self.panel.progress.setBusy("Reading the project ...")
        self.say("info", "Learning; you can keep working.")
        workspace.start(thread)

    def pause_or_resume(self) -> None:
        """Pause the run, or resume it."""
        if self._thread is None:
            return
        if self._thread.is_paused():
            self._thread.resume()
            self.say("info", "Learning; you can keep working.")
        else:
            self._thread.pause()
            self.say("info", "Paused; the budget is paused too.")
        self._refresh_buttons()

    def stop(self) -> None:
        """End the run now; what it learnt is kept, and does not serve by itself."""
        if self._thread is not None:
            self._stopping = True
            self._thread.stop()
            self.panel.progress.setBusy("Stopping after this step ...")
            self._refresh_buttons()

    def add_files(self, paths: Sequence[Path]) -> None:
        """Put image files into the project; they are referred to, not copied."""
        self.adding.add_files(paths)

    # Slots

    def _on_reported(self, report: Any) -> None:
        if hasattr(report, "dice"):
            colours = {prompt: self.workspace.styles.of(prompt).colour for prompt in report.per_prompt}
            self.panel.curve.addDice(report.fraction, report.dice, report.per_prompt, colours)
            return
        self.panel.curve.addLoss(report.fraction, report.loss)
        if not self._stopping:
            self.panel.progress.setProgress(report.fraction, f"step {report.step}, {_clock(report.seconds_left)} left")

    def _on_learnt(self, outcome: Outcome) -> None:
        if self.workspace.closing:
            return
        self.outcome = outcome
        self.judging.show_outcome(outcome)
        left_out = f" Left out: {counted(len(self._problems), 'image')}. {self._problems[0]}" if self._problems else ""
        stopped = "Stopped. " if outcome.stopped else ""
        record, judgement = outcome.record, outcome.judgement
        if record is None:
            self.say("info", f"{stopped}Nothing better was found; the model is unchanged.{left_out}")
            return
        # one that began to serve since the run began was compared with nothing
        is_present = record.parent == self.workspace.served_key()
        than = "" if is_present or judgement.verdict != Verdict.IMPROVED else " than one that does not serve any more"
        if judgement.verdict == Verdict.IMPROVED and not outcome.stopped and not than:
            self.judging.serve(record, f"{record.name} serves now: {judgement}.{left_out}")
        else:
            level: Level = "warning" if judgement.verdict == Verdict.WORSE else "info"
            reason = judgement if than else (judgement.unsettled or judgement.prompts)[0]
            self.say(level, f"{stopped}{record.name} is {reason}{than}; the current model stays.{left_out}")
            if (than or judgement.for_a_person) and not outcome.stopped:
                self._ask(record, judgement, than)

    def _ask(self, record: ModelRecord, judgement: Judgement, than: str) -> None:
        """Let the person decide about a model that lost, or gained a little, or that little was compared with."""
        name, unsettled = record.name, judgement.unsettled
        answers: dict[str, Callable[[], object]] = {
            "Serve anyway": lambda: self.judging.serve(record, f"{name} serves now."),
            "Keep the current model": lambda: self.say("info", f"The current model stays; {name} is in the list."),
        }
        if unsettled:
            prompt = unsettled[0].prompt
            answers[f"Accept more images of {shortened(prompt)}"] = lambda: self._accept_more(prompt)
        reasons = str(judgement) if than or not unsettled else in_words(unsettled)
        self.panel.question.ask(f"{name} is {reasons}{than}. Look at its masks before you let it serve.", answers)

    def _accept_more(self, prompt: str) -> None:
        """Open the next image to annotate."""
        self.say("info", f"Correct and accept masks of {shortened(prompt)}; one image in four is held out to judge.")
        queue_for(self._viewer, self.workspace).step(1)

    def _on_cancelled(self) -> None:
        self.say("info", "Stopped before anything was learnt; the model is unchanged.")

    def _on_errored(self, text: str, _error: object) -> None:
        self.say("error", f"{text} The model is unchanged.")

    def _on_finished(self) -> None:
        self._thread = None
        self._stopping = False
        self.panel.progress.setIdle()
        self._refresh_buttons()

    def _on_project_opened(self, _left: object) -> None:
        """Take back what was asked and shown of a run of the project before."""
        self.panel.question.withdraw()
        self.panel.curve.clear()
        self.outcome = None

    # Inner workings

    def _on_busy_changed(self) -> None:
        """Follow a run that another dock began, or this one before it was closed and opened again."""
        under_way = self.workspace.learning()
        if self._thread is None and under_way is not None:
            self._follow(under_way)
        self._refresh_buttons()

    def _on_auto_changed(self, _value: AutoLearn) -> None:
        self._learn_if_due()

    def _learn_if_due(self) -> None:
        """With "Learn while I annotate" ticked, start a short run once enough images were accepted since the last."""
        auto, view = self.panel.auto.value(), self.workspace.view
        if view is not None and view.root != self._learnt_in:
            self._learnt_in, self._learnt_at = view.root, view.counts.accepted
        if not auto.on or view is None or self._thread is not None or self.workspace.model_state != "ready":
            return
        if view.counts.accepted - self._learnt_at >= auto.after and not self.workspace.opening:
            self._start(preferences().learn_minutes)

    def _follow(self, thread: LearnThread) -> None:
        self._thread = thread
        thread.reported.connect(self._on_reported)
        thread.noticed.connect(lambda text: self.say("warning", text))
        thread.returned.connect(self._on_learnt)
        thread.cancelled.connect(self._on_cancelled)
        thread.errored.connect(self._on_errored)
        thread.finished.connect(self._on_finished)

    def _refresh(self) -> None:
        view = self.workspace.view
        if view is None:
            self.panel.counts.setText("No project is open; the first Accept makes one.")
        else:
            c = view.counts
            accepted = f"Accepted {counted(c.accepted, 'image')}, {c.held_out} held out"
            self.panel.counts.setText(f"{accepted} \N{MIDDLE DOT} {c.unlabelled} unlabelled")
        if self.workspace.model_state in ("loading", "failed"):
            level: Level = "error" if self.workspace.model_state == "failed" else "info"
            self.panel.status.setValue(level, self.workspace.model_message)
        elif self.panel.status.value()[1] == LOADING:
            self.panel.status.setValue("info", "")
        if self.workspace.devices:
            self.panel.budget.setDevices(self.workspace.devices)
        self.panel.models.setValue(model_entries(self.workspace))
        other = self.workspace.predictor.text_model if self.workspace.predictor is not None else None
        self.panel.text_model.setValue(*((other.name, other.licence) if other is not None else ("", "")))
        self._refresh_buttons()

    def _refresh_buttons(self) -> None:
        self.panel.setRunning(
            running=self._thread is not None,
            paused=self._thread is not None and self._thread.is_paused(),
            stopping=self._stopping,
            ready=self.workspace.model_state == "ready",
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"
