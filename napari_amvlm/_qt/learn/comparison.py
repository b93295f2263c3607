"""A model beside the one it was learnt from, on the held-out images: which segments better, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QSignalBlocker
from superqt.utils import qthrottled

from napari_amvlm._qt.learn.comparison_layers import ComparisonLayers
from napari_amvlm._qt.learn.comparison_thread import CompareThread, comparer_of
from napari_amvlm._qt.learn.model_entries import models_at_hand
from napari_amvlm._qt.queue.queue import queue_for
from napari_amvlm.byte_cache import ByteCache
from napari_amvlm.session import earlier_model

if TYPE_CHECKING:
    from napari_amvlm._qt.learn.judge import Judging
    from napari_amvlm._qt.learn.panel import LearnPanel
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import ModelRecord, Project
    from napari_amvlm.session import Compared, Comparer, Earlier

KEPT_BYTES = 512 << 20
"""Bytes of compared images that are kept; an older one is computed again when it is shown again."""

_REDRAW = 40
"""Milliseconds between two drawings while the border is dragged."""


class Comparison(QObject):
    """Opens and closes the side-by-side of the model that is being judged."""

    def __init__(
        self, viewer: Any, panel: LearnPanel, workspace: Workspace, judging: Judging, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._panel = panel
        self._workspace = workspace
        self._judging = judging
        self._queue = queue_for(viewer, workspace)
        self.layers = ComparisonLayers(viewer, self)
        self._comparer: Comparer | None = None
        self._is_parent = True
        self._thread: CompareThread | None = None
        self._compared: ByteCache[Compared] = ByteCache(KEPT_BYTES)
        self._lowest: dict[int, float] = {}
        self._wanted: int | None = None
        self._prompt: str | None = None
        self._opening = False
        self._draw = qthrottled(self._on_border, timeout=_REDRAW)
        panel.compare_button.clicked.connect(self._on_clicked)
        panel.compare_progress.cancelled.connect(self.cancel)
        panel.scores.looked.connect(self.look_at)
        panel.scores.chosen.connect(self._on_chosen)
        panel.swipe.borderChanged.connect(self._draw)
        panel.swipe.promptChanged.connect(self._on_prompt)
        panel.models.compareRequested.connect(lambda key: judging.look_back(key, self.open))
        self.layers.borderMoved.connect(panel.swipe.setBorder)
        self.layers.removedByHand.connect(self.close)
        judging.judgedChanged.connect(self.close)
        workspace.leaving.connect(self.close)
        if parent is not None:
            parent.destroyed.connect(self._on_dock_gone)
        self._show(False)

    def is_open(self) -> bool:
        """Tell whether two models are being compared."""
        return self._comparer is not None or self._opening

    def is_busy(self) -> bool:
        """Tell whether anything is still being computed."""
        return self._thread is not None or self._opening

    def compared(self) -> list[int]:
        """Return the ids of the images that were compared and are kept."""
        return list(self._lowest)

    def open(self, first: int | None = None) -> None:
        """Compare the judged model with the one it came from, on every held-out image; `first` is shown first."""
        project, predictor, record = self._workspace.project, self._workspace.predictor, self._judging.judged()
        if project is None or predictor is None or record is None or self.is_open():
            self._show(self.is_open())
            return
        self._opening = True
        self._wanted = first
        self._show(True)
        self._panel.compare_progress.setBusy("Reading both models ...")
        at_hand = models_at_hand(self._workspace)

        def prepare() -> tuple[Earlier, list[int]]:
            return earlier_model(project, record, at_hand), _to_compare(project)

        def done(prepared: tuple[Earlier, list[int]]) -> None:
            # closed meanwhile, or about another model by now
            if self._opening and self._judging.judged() is record:
                self._begin(project, record, *prepared)

        self._workspace.submit(prepare, done, self._on_failed)

    def look_at(self, image_id: int, prompt: str | None = None) -> None:
        """Show one image, and one prompt of it, in the comparison, opened first where it is not."""
        self._prompt = prompt or self._prompt
        if not self.is_open():
            self.open(image_id)
            return
        self._wanted = image_id
        if image_id in self._compared:
            self._show_image(self._compared[image_id])
        elif self._thread is not None:
            self._thread.want(image_id)
        elif self._comparer is not None:
            self._start([image_id])

    def cancel(self) -> None:
        """Stop computing; what was compared stays."""
        if self._thread is not None:
            self._thread.stop()
            self._panel.compare_progress.setBusy("Stopping ...")
            self._panel.compare_progress.setCancelEnabled(False)

    def close(self) -> None:
        """End the comparison: its layers go, and the models and masks are forgotten."""
        if self._thread is not None:
            self._thread.stop()
        self._thread = self._comparer = self._wanted = self._prompt = None
        self._opening = False
        self._compared.clear()
        self._lowest.clear()
        self.layers.remove()
        self._show(False)

    # Slots

    def _on_clicked(self, checked: bool) -> None:
        if checked:
            self.open()
        else:
            self.close()

    def _on_chosen(self, image_id: int) -> None:
        self.close()
        self._queue.open_image(image_id)

    def _on_border(self, border: float) -> None:
        self.layers.setBorder(border)

    def _on_prompt(self, prompt: str) -> None:
        shown = self.layers.value()
        if shown is not None and prompt in shown[0].masks:
            self._show_prompt(shown[0], prompt)

    def _on_progressed(self, done: int, total: int) -> None:
        if self.sender() is self._thread:
            at = min(done + 1, total)
            self._panel.compare_progress.setProgress(done / max(1, total), f"comparing image {at} of {total}")

    def _on_compared(self, compared: Compared) -> None:
        if self.sender() is not self._thread:
            return
        self._compared.put(compared.image_id, compared)
        self._lowest[compared.image_id] = min(score.after or 0.0 for score in compared.scores)
        if self._is_parent:  # the scores of a run are those of the model that it started from
            self._judging.note(compared)
        if compared.image_id == self._wanted or (self._wanted is None and self.layers.value() is None):
            self._show_image(compared)

    def _on_returned(self, problems: list[str]) -> None:
        if self.sender() is not self._thread:
            return
        worst = min(self._lowest, key=lambda image_id: self._lowest[image_id], default=None)
        if self._wanted is None and worst in self._compared:
            # the person has not chosen an image: the one that the later model is worst on
            self._show_image(self._compared[worst])
        if problems:
            self._workspace.said.emit("warning", f"Not compared: {len(problems)}. {problems[0]}")
        self._end()

    def _on_cancelled(self) -> None:
        if self.sender() is not self._thread:
            return
        self._workspace.said.emit("info", "Cancelled; the images that were compared can still be looked at.")
        self._end()

    def _on_errored(self, text: str, _error: object) -> None:
        if self.sender() is self._thread:
            self._on_failed(text)

    def _on_failed(self, text: str) -> None:
        self.close()
        self._workspace.said.emit("error", text)

    def _on_dock_gone(self) -> None:
        """Remove the layers; the widgets are gone already."""
        if self._thread is not None:
            self._thread.stop()
        self.layers.remove()

    # Inner workings

    def _begin(self, project: Project, record: ModelRecord, before: Earlier, images: list[int]) -> None:
        predictor = self._workspace.predictor
        self._opening = False
        if predictor is None or not images:
            self._on_failed("No image is held out any more, so there is nothing to compare on; accept more masks.")
            return
        self._comparer = comparer_of(project, before.path, record, predictor)
        self._is_parent = not before.instead
        if before.instead:
            self._workspace.said.emit("info", before.instead)
        listed = [entry.key for entry in self._panel.scores.value() if entry.key in images]
        if self._wanted not in images:
            self._wanted = None
        first = [] if self._wanted is None else [self._wanted]
        self._start(list(dict.fromkeys([*first, *listed, *images])))

    def _start(self, ids: list[int]) -> None:
        if self._comparer is None:
            return
        thread = CompareThread(self._comparer, ids)
        self._thread = thread
        thread.progressed.connect(self._on_progressed)
        thread.compared.connect(self._on_compared)
        thread.returned.connect(self._on_returned)
        thread.cancelled.connect(self._on_cancelled)
        thread.errored.connect(self._on_errored)
        self._panel.compare_progress.setBusy("Reading both models ...")
        self._panel.compare_progress.setVisible(True)
        self._workspace.start(thread)

    def _end(self) -> None:
        self._thread = None
        self._panel.compare_progress.setIdle()
        self._panel.compare_progress.setVisible(False)

    def _show_image(self, compared: Compared) -> None:
        swipe = self._panel.swipe
        wanted = self._prompt or swipe.prompt()
        prompt = wanted if wanted in compared.masks else next(iter(compared.masks))
        swipe.setPrompts(list(compared.masks), prompt)
        self._show_prompt(compared, prompt)
        self._panel.revealJudging()

    def _show_prompt(self, compared: Compared, prompt: str) -> None:
        """Show one prompt, the border through the middle of what is there."""
        score = compared.score(prompt)
        self._prompt = prompt
        self._panel.scores.select(compared.image_id, prompt)
        before = "not taught before" if prompt in compared.new else f"Dice {score.before:.3f} before"
        after = f"{'Dice ' if prompt in compared.new else ''}{score.after:.3f} after"
        self._panel.swipe.setCaption(f"{compared.name}: {before}, {after}")
        self._panel.swipe.setBorder(_middle(compared.masks[prompt]))
        self.layers.show(compared, prompt, self._panel.swipe.border())

    def _show(self, is_open: bool) -> None:
        panel = self._panel
        with QSignalBlocker(panel.compare_button):
            panel.compare_button.setChecked(is_open)
        panel.compare_button.setText("Close" if is_open else "Compare")
        panel.swipe.setVisible(is_open)
        panel.showCurve()
        panel.compare_progress.setVisible(is_open and self.is_busy())
        if not is_open:
            panel.swipe.setCaption("")
            panel.swipe.setPrompts((), "")
            panel.compare_progress.setIdle()


def _middle(code: np.ndarray) -> float:
    """Return where half of all painted pixels lie on the left, as a share of the width."""
    painted = np.cumsum((code > 0).sum(axis=0))
    if not painted[-1]:
        return 0.5
    return (int(np.searchsorted(painted, painted[-1] / 2)) + 1) / int(code.shape[1])


def _to_compare(project: Project) -> list[int]:
    """Return the ids of the held-out images that something is accepted on."""
    accepted = {correction.image_id for correction in project.corrections.select()}
    return [record.id for record in project.images.held_out() if record.id in accepted]
