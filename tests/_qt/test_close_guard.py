"""Closing napari while something is under way."""

import numpy as np
import pytest
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMainWindow, QMessageBox, QPushButton

from napari_amvlm._qt.close_guard import CloseGuard, guard_window
from napari_amvlm.config import LearningConfig
from napari_amvlm.project import Answer, Project
from napari_amvlm.session.learning_run import LearningRun

LONG = LearningConfig(minutes=None, steps=1_000_000, crop=64, labelled_batch=2, unlabelled_batch=1)


@pytest.fixture
def learning(bench, tmp_path):
    """Return the bench, with its window guarded and a run under way that would last for days."""
    path = tmp_path / "p.amvlm"
    with Project.create(path) as project:
        record = project.images.add_array(bench.viewer.layers["slide"].data, name="slide")
        project.corrections.accept(record.id, "nuclei", Answer(np.eye(96, dtype=bool)))
    bench.workspace.open_project(path)
    bench.idle()
    bench.learn.make_run = lambda project, predictor, _config, **options: LearningRun(
        project, predictor, LONG, **options
    )
    bench.learn.start()
    bench.wait(lambda: len(bench.learn.panel.curve.value().loss) > 0)
    guard_window(bench.learn, bench.workspace)
    return bench


def _window(bench):
    window = bench.learn.parentWidget()
    while not isinstance(window, QMainWindow):
        window = window.parentWidget()
    return window


def _answer(text, asked):
    box = QApplication.activeModalWidget()
    if not isinstance(box, QMessageBox):
        QTimer.singleShot(20, lambda: _answer(text, asked))
        return
    asked.append(box.text())
    next(button for button in box.findChildren(QPushButton) if button.text() == text).click()


def test_keep_learning_keeps_the_window_and_the_run(learning):
    asked = []
    QTimer.singleShot(20, lambda: _answer("Keep learning", asked))

    closed = _window(learning).close()

    assert asked == ["The model is still learning. Stop it and close napari?"]
    assert not closed
    assert learning.workspace.learning() is not None
    learning.learn.stop()
    learning.idle()


def test_stop_and_close_ends_the_run_and_then_closes(learning):
    asked = []
    window, workspace = _window(learning), learning.workspace
    root = workspace.project.root
    QTimer.singleShot(20, lambda: _answer("Stop and close", asked))

    window.close()
    learning.wait(lambda: not isalive(window) or not window.isVisible())
    learning.wait(lambda: workspace.project is None)

    # the viewer's own clean-up after the test does not expect a window that was closed by hand
    del learning.viewer.window._qt_window

    assert len(asked) == 1
    assert workspace.threads() == []
    with Project.open(root) as project:
        assert project.models.all() == []
        assert len(project.corrections.select()) == 1
        assert project.runs.all()[-1].state == "interrupted"


def test_a_close_by_a_program_stops_the_run_without_a_question(learning):
    workspace = learning.workspace
    root = workspace.project.root
    guard = _window(learning).findChild(CloseGuard)
    guard.ask = lambda _window: pytest.fail("asked")

    learning.viewer.close()

    assert all(thread.isFinished() for thread in workspace.threads())
    with Project.open(root) as project:
        assert project.models.all() == []


def test_closing_while_nothing_runs_asks_nothing(bench):
    window = _window(bench)
    guard = guard_window(bench.annotate, bench.workspace)
    guard.ask = lambda _window: pytest.fail("asked")

    assert window.close()


def test_a_window_is_guarded_once(bench):
    first = guard_window(bench.annotate, bench.workspace)

    assert guard_window(bench.learn, bench.workspace) is first
