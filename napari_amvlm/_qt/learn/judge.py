"""Judging a model: each prompt on held-out images before and after its run, and whether the model serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.learn.comparison_thread import CompareThread, comparer_of
from napari_amvlm._qt.learn.model_entries import models_at_hand
from napari_amvlm._qt.widgets.score_table import BETTER, SAME, WORSE, PromptRow, ScoreEntry, worst_first
from napari_amvlm.models.catalog import installed_model
from napari_amvlm.project import ModelRecord
from napari_amvlm.session import Verdict, changed_images, judged_run, parent_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_amvlm._qt.learn.panel import LearnPanel
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.project import ImageScore, Project
    from napari_amvlm.session import Compared, Judgement
    from napari_amvlm.session.learning_run import Outcome


class Judging(QObject):
    """Shows the scores of a run; lets its model serve, discards it, or goes back to an earlier one.

    A model is in the ledger as serving only once it was loaded. Where a held-out mask changes, its image is scored
    anew with the model before the run and the model after it.

    Signals
    -------
    judgedChanged
        Another model is judged, or none.
    """

    judgedChanged = Signal()

    def __init__(self, panel: LearnPanel, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._panel = panel
        self._workspace = workspace
        self._judged: ModelRecord | None = None
        self._run_id: int | None = None
        self._renewing: CompareThread | None = None
        self._tried: set[tuple[int, ...]] = set()
        panel.serve_button.clicked.connect(self.serve_judged)
        panel.discard_button.clicked.connect(self.discard)
        panel.models.serveRequested.connect(self._on_serve_requested)
        panel.models.rollBackRequested.connect(self.roll_back)
        workspace.projectOpened.connect(self._on_project_opened)
        workspace.projectChanged.connect(self._refresh)
        workspace.projectChanged.connect(self._renew)
        workspace.modelChanged.connect(self._refresh)
        workspace.busyChanged.connect(self._refresh)  # the buttons wait for the run that they are about
        # the dock may be opened after the project
        self._on_project_opened(None)

    def show_outcome(self, outcome: Outcome) -> None:
        """Show the scores of a run that has just ended."""
        self._set_judged(outcome.record, outcome.run_id if outcome.record is not None else None)
        self._show(outcome.scores, outcome.judgement)

    def judged(self) -> ModelRecord | None:
        """Return the model that is judged."""
        return self._judged

    def look_back(self, key: str, then: Callable[[], None]) -> None:
        """Judge a model of the project again: show the scores of its run, and call `then`."""
        view = self._workspace.view
        record = next((model for model in view.models if str(model.path) == key), None) if view else None
        if record is not None:
            self._show_run_of(record, then)

    def serve_judged(self) -> None:
        """Let the judged model serve."""
        if self._judged is not None:
            self.serve(self._judged, f"{self._judged.name} serves now.")

    def discard(self) -> None:
        """Put the judged model aside; if it serves, what served before serves again first."""
        record = self._judged
        if record is None:
            return

        def put_aside() -> None:
            self._workspace.with_project(
                lambda project: project.models.discard(record.id),
                lambda _: self._discarded(record),
                lambda text: self._workspace.said.emit("error", text),
            )

        if record.sha256 == self._workspace.served_key():
            self.roll_back(put_aside)
        else:
            put_aside()

    def roll_back(self, then: Callable[[], None] | None = None) -> None:
        """Let the model serve that served before; the installed one where that was the first."""
        after = then if callable(then) else None

        def find(project: Project) -> ModelRecord | ModelInfo | None:
            return project.models.earlier() or installed_model(project.models.installed())

        def done(found: ModelRecord | ModelInfo | None) -> None:
            model = found or self._workspace.base
            if model is None:
                self._workspace.said.emit("error", "The installed model is not known; choose one in the list.")
                return
            target = model if isinstance(model, ModelRecord) else model.path
            self.serve(target, f"Rolled back: {model.name} serves again.", after)

        self._workspace.with_project(find, done, lambda text: self._workspace.said.emit("error", text))

    def serve(self, model: ModelRecord | Path, message: str, then: Callable[[], None] | None = None) -> None:
        """Load a model of the project, or the file of another one, then note in the project that it serves."""
        record = None if isinstance(model, Path) else model

        def done() -> None:
            self._workspace.said.emit("info", message)
            info = self._workspace.predictor.info if record is None and self._workspace.predictor else None
            if self._workspace.project is not None:
                model_id, installed = record.id if record else None, info.sha256 if info else None
                self._workspace.with_project(lambda project: project.models.serve(model_id, installed))
            elif info is not None:  # the project that is opened next begins with it
                self._workspace.base, self._workspace.is_base_chosen = info, True
            if then is not None:
                then()

        self._workspace.serve(
            model if isinstance(model, Path) else model.path,
            done,
            lambda text: self._workspace.said.emit("error", text),
            sha256=record.sha256 if record else None,
        )

    # Inner workings

    def _discarded(self, record: ModelRecord) -> None:
        self._set_judged(None)
        self._workspace.said.emit(
            "info", f"{record.name} is discarded; its file stays in the project, out of the list."
        )

    def _on_serve_requested(self, key: str) -> None:
        view = self._workspace.view
        record = next((model for model in view.models if str(model.path) == key), None) if view else None
        name = record.name if record is not None else Path(key).stem
        self.serve(record or Path(key), f"{name} serves now.")

    def _on_project_opened(self, _left: object) -> None:
        """Show the last run of the project that brought a model."""
        view = self._workspace.view
        models = {record.id: record for record in view.models} if view is not None else {}
        run = next((run for run in reversed(view.runs) if run.model_id in models), None) if view is not None else None
        if run is None or run.model_id is None:
            self._set_judged(None)
        else:
            self._show_run_of(models[run.model_id])

    def _show_run_of(self, record: ModelRecord, then: Callable[[], None] | None = None) -> None:
        """Show the scores of the run that made a model; a model from elsewhere has none."""
        runs = self._workspace.view.runs if self._workspace.view is not None else ()
        run_id = next((run.id for run in reversed(runs) if run.model_id == record.id), None)
        self._set_judged(record, run_id)

        def done(judged: tuple[list[ImageScore], Judgement]) -> None:
            if self._judged is record:
                self._show(*judged)
                if then is not None:
                    then()

        if run_id is not None:
            self._workspace.with_project(lambda project: judged_run(project, run_id), done)
        elif then is not None:
            then()

    def note(self, compared: Compared) -> None:
        """Store the scores of an image that both models were just compared on, where its masks had none; show them."""
        run_id, record, read_only = self._run_id, self._judged, self._workspace.is_read_only()
        if run_id is None or record is None:
            return

        def store(project: Project) -> tuple[list[ImageScore], Judgement]:
            known = {s.correction_id for s in project.runs.scores(run_id) if s.after is not None}
            new = [score for score in compared.scores if score.correction_id not in known]
            if new and not read_only:
                project.runs.store_scores(run_id, new)
            return judged_run(project, run_id)

        def done(judged: tuple[list[ImageScore], Judgement]) -> None:
            if self._judged is record:
                self._show(*judged)

        self._workspace.with_project(store, done)

    def _renew(self) -> None:
        """Score images anew whose held-out masks were changed since the run, unless the models are in use."""
        run_id, record, workspace, project = self._run_id, self._judged, self._workspace, self._workspace.project
        if run_id is None or record is None or project is None or self._renewing is not None:
            return
        if workspace.learning() is not None:
            return
        at_hand = models_at_hand(workspace)

        def prepare() -> tuple[list[int], Path | None]:
            changed = {i: masks for i, masks in changed_images(project, run_id).items() if masks not in self._tried}
            self._tried.update(changed.values())
            return list(changed), parent_file(project, record, at_hand) if changed else None

        def done(prepared: tuple[list[int], Path | None]) -> None:
            images, before = prepared
            if before is not None and self._judged is record and self._renewing is None:
                self._start_renewing(record, before, images)

        workspace.submit(prepare, done)

    def _start_renewing(self, record: ModelRecord, before: Path, images: list[int]) -> None:
        project, predictor = self._workspace.project, self._workspace.predictor
        if project is None or predictor is None:
            return
        self._renewing = CompareThread(comparer_of(project, before, record, predictor), images)
        self._renewing.compared.connect(self._on_compared)
        self._renewing.returned.connect(self._on_renewed)
        self._renewing.errored.connect(self._on_errored)
        self._workspace.start(self._renewing)

    def _on_compared(self, compared: Compared) -> None:
        if self.sender() is self._renewing:
            self.note(compared)

    def _on_renewed(self, problems: list[str]) -> None:
        if self.sender() is not self._renewing:
            return  # another model is judged by now, or another project is open
        self._renewing = None
        if problems:
            self._workspace.said.emit("warning", f"A changed held-out mask could not be scored: {problems[0]}")

    def _on_errored(self, text: str, _error: object) -> None:
        self._on_renewed([text])

    def _set_judged(self, record: ModelRecord | None, run_id: int | None = None) -> None:
        self._judged, self._run_id = record, run_id
        self._tried.clear()
        if self._renewing is not None:
            self._renewing.stop()
            self._renewing = None
        self.judgedChanged.emit()
        panel = self._panel
        panel.scores.setValue([])
        panel.scores.hide()
        panel.verdict.setText(f"{record.name}: it was not scored in this project." if record is not None else "")
        for widget in (panel.verdict, panel.judge_buttons):
            widget.setVisible(record is not None)
        self._refresh()

    def _show(self, scores: Sequence[ImageScore], judgement: Judgement) -> None:
        panel, order = self._panel, [each.prompt for each in judgement.prompts]
        order += [score.prompt for score in scores if score.prompt not in order]
        entries = [ScoreEntry(s.image_id, s.name, s.before, s.after, s.prompt, s.corrected) for s in scores]
        entries = sorted(worst_first(entries), key=lambda entry: order.index(entry.prompt))
        signs = {Verdict.IMPROVED: BETTER, Verdict.WORSE: WORSE, Verdict.SAME: SAME, Verdict.TOO_FEW: "?"}
        rows = {p.prompt: PromptRow(p.before, p.after, signs[p.verdict], str(p)) for p in judgement.prompts if p.images}
        panel.scores.setValue(entries, rows)
        panel.scores.setVisible(bool(entries))
        if self._judged is not None:
            panel.verdict.setText(f"{self._judged.name}: {judgement}.")
            panel.verdict.setVisible(panel.question.isHidden())

    def _refresh(self) -> None:
        workspace, record = self._workspace, self._judged
        serving = record is not None and record.sha256 == workspace.served_key()
        idle = workspace.learning() is None
        self._panel.serve_button.setEnabled(record is not None and not serving and idle)
        self._panel.discard_button.setEnabled(record is not None and idle)
        self._panel.compare_button.setEnabled(
            record is not None and workspace.view is not None and workspace.view.counts.held_out > 0
        )
        served = workspace.view.served if workspace.view is not None else None
        self._panel.models.setRollBackEnabled(served is not None and idle)
