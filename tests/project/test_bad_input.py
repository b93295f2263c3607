"""Projects that were damaged, lost a part or are newer: a clear message, the rest is usable, nothing is overwritten."""

import contextlib
import sqlite3

import numpy as np
import pytest
import tifffile

from napari_amvlm.errors import ProjectError
from napari_amvlm.exports import LEFT_OUT, export_coco, export_geojson, export_labels
from napari_amvlm.project import Answer, Project
from napari_amvlm.session import learning_data
from tests.damaged import snapshot


@pytest.fixture
def accepted(project, pixels, random_mask, tmp_path):
    """Return a project with three images, two of them in files, and an accepted mask of each."""
    for number in range(3):
        path = tmp_path / f"tile-{number}.tif"
        tifffile.imwrite(path, pixels(number), photometric="rgb")
        image = project.images.add_file(path) if number else project.images.add_array(pixels(number), name="tile-0")
        project.corrections.accept(image.id, "nuclei", Answer(random_mask(number)))
    return project


def _names_learnt(project):
    """Return the names of the images that a run would learn from, and what is told of the others."""
    problems = []
    data = learning_data(project, predictor_scales=lambda *_: "tiles", on_problem=problems.append)
    return [image.name for image in data.labelled], problems


def test_a_mask_file_that_is_gone_leaves_the_others_usable(accepted, random_mask, tmp_path):
    lost = accepted.corrections.select()[1]
    (accepted.root / lost.mask_file).unlink()

    with pytest.raises(ProjectError, match=r"-mask\.tif cannot be read .*restore it from a backup, or accept that"):
        accepted.corrections.mask(lost)
    names, problems = _names_learnt(accepted)
    notes = export_coco(accepted, tmp_path / "masks.json")

    assert names == ["tile-0", "tile-2.tif"]
    assert len(problems) == 1
    assert [note.startswith(f"{LEFT_OUT} tile-1.tif: the mask") for note in notes] == [True]
    again = accepted.corrections.accept(lost.image_id, "nuclei", Answer(random_mask(7)))
    assert np.array_equal(accepted.corrections.mask(again), random_mask(7))
    assert export_coco(accepted, tmp_path / "masks.json") == []


@pytest.mark.parametrize("kind", ["geojson", "labels"])
def test_exports_leave_out_what_cannot_be_read_and_say_so(accepted, tmp_path, kind):
    if kind == "labels":
        export_labels(accepted, tmp_path / "out", "tiff")  # the one before has it
    (accepted.root / accepted.corrections.select()[1].mask_file).write_bytes(b"no mask any more")

    if kind == "geojson":
        notes = export_geojson(accepted, tmp_path / "out")
        written = {path.name for path in (tmp_path / "out").iterdir()}
        assert written == {"tile-0.geojson", "tile-2.geojson"}
    else:
        notes = export_labels(accepted, tmp_path / "out", "tiff")
        assert {path.name for path in (tmp_path / "out" / "labelcol").iterdir()} == {"tile-0.tif", "tile-2.tif"}

    assert [note.startswith(f"{LEFT_OUT} tile-1.tif") for note in notes] == [True]


def test_without_any_mask_there_is_nothing_to_export(accepted, tmp_path):
    for correction in accepted.corrections.select():
        (accepted.root / correction.mask_file).unlink()

    with pytest.raises(ProjectError, match="cannot be read"):
        export_coco(accepted, tmp_path / "masks.json")

    assert not (tmp_path / "masks.json").exists()


def test_an_image_that_changed_since_it_was_annotated(accepted, pixels, tmp_path):
    tifffile.imwrite(tmp_path / "tile-1.tif", pixels(9), photometric="rgb")
    before = snapshot(tmp_path)

    with pytest.raises(ProjectError, match=r"tile-1\.tif was changed since it was added .*restore it, or add it as a"):
        accepted.images.load(accepted.images.all()[1])
    names, problems = _names_learnt(accepted)
    notes = export_labels(accepted, tmp_path / "out", "png", images=True)

    assert names == ["tile-0", "tile-2.tif"]
    assert len(problems) == 1
    assert len(notes) == 1
    assert "not the image itself" in notes[0]
    assert {path.name for path in (tmp_path / "out" / "img").iterdir()} == {"tile-0.tif", "tile-2.tif"}
    assert len(list((tmp_path / "out" / "labelcol").iterdir())) == 3
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before if name.startswith("tile")} == {
        name: content for name, content in before.items() if name.startswith("tile")
    }
    added = accepted.images.add_file(tmp_path / "tile-1.tif")
    assert added.id not in {1, 2, 3}


@pytest.mark.parametrize("damage", ["newer", "header", "middle"])
def test_a_project_that_cannot_be_opened_stays_as_it_is(accepted, pixels, tmp_path, damage):
    accepted.close()
    ledger = accepted.root / "project.sqlite"
    if damage == "newer":
        with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        content = bytearray(ledger.read_bytes())
        place = 0 if damage == "header" else 8192
        content[place : place + 4000] = b"\xa5" * 4000
        ledger.write_bytes(content)
    before = snapshot(accepted.root)
    said = "schema version 99.*update it" if damage == "newer" else "backup, or start a new project"

    for read_only in (True, False):
        with pytest.raises(ProjectError, match=said):
            Project.open(accepted.root, read_only=read_only)
    with pytest.raises(ProjectError, match="is a project already"):
        Project.create(accepted.root)

    after = snapshot(accepted.root)
    assert {name: after[name] for name in before if name != "writer.lock"} == {
        name: content for name, content in before.items() if name != "writer.lock"
    }
    with Project.create(tmp_path / "new.amvlm") as new:
        assert new.images.add_array(pixels(0)).id == 1
