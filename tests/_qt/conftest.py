"""A real viewer with real docks, a tiny real model, and nothing of the person's own settings or home folder."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari._qt.widgets.qt_welcome import QtWelcomeWidget
from napari.settings import NapariSettings
from npe2 import PluginManifest
from qtpy.QtCore import QEvent, QSettings
from qtpy.QtWidgets import QApplication

from napari_amvlm._qt import main_dock
from napari_amvlm._qt.annotate.dock import AnnotateDock
from napari_amvlm._qt.learn.dock import LearnDock
from napari_amvlm._qt.queue import ahead
from napari_amvlm._qt.widgets.confirm import ask_again
from napari_amvlm._qt.workspace import Workspace

if TYPE_CHECKING:
    import napari
    from pytestqt.qtbot import QtBot


TIMEOUT = 60_000
"""Milliseconds that a test waits for real work at most."""


@pytest.fixture(scope="session")
def quick_viewers():
    """Do once what napari does with each viewer or dock, and not at all what no test sees.

    The manifests of plugins are read once, settings are not saved, and the welcome screen, which is hidden, is not
    written anew with each shortcut. What libraries hold stays frozen, also when a dock that froze it is hidden.
    """
    manifests = list(PluginManifest.discover())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda **_: manifests)
        patch.setattr(NapariSettings, "save", lambda *_, **__: None)
        patch.setattr(QtWelcomeWidget, "refresh", lambda *_: None)
        patch.setattr(main_dock, "gc", SimpleNamespace(collect=gc.collect, freeze=int, unfreeze=int))
        yield


@pytest.fixture
def make_napari_viewer(quick_viewers, text_encoder, make_napari_viewer):
    gc.freeze()  # the collections after each viewer need not look at all that the libraries hold
    return make_napari_viewer


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    ask_again()
    for scope in (QSettings.Scope.UserScope, QSettings.Scope.SystemScope):
        QSettings.setPath(QSettings.Format.IniFormat, scope, str(tmp_path / "settings"))


@pytest.fixture(autouse=True)
def _nothing_ahead(monkeypatch):
    """Predict nothing in the background, so that statuses and threads are those of the test."""
    monkeypatch.setattr(ahead, "COUNT", 0)


@dataclass
class Bench:
    """A viewer with one image and both docks, the tiny model loaded."""

    viewer: napari.Viewer
    workspace: Workspace
    annotate: AnnotateDock
    learn: LearnDock
    qtbot: QtBot

    def wait(self, condition):
        self.qtbot.waitUntil(condition, timeout=TIMEOUT)

    def ran(self, prompt):
        """Wait until a prompt that was entered is done; a tiny model may be done before anybody asks."""
        annotation = self.annotate.annotation()
        self.wait(
            lambda: (
                self.annotate.prompts.is_running()
                or (prompt in annotation.layers and bool(annotation.mask(prompt).any()))
            )
        )
        self.idle()

    def idle(self):
        """Wait until no thread is at work and nothing is to be painted, several times in a row.

        A thread that has just ended may have an answer under way that starts the next one.
        """

        def settled():
            for _ in range(4):
                if self.workspace.threads() or self.annotate.is_busy():
                    return False
                self.qtbot.wait(1)
            return True

        self.wait(settled)

    def run(self, text):
        """Type a prompt, press Enter, and wait for the labels."""
        self.annotate.panel.prompt.setValue(text)
        self.annotate.run()
        self.idle()

    def layer(self, prompt="nuclei"):
        """Return the labels layer that holds a prompt's mask on the image at hand."""
        return self.annotate.annotation().layers[prompt]

    def confirm(self):
        """Answer yes to the question in the dock, and wait for what follows."""
        assert self.annotate.panel.confirm.text()
        self.annotate.panel.confirm.yes.click()
        self.idle()

    def hear_progress(self):
        """Return a list that gets every text of the progress bar from now on."""
        texts = []
        row = self.annotate.panel.progress
        show = row.setProgress

        def listen(share, text):
            texts.append(text)
            show(share, text)

        row.setProgress = listen
        return texts

    def status(self):
        return self.annotate.panel.status.value()[1]


def picture(seed=0, side=96):
    """Return an RGB image with dark discs on a light ground, uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 220, np.float32)
    rows, columns = np.mgrid[:side, :side]
    for row, column in rng.uniform(10, side - 10, (8, 2)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < 49] = (90, 40, 120)
    return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def headings(scores):
    """Return the rows of the prompts in a table of scores as they are shown: prompt, before and after."""
    items = [scores._table.topLevelItem(index) for index in range(scores._table.topLevelItemCount())]
    return [" ".join(item.text(column) for column in range(3)).strip() for item in items]


def delete(dock):
    """Let a dock be gone, as it is some time after it was closed."""
    dock.deleteLater()
    QApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)


@pytest.fixture
def make_bench(make_napari_viewer, qtbot, tiny_checkpoint):
    def make(image=None, *, show=False, **layer):
        viewer = make_napari_viewer(show=show)
        viewer.add_image(picture() if image is None else image, name="slide", **layer)
        workspace = Workspace()
        workspace.load_model(tiny_checkpoint)
        annotate, learn = AnnotateDock(viewer, workspace), LearnDock(viewer, workspace)
        viewer.window.add_dock_widget(annotate, name="Annotate")
        viewer.window.add_dock_widget(learn, name="Learn")
        bench = Bench(viewer, workspace, annotate, learn, qtbot)
        bench.idle()
        assert workspace.model_state == "ready", workspace.model_message
        return bench

    return make


@pytest.fixture
def bench(make_bench):
    return make_bench()
