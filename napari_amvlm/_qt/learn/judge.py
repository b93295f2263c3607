"""Judging a model: single held-out images before and after its run, and whether it serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.widgets.score_table import ScoreEntry
from napari_amvlm.session import ENOUGH_HELD_OUT, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_amvlm._qt.learn.panel import LearnPanel
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import ImageScore, ModelRecord, Project
    from napari_amvlm.session.learning_run import Outcome


class Judging(QObject):
    """Shows what the last run brought; promotes its model, discards it, or goes back to an earlier one.

    A model is in the ledger as serving only once it was loaded.

    Signals
    -------
    said : level, text
    judgedChanged
        Another model is judged, or none.
    """

    said = Signal(str, str)
    judgedChanged = Signal()

    def __init__(self, panel: LearnPanel, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._panel = panel
        self._workspace = workspace
        self._judged: ModelRecord | None = None
        panel.promote_button.clicked.connect(self.promote)
        panel.discard_button.clicked.connect(self.discard)
        panel.models.serveRequested.connect(self._on_serve_requested)
        panel.models.rollBackRequested.connect(self.roll_back)
        workspace.projectOpened.connect(self._on_project_opened)
        workspace.projectChanged.connect(self._refresh)
        workspace.modelChanged.connect(self._refresh)
        workspace.busyChanged.connect(self._refresh)  # the buttons wait for the run that they are about
        # the dock may be opened after the project
        self._on_project_opened(None)

    def show_outcome(self, outcome: Outcome) -> None:
        """Show the scores of a run that has just ended."""
        words = verdict_words(outcome.verdict, outcome.held_out, outcome.before, outcome.after)
        self._show(outcome.record, outcome.per_image, words)

    def judged(self) -> ModelRecord | None:
        """Return the model that is judged."""
        return self._judged

    def look_back(self, key: str, then: Callable[[], None]) -> None:
        """Judge a model of the project again: show the scores of its run, and call `then`."""
        view = self._workspace.view
        record = next((model for model in view.models if str(model.path) == key), None) if view else None
        if record is not None:
            self._show_run_of(record, then)

    def promote(self) -> None:
        """Let the judged model serve."""
        if self._judged is not None:
            self.serve(self._judged.path, self._judged.id, f"{self._judged.name} serves now.")

    def discard(self) -> None:
        """Put the judged model aside; if it serves, what served before serves again first."""
        record = self._judged
        if record is None:
            return

        def put_aside() -> None:
            self._workspace.with_project(
                lambda project: project.models.discard(record.id),
                lambda _: self._discarded(record),
                lambda text: self.said.emit("error", text),
            )

        if record.sha256 == self._workspace.served_key():
            self.roll_back(put_aside)
        else:
            put_aside()

    def roll_back(self, then: Callable[[], None] | None = None) -> None:
        """Let the model serve that served before; the installed one where that was the first."""
        after = then if callable(then) else None

        def go(project: Project) -> ModelRecord | None:
            return project.models.roll_back()

        def done(record: ModelRecord | None) -> None:
            base = self._workspace.base
            path = record.path if record is not None else base.path if base is not None else None
            name = record.name if record is not None else base.name if base is not None else "the installed model"
            if path is None:
                self.said.emit("error", "The installed model is not known; choose one in the list.")
                return

            def finish() -> None:
                self.said.emit("info", f"Rolled back: {name} serves again.")
                if after is not None:
                    after()

            self._workspace.serve(path, finish, lambda text: self.said.emit("error", text))

        self._workspace.with_project(go, done, lambda text: self.said.emit("error", text))

    def serve(self, path: Path, model_id: int | None, words: str) -> None:
        """Load a model file, then note in the project that it serves."""

        def done() -> None:
            self.said.emit("info", words)
            if self._workspace.project is not None:
                self._workspace.with_project(lambda project: project.models.serve(model_id))

        self._workspace.serve(path, done, lambda text: self.said.emit("error", text))

    # Inner workings

    def _discarded(self, record: ModelRecord) -> None:
        self._show(None, (), "")
        self.said.emit("info", f"{record.name} is discarded; its file stays in the project, and no list shows it.")

    def _on_serve_requested(self, key: str) -> None:
        view = self._workspace.view
        record = next((model for model in view.models if str(model.path) == key), None) if view else None
        name = record.name if record is not None else Path(key).stem
        self.serve(Path(key), record.id if record is not None else None, f"{name} serves now.")

    def _on_project_opened(self, _left: object) -> None:
        """Show the last run of the project that brought a model."""
        view = self._workspace.view
        models = {record.id: record for record in view.models} if view is not None else {}
        run = next((run for run in reversed(view.runs) if run.model_id in models), None) if view is not None else None
        if run is None or run.model_id is None:
            self._show(None, (), "")
        else:
            self._show_run_of(models[run.model_id])

    def _show_run_of(self, record: ModelRecord, then: Callable[[], None] | None = None) -> None:
        """Show what the run brought that ended with a model; one that came from elsewhere has no scores."""
        before, after = record.scores.get("before"), record.scores.get("after")
        runs = self._workspace.view.runs if self._workspace.view is not None else ()
        run_id = next((run.id for run in reversed(runs) if run.model_id == record.id), None)

        def read(project: Project) -> list[ImageScore]:
            return project.runs.scores(run_id) if run_id is not None else []

        def done(scores: list[ImageScore]) -> None:
            words = verdict_words(judge(before, after, len(scores)), len(scores), before, after)
            self._show(record, scores, words)
            if then is not None:
                then()

        self._workspace.with_project(read, done)

    def _show(self, record: ModelRecord | None, scores: Sequence[ImageScore], words: str) -> None:
        self._judged = record
        self.judgedChanged.emit()
        panel = self._panel
        panel.scores.setValue([ScoreEntry(s.image_id, s.name, s.before, s.after) for s in scores])
        panel.verdict.setText(f"{record.name}: {words}" if record is not None else "")
        for widget in (panel.judge_heading, panel.verdict, panel.judge_buttons):
            widget.setVisible(record is not None)
        panel.scores.setVisible(bool(scores))
        self._refresh()

    def _refresh(self) -> None:
        workspace, record = self._workspace, self._judged
        serving = record is not None and record.sha256 == workspace.served_key()
        idle = workspace.learning() is None
        self._panel.promote_button.setEnabled(record is not None and not serving and idle)
        self._panel.discard_button.setEnabled(record is not None and idle)
        self._panel.compare_button.setEnabled(
            record is not None and workspace.view is not None and workspace.view.counts.held_out > 0
        )
        served = workspace.view.served if workspace.view is not None else None
        self._panel.models.setRollBackEnabled(served is not None and idle)


def verdict_words(verdict: Verdict, held_out: int, before: float | None, after: float | None) -> str:
    """Say what the held-out images say about a model."""
    if verdict == Verdict.TOO_FEW:
        return f"not enough to judge: {held_out} of at least {ENOUGH_HELD_OUT} held-out images."
    better = "better" if verdict == Verdict.IMPROVED else "not better"
    return f"{better}, mean Dice {before or 0.0:.3f} before, {after or 0.0:.3f} after on {held_out} held-out images."
