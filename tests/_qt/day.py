"""An annotator's day, through the docks as a person would do it; for the test, and for the script of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_amvlm._qt.close_guard import guard_window
from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.main_dock import NAME, MainDock
from napari_amvlm._qt.queue.ahead import AheadThread
from napari_amvlm._qt.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import napari

PROMPT = "nuclei"


@dataclass
class Desk:
    """A viewer with the one dock on the right, and a model that is loading."""

    viewer: napari.Viewer
    model: Path | None
    workspace: Workspace = field(init=False)
    dock: MainDock = field(init=False)
    holder: Any = field(init=False)

    def __post_init__(self):
        self.workspace = Workspace()
        self.workspace.load_model(self.model)
        self.dock = MainDock(self.viewer, self.workspace)
        self.annotate, self.learn, self.queue = self.dock.annotate, self.dock.learn, self.dock.queue
        self.holder = self.viewer.window.add_dock_widget(self.dock, name=NAME, area="right")
        # by itself when a dock is first shown; a viewer of a test may never be
        guard_window(self.annotate, self.workspace)

    def show(self, name):
        """Bring a tab to the front."""
        self.dock.show_tab(name)

    def is_idle(self):
        """Tell whether nothing is at work but the background, which has time."""
        at_work = [thread for thread in self.workspace.threads() if not isinstance(thread, AheadThread)]
        return not at_work and not self.annotate.is_busy()


@dataclass
class Day:
    """Twelve images: prompt, correct, accept, queue, learn, judge, serve, roll back, close, reopen, export.

    `truth` has the mask that an annotator would paint, by file name; `picture(name)` is called after every step.
    """

    desk: Desk
    root: Path
    truth: Mapping[str, np.ndarray]
    wait: Callable[[Callable[[], bool]], None]
    picture: Callable[[str, Desk], None]

    def idle(self):
        self.wait(self.desk.is_idle)

    def new_project(self, files):
        self.wait(lambda: self.desk.workspace.model_state == "ready")
        self.desk.annotate.panel.project.chosen.emit(self.root)
        self.idle()
        self.desk.learn.add_files(files)
        self.idle()
        self.desk.show("Queue")
        self.wait(lambda: len(self.desk.queue.panel.list._pictures) >= min(len(files), 8))
        self.picture("1 a new project", self.desk)

    def first_prompt(self):
        self.desk.show("Annotate")
        self.desk.queue.panel.step.next.click()
        self.idle()
        line = self.desk.annotate.panel.prompt.lineEdit()
        keyboard = QTest
        keyboard.keyClicks(line, PROMPT)
        keyboard.keyClick(line, Qt.Key.Key_Return)
        self.wait(self.desk.annotate.prompts.is_running)
        self.idle()
        line.clear()
        self.picture("2 a prompt", self.desk)

    def correct_and_accept(self):
        """Paint what is wrong, as steps that Ctrl+Z takes back, and press Accept."""
        annotation = self.desk.annotate.annotation()
        true = self.truth[annotation.image.name].astype(bool)
        wrong = np.nonzero(annotation.mask(PROMPT) != true)
        value = self.desk.workspace.styles.of(PROMPT).value
        annotation.layer(PROMPT).data_setitem(wrong, true[wrong].astype(np.int32) * value)
        self.desk.annotate.panel.accept_button.click()
        self.idle()

    def next_image(self):
        self.desk.annotate.panel.step.next.click()
        self.idle()
        self.desk.annotate.run()
        self.idle()

    def most_uncertain_first(self):
        self.desk.show("Queue")
        self.desk.queue.panel.sort_button.click()
        self.idle()
        self.desk.annotate.toggle_uncertainty()
        self.idle()
        self.picture("4 the queue, and where the model is unsure", self.desk)
        self.desk.annotate.toggle_uncertainty()
        self.idle()
        self.open_first()

    def open_first(self):
        """Open what teaches most: the first image of the list."""
        self.desk.queue.panel.list.chosen.emit(self.desk.queue.panel.list.value()[0].key)
        self.idle()
        self.desk.annotate.run()
        self.idle()

    def learn(self):
        self.desk.show("Learn")
        self.desk.learn.panel.start_button.click()
        self.wait(lambda: self.desk.workspace.learning() is None)
        self.idle()
        self.picture("5 a run is judged", self.desk)

    def compare(self):
        """Look at the model that was learnt beside the one it came from."""
        self.desk.learn.panel.compare_button.click()
        self.wait(lambda: not self.desk.learn.comparison.is_busy())
        self.idle()
        self.picture("5b before and after, side by side", self.desk)
        self.desk.learn.panel.compare_button.click()
        self.idle()

    def serve(self):
        if self.desk.learn.panel.serve_button.isEnabled():
            self.desk.learn.panel.serve_button.click()
            self.idle()

    def roll_back(self):
        self.desk.learn.panel.models._roll_back.click()
        self.idle()
        self.picture("6 rolled back", self.desk)

    def close(self):
        self.desk.annotate.panel.prompts.setCurrent(PROMPT)
        camera_of(self.desk.viewer).zoom *= 1.7
        self.idle()
        workspace = self.desk.workspace
        self.desk.viewer.window._qt_window.close()
        self.wait(lambda: workspace.project is None)

    def reopen(self, desk):
        self.desk = desk
        self.wait(lambda: desk.workspace.model_state == "ready")
        desk.annotate.panel.project.chosen.emit(self.root)
        self.idle()
        desk.show("Annotate")
        desk.annotate.toggle_reviewed()
        self.idle()
        self.picture("7 another day", desk)

    def export(self, path):
        self.desk.show("Queue")
        self.desk.queue.panel.export_button.requested.emit("coco", path)
        self.idle()
        self.picture("8 exported", self.desk)


def walk(day, files, accepted):
    """Do the part of the day up to the run that is started next."""
    day.new_project(files)
    day.first_prompt()
    day.correct_and_accept()
    day.desk.annotate.toggle_reviewed()
    day.idle()
    day.picture("3 corrected and accepted", day.desk)
    day.desk.annotate.toggle_reviewed()
    day.next_image()
    day.most_uncertain_first()
    for _ in range(accepted - 1):
        day.correct_and_accept()
        day.next_image()
