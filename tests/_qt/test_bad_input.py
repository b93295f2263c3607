"""What cannot be used gives one clear sentence, loses nothing, and leaves the docks usable."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from napari_amvlm._qt.annotate.dock import AnnotateDock
from napari_amvlm._qt.widgets.budget import Budget
from napari_amvlm._qt.workspace import Workspace
from napari_amvlm.project import Project
from tests.project.test_migration import WRITTEN_WITH_SCHEMA_3


def _add(bench, data, **options):
    bench.viewer.add_image(data, name="odd", **options)


UNUSABLE = (
    (np.zeros((64, 64, 2), np.uint8), {}, "Image 'odd' has 2 channels (64 x 64 x 2)"),
    (np.zeros((5, 8, 64), np.uint8), {}, "16"),
    ([np.full((64, 64), np.nan), np.full((32, 32), np.nan)], {"multiscale": True}, "finite"),
    ([np.zeros((8, 64)), np.zeros((4, 32))], {"multiscale": True}, "16"),
    (np.full((3, 64, 64), np.nan, np.float32), {}, "finite"),
    (np.zeros((1, 1), np.uint8), {}, "16"),
    (np.full((64, 64), np.nan, np.float32), {}, "finite"),
)


def test_an_image_that_cannot_be_used(bench):
    for data, options, words in UNUSABLE:
        _add(bench, data, **options)

        bench.run("nuclei")

        level, text = bench.annotate.panel.status.value()
        assert (level, text.count("\n")) == ("error", 0)
        assert words in text
        assert [layer.name for layer in bench.viewer.layers] == ["slide", "odd"]
        assert bench.annotate.panel.run_button.isEnabled()
        bench.viewer.layers.remove("odd")


def test_nan_and_infinite_pixels_are_told_of_and_the_rest_is_used(bench):
    data = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    data[3, 4], data[5, 6] = np.nan, np.inf
    said = []
    bench.workspace.said.connect(lambda level, text: said.append(text) if level == "warning" else None)
    _add(bench, data)

    bench.run("nuclei")

    assert said == ["2 pixels are not finite numbers; they count as the darkest pixel of the image."]
    assert np.isfinite(bench.annotate.annotation().results["nuclei"].prediction.probability).all()


def test_a_prompt_that_is_empty_or_far_too_long_leaves_the_list_as_it_was(bench):
    bench.run("  ; ")
    empty = bench.annotate.panel.status.value()
    bench.run("nuclei " * 2000)

    assert empty == ("warning", "The prompt is empty; type what to find, for example nuclei.")
    assert bench.annotate.panel.status.value()[0] == "error"
    assert bench.annotate.panel.prompts.value() == []


def test_a_run_that_fails_leaves_the_prompts_of_the_project_on_the_list(bench, tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project:
        project.prompts.add("nuclei")
        project.prompts.add("glands")
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()

    bench.run("nuclei " * 2000)

    assert bench.annotate.panel.status.value()[0] == "error"
    assert bench.workspace.prompts == ["nuclei", "glands"]


def test_what_a_person_drew_before_is_kept(bench):
    drawn = np.zeros((96, 96), np.uint8)
    drawn[:10, :10] = 1
    bench.viewer.add_labels(drawn, name="mine")
    bench.run("nuclei")
    bench.annotate.panel.objects.takeRequested.emit("mine")

    bench.annotate.panel.threshold.setValue(1.0)
    bench.idle()

    np.testing.assert_array_equal(bench.annotate.annotation().mask("nuclei"), drawn > 0)


def test_objects_of_another_layer_stay_apart_from_those_that_are_there(bench):
    bench.run("nuclei")
    annotation = bench.annotate.annotation()
    bench.annotate.panel.instances.setChecked(True)
    bench.idle()
    annotation.change_objects("nuclei", np.pad(np.full((10, 10), 2), ((40, 46), (40, 46))))
    high = np.zeros((96, 96), np.uint32)
    high[40:50, 50:60], high[60:70, 50:60] = 2, 4_000_000_000
    flags = np.zeros((96, 96), np.uint8)
    flags[80:84, 5:9] = flags[80:84, 20:24] = 1
    for name, values in (("high", high), ("flags", flags)):
        bench.viewer.add_labels(values, name=name)
        bench.annotate.panel.objects.takeRequested.emit(name)

    plane = annotation.plane("nuclei")

    assert [int(plane[at]) for at in ((45, 45), (45, 55), (65, 55), (82, 7), (82, 22))] == [2, 3, 4, 5, 6]
    assert bench.annotate.objects.count() == 5


def test_no_image(bench):
    bench.viewer.layers.clear()

    bench.run("nuclei")

    assert bench.status() == "Open an image first."


def test_a_mask_that_was_removed_is_shown_again(bench):
    bench.run("nuclei")
    bench.viewer.layers.remove("slide \N{MIDDLE DOT} nuclei")
    bench.annotate.panel.threshold.setValue(0.2)
    bench.idle()

    bench.run("nuclei")

    assert "slide \N{MIDDLE DOT} nuclei" in bench.viewer.layers


def test_a_model_file_that_is_damaged(make_napari_viewer, qtbot, tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"not a model")
    viewer = make_napari_viewer()
    workspace = Workspace()
    dock = AnnotateDock(viewer, workspace)
    qtbot.addWidget(dock)
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=60_000)

    workspace.load_model(path)
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=60_000)

    assert workspace.model_state == "failed"
    assert "broken.safetensors" in dock.panel.model.value()[1]


def test_a_served_model_stays_when_another_cannot_be_read(bench, tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"not a model")
    before = bench.workspace.served_key()

    bench.learn.panel.models.serveRequested.emit(str(path))
    bench.idle()

    assert bench.learn.panel.status.value()[0] == "error"
    assert bench.workspace.served_key() == before
    bench.run("nuclei")
    assert "slide \N{MIDDLE DOT} nuclei" in bench.viewer.layers


def test_a_device_that_is_not_there(bench):
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    bench.learn.panel.budget.setValue(Budget("cuda:7", 1.0))

    bench.learn.start()
    bench.idle()

    level, text = bench.learn.panel.status.value()
    assert level == "error"
    assert "'cuda:7' is not there" in text
    assert bench.learn.panel.start_button.isEnabled()


def test_a_project_that_another_program_uses(bench, tmp_path):
    offered = []
    bench.annotate.ask_read_only = lambda _dock, path: offered.append(path)
    with Project.create(tmp_path / "busy.amvlm"):
        bench.annotate.panel.project.chosen.emit(tmp_path / "busy.amvlm")
        bench.idle()

    assert offered == [tmp_path / "busy.amvlm"]
    assert bench.workspace.project is None


def test_a_folder_that_is_no_project(bench, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.txt").write_text("x")

    bench.annotate.panel.project.chosen.emit(folder)
    bench.idle()

    assert "photos is not empty and is no project" in bench.status()


def test_an_unreadable_file_does_not_keep_the_others_out(bench, tmp_path):
    import PIL.Image

    PIL.Image.fromarray(bench.viewer.layers["slide"].data).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")

    bench.learn.add_files([tmp_path / "bad.png", tmp_path / "good.png"])
    bench.idle()

    level, text = bench.learn.panel.status.value()
    assert level == "warning"
    assert text.startswith("Added to the project: 1 image.")
    assert "bad.png" in text


@contextlib.contextmanager
def _full_disk():
    """Have the system refuse to write larger files, as it does on a full disk."""
    resource = pytest.importorskip("resource", reason="file size limits are POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("capsys")  # what is printed must not go to a file, which may not grow either
def test_a_full_disk_at_accept_keeps_the_mask_and_says_so(bench):
    bench.run("nuclei")
    before = bench.viewer.layers["slide \N{MIDDLE DOT} nuclei"].data.copy()
    bench.annotate.accept()
    bench.idle()
    bench.annotate.panel.prompts.finishedToggled.emit("nuclei", False)
    bench.annotate.panel.threshold.setValue(0.0)
    bench.idle()

    with _full_disk():
        bench.annotate.accept()
        bench.idle()

    level, text = bench.annotate.panel.status.value()
    assert level == "error", text
    assert "free some space" in text
    assert len(bench.workspace.project.corrections.select(history=True)) == 1
    assert not bench.annotate.panel.prompts.value()[0].finished
    assert bench.viewer.layers["slide \N{MIDDLE DOT} nuclei"].data.shape == before.shape
    bench.annotate.accept()
    bench.idle()
    assert len(bench.workspace.project.corrections.select(history=True)) == 2


@pytest.mark.usefixtures("capsys")
def test_a_full_disk_while_a_draft_is_kept_loses_no_paint_and_says_so(bench):
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    rows, columns = (part.ravel() for part in np.mgrid[10:20, 30:50])
    bench.layer().data_setitem((rows, columns), 1)
    bench.layer().data_setitem((rows + 30, columns), 0)
    annotation, drafts = bench.annotate.annotation(), bench.workspace.project.drafts
    painted = annotation.mask("nuclei")

    with _full_disk():
        bench.annotate.drafts.keep(annotation)
        bench.idle()

    level, text = bench.annotate.panel.status.value()
    assert level == "error", text
    assert "free some space" in text
    assert drafts.all() == []
    np.testing.assert_array_equal(annotation.mask("nuclei"), painted)
    bench.annotate.drafts.keep(annotation)
    bench.idle()
    [draft] = drafts.all()
    np.testing.assert_array_equal(drafts.load(draft).mask, painted)


@pytest.mark.parametrize(("damage", "said"), [("newer", "schema version 99"), ("garbage", "restore it from a backup")])
def test_a_project_that_cannot_be_opened_leaves_the_docks_usable(bench, tmp_path, damage, said):
    with Project.create(tmp_path / "old.amvlm"):
        pass
    ledger = tmp_path / "old.amvlm" / "project.sqlite"
    if damage == "newer":
        with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        ledger.write_bytes(b"this was a database once" * 400)
    before = ledger.read_bytes()

    bench.annotate.panel.project.chosen.emit(tmp_path / "old.amvlm")
    bench.idle()

    level, text = bench.annotate.panel.status.value()
    assert level == "error"
    assert said in text
    assert ledger.read_bytes() == before
    bench.run("nuclei")
    bench.annotate.panel.project.chosen.emit(tmp_path / "new.amvlm")
    bench.idle()
    bench.annotate.accept()
    bench.idle()
    assert len(bench.workspace.project.corrections.select()) == 1


def test_what_an_older_version_may_have_cut_is_said_when_its_project_is_opened(bench, tmp_path):
    root = Path(shutil.copytree(WRITTEN_WITH_SCHEMA_3, tmp_path / "chest.amvlm"))
    said = []
    bench.workspace.said.connect(lambda level, text: said.append(text) if level == "warning" else None)

    bench.annotate.panel.project.chosen.emit(root)
    bench.idle()

    assert [text for text in said if "older version" in text] == [
        "An older version may have cut accepted masks where others covered them: lungs on x-ray 0. Run each prompt "
        "again, and accept it."
    ]
    corrections = bench.workspace.project.corrections
    assert all(corrections.mask(each).any() for each in corrections.select())
