"""Jobs and threads of a workspace."""

import subprocess
import sys
import threading

import numpy as np
from qtpy.QtWidgets import QApplication

from napari_amvlm._qt.workers import CallThread, GuardedThread
from napari_amvlm._qt.workspace import Workspace
from napari_amvlm.errors import StorageError
from napari_amvlm.models.checkpoint import save_model
from napari_amvlm.project import Project


def test_opening_the_docks_does_not_wait_for_torch():
    code = (
        "import sys, napari_amvlm._qt.annotate.dock, napari_amvlm._qt.learn.dock; "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines()[-1] == "[]"


def test_jobs_run_one_after_the_other_in_order(qtbot):
    workspace = Workspace()
    done = []

    for number in range(20):
        workspace.submit(lambda number=number: number, done.append)
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)

    assert done == list(range(20))


def test_a_result_is_not_lost_when_another_thread_ends_first(qtbot):
    workspace = Workspace()
    done = []
    other = CallThread(lambda: None)
    workspace.start(other)
    other.wait()

    workspace.submit(lambda: "stored", done.append)
    workspace.threads()[-1].wait()
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)

    assert done == ["stored"]


def test_a_failed_job_does_not_hold_up_the_next(qtbot):
    workspace = Workspace()
    failed = []
    done = []

    def full():
        raise StorageError("The disk is full; free some space.")

    workspace.submit(full, done.append, failed.append)
    workspace.submit(lambda: 1, done.append)
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)

    assert (done, failed) == ([1], ["The disk is full; free some space."])


def test_without_a_project_the_sentence_says_what_to_do(qtbot):
    workspace = Workspace()

    with qtbot.waitSignal(workspace.said) as said:
        workspace.with_project(lambda _project: None)
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)

    assert said.args == ["error", "No project is open; open one, or accept a mask, which makes one."]


def test_shutting_down_does_what_was_still_to_be_written(qtbot, tmp_path):
    workspace = Workspace()
    for name in "abc":
        workspace.submit((tmp_path / name).touch)

    workspace.shut_down()
    QApplication.processEvents()

    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a", "b", "c"]


def test_what_is_done_with_a_project_that_is_being_made_is_not_lost_when_the_window_closes(qtbot, tmp_path):
    workspace = Workspace()

    workspace.open_project(tmp_path / "first.amvlm")
    workspace.with_project(lambda project: project.images.add_array(np.zeros((20, 20), np.uint8), name="first"))
    workspace.shut_down()
    QApplication.processEvents()

    with Project.open(tmp_path / "first.amvlm") as project:  # the lock was let go, too
        assert [record.name for record in project.images.all()] == ["first"]


def test_a_project_that_cannot_be_made_is_told_by_what_needs_it(qtbot, tmp_path):
    (tmp_path / "taken.amvlm").mkdir()
    (tmp_path / "taken.amvlm" / "notes.txt").write_text("mine")
    workspace, failed = Workspace(), list[str]()

    workspace.open_project(tmp_path / "taken.amvlm")
    workspace.with_project(lambda project: project.images.all(), None, failed.append)
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)

    assert len(failed) == 1
    assert "taken.amvlm" in failed[0]


def test_a_long_job_holds_up_no_other(qtbot):
    workspace, release, done = Workspace(), threading.Event(), list[str]()
    workspace.submit(lambda: release.wait(10) and "exported", done.append, long=True)
    workspace.submit(lambda: "second export", done.append, long=True)

    workspace.submit(lambda: "accepted", done.append)
    qtbot.waitUntil(lambda: done == ["accepted"], timeout=10_000)
    assert workspace.is_at_long_job()
    release.set()
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)

    assert done == ["accepted", "exported", "second export"]
    assert not workspace.is_at_long_job()


def test_another_project_is_not_opened_under_a_long_job(qtbot, tmp_path):
    workspace, release = Workspace(), threading.Event()
    workspace.open_project(tmp_path / "first.amvlm")
    qtbot.waitUntil(lambda: workspace.project is not None and not workspace.threads(), timeout=10_000)
    workspace.with_project(lambda _project: release.wait(10), long=True)

    with qtbot.waitSignal(workspace.said) as said:
        workspace.open_project(tmp_path / "second.amvlm")
    release.set()
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)

    assert said.args[1].startswith("Project first is being added to or exported; wait")
    assert workspace.project.name == "first"
    workspace.shut_down()


def test_a_runtime_error_in_a_thread_is_told_and_the_thread_ends(qtbot):
    class Broken(GuardedThread):
        def work(self):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    thread = Broken()
    with qtbot.waitSignals([thread.errored, thread.finished], order="strict") as signals:
        thread.start()

    text, error = signals.all_signals_and_args[0].args
    assert text.startswith("The device ran out of memory")
    assert isinstance(error, RuntimeError)


def test_a_model_that_is_wanted_while_the_first_one_loads_serves_after_it(qtbot, tiny_checkpoint, tiny_model, tmp_path):
    other = tmp_path / "other.safetensors"
    save_model(tiny_model, other, name="other", licence="CC0-1.0", training_data="none")
    workspace, served = Workspace(), list[str]()
    workspace.load_model(tiny_checkpoint)

    workspace.serve(other, lambda: served.append("other"))
    qtbot.waitUntil(lambda: served == ["other"] and not workspace.threads(), timeout=60_000)

    assert workspace.base.name == "tiny"
    assert workspace.predictor.info.name == "other"


def _project_serving(path, model):
    with Project.create(path) as project:
        record = project.models.add(model)
        project.models.serve(record.id)
    return record


def test_the_model_of_a_project_does_not_serve_in_the_one_that_is_opened_while_the_first_model_loads(
    qtbot, tiny_checkpoint, tiny_model, tmp_path
):
    other = save_model(
        tiny_model, tmp_path / "other.safetensors", name="other", licence="CC0-1.0", training_data="none"
    )
    _project_serving(tmp_path / "first.amvlm", other.path)
    workspace, opened, go = Workspace(), list[str](), threading.Event()
    workspace.model_state = "loading"  # until both projects are open

    for name in ("first", "second"):
        workspace.open_project(tmp_path / f"{name}.amvlm", lambda name=name: opened.append(name))
        qtbot.waitUntil(lambda name=name: name in opened and not workspace.threads(), timeout=10_000)
    workspace.load_model(tiny_checkpoint, go.set)
    qtbot.waitUntil(lambda: go.is_set() and not workspace.threads(), timeout=60_000)

    assert workspace.predictor.info.name == "tiny"
    workspace.shut_down()


def test_where_the_model_of_a_project_is_damaged_that_of_the_project_before_does_not_serve(
    qtbot, tiny_checkpoint, tiny_model, tmp_path
):
    for name in ("first", "second"):
        path = tmp_path / f"of {name}.safetensors"
        save_model(tiny_model, path, name=f"of {name}", licence="CC0-1.0", training_data="none")
        record = _project_serving(tmp_path / f"{name}.amvlm", path)
    record.path.write_bytes(b"no model any more")
    workspace, served, said = Workspace(), list[str](), list[str]()
    workspace.said.connect(lambda _level, text: said.append(text))
    workspace.load_model(tiny_checkpoint)

    for name in ("first", "second"):
        workspace.open_project(tmp_path / f"{name}.amvlm")
        qtbot.waitUntil(lambda name=name: workspace.project and workspace.project.name == name, timeout=60_000)
        qtbot.waitUntil(lambda: not workspace.threads(), timeout=60_000)
        served.append(workspace.predictor.info.name)

    assert served == ["of first", "tiny"]
    assert any(str(record.path) in text for text in said)
    workspace.shut_down()


def test_a_model_that_is_served_after_the_first_one_failed_is_told_of(qtbot, tiny_checkpoint, tmp_path):
    workspace, served = Workspace(), list[str]()
    (tmp_path / "broken.safetensors").write_bytes(b"no model")
    workspace.load_model(tmp_path / "broken.safetensors")
    qtbot.waitUntil(lambda: workspace.model_state == "failed" and not workspace.threads(), timeout=60_000)

    workspace.serve(tiny_checkpoint, lambda: served.append("tiny"))
    qtbot.waitUntil(lambda: workspace.model_state == "ready" and not workspace.threads(), timeout=60_000)

    assert served == ["tiny"]


def test_prompts_of_a_project_that_is_left_are_not_those_of_the_next(qtbot, tmp_path):
    workspace = Workspace()
    workspace.prompts[:] = ["typed before a project was open"]
    for name in ("first", "second"):
        with Project.create(tmp_path / f"{name}.amvlm") as project:
            project.prompts.set_up(f"{name} prompt", threshold=0.5)
    prompts = []

    for name in ("first", "second"):
        workspace.open_project(tmp_path / f"{name}.amvlm", lambda: prompts.append(list(workspace.prompts)))
        qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)

    assert prompts == [["typed before a project was open", "first prompt"], ["second prompt"]]
    workspace.shut_down()


def test_a_project_whose_lock_cannot_be_written_can_be_opened_for_reading(qtbot, tmp_path):
    workspace, locked = Workspace(), list[object]()
    workspace.projectLocked.connect(locked.append)
    Project.create(tmp_path / "p.amvlm").close()
    (tmp_path / "p.amvlm" / "writer.lock").unlink(missing_ok=True)
    (tmp_path / "p.amvlm" / "writer.lock").mkdir()  # as on a disk that lets nobody write

    workspace.open_project(tmp_path / "p.amvlm")
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)
    workspace.open_project(tmp_path / "p.amvlm", read_only=True)
    qtbot.waitUntil(lambda: workspace.project is not None and not workspace.threads(), timeout=10_000)

    assert locked == [tmp_path / "p.amvlm"]
    assert workspace.project.read_only
    workspace.shut_down()


def test_a_project_that_is_open_elsewhere_can_be_opened_for_reading(qtbot, tmp_path):
    workspace, busy = Workspace(), list[object]()
    workspace.projectLocked.connect(busy.append)

    with Project.create(tmp_path / "p.amvlm"):
        workspace.open_project(tmp_path / "p.amvlm")
        qtbot.waitUntil(lambda: not workspace.threads(), timeout=10_000)
        without = workspace.project
        workspace.open_project(tmp_path / "p.amvlm", read_only=True)
        qtbot.waitUntil(lambda: workspace.project is not None and not workspace.threads(), timeout=10_000)

    assert without is None
    assert busy == [tmp_path / "p.amvlm"]
    assert workspace.project.read_only
    workspace.shut_down()
