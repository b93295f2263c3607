"""A project that an earlier program wrote, opened by this one."""

import hashlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from napari_amvlm import files
from napari_amvlm.errors import ProjectError
from napari_amvlm.project import Answer, Project, PromptStyle
from napari_amvlm.project.prompts import PALETTE
from napari_amvlm.project.schema import SCHEMA_VERSION

WRITTEN_WITH_SCHEMA_1 = Path(__file__).parent / "written_with_schema_1"
WRITTEN_WITH_SCHEMA_2 = Path(__file__).parent / "written_with_schema_2"
WRITTEN_WITH_SCHEMA_3 = Path(__file__).parent / "written_with_schema_3"
WRITTEN_WITH_SCHEMA_4 = Path(__file__).parent / "written_with_schema_4"
SHAPE = (12, 16)


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(WRITTEN_WITH_SCHEMA_1, tmp_path / "breast.amvlm"))


def _hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _dump(path):
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def _mask(number):
    return np.random.default_rng([number, 1]).random(SHAPE) > 0.5


def test_every_byte_of_masks_images_and_models_stays(old):
    before = {name: _hashes(old / name) for name in ("masks", "images", "models")}

    with Project.open(old) as project:
        current = {(c.image_id, c.prompt): project.corrections.mask(c) for c in project.corrections.select()}
        history = project.corrections.select(history=True)
        states = {c.id: project.corrections.states(c) for c in history}

    assert before == {name: _hashes(old / name) for name in ("masks", "images", "models")}
    assert len(before["masks"]) == 11
    numbers = {(1, "nuclei"): 1, (2, "nuclei"): 2, (3, "nuclei"): 3, (4, "nuclei"): 4, (1, "gland"): 5}
    assert current.keys() == numbers.keys()
    assert all(np.array_equal(current[key], _mask(number)) for key, number in numbers.items())
    assert [c.state for c in history] == ["superseded", *["current"] * 5, "withdrawn"]
    assert (history[0].threshold, history[0].seconds_spent, history[0].model) == (0.4, 12.5, "amvlm-open")
    # What is known of each pixel follows from what schema 1 kept: proposal, answer, and what was reviewed.
    assert np.array_equal(states[1] == 2, _mask(0) != _mask(10))
    assert not states[3][6:].any()
    assert states[3][:6].all()


def test_decisions_models_and_runs_stay(old):
    with Project.open(old) as project:
        served, (run,) = project.models.served(), project.runs.all()

        assert [record.id for record in project.images.held_out()] == [2, 4]
        assert served is not None
        assert (served.scores, served.licence, served.discarded) == ({"after": 0.8}, "CC0-1.0", False)
        assert (run.state, run.result, run.model_id) == ("finished", {"steps": 7}, served.id)
        assert project.runs.corrections(run.id) == {2: "train", 5: "validate"}


def test_the_queue_knows_what_was_done(old):
    with Project.open(old) as project:
        found = {item.name: item.status for item in project.queue.items()}
        late = project.images.add_array(np.zeros(SHAPE, np.uint8), name="late")

        assert found == {
            **{f"tile {n}": "accepted" for n in (0, 2, 3)},
            "tile 1": "in work",
            "tile 4": "new",
            "tile 5": "new",
        }
        assert project.queue.items()[-1].image_id == late.id


def test_the_ledger_as_it_was_is_kept_beside(old):
    before = _dump(old / "project.sqlite")

    Project.open(old).close()
    Project.open(old).close()

    assert [path.name for path in old.glob("project-schema-*")] == ["project-schema-1.sqlite"]
    assert _dump(old / "project-schema-1.sqlite") == before


def test_the_backup_can_be_put_back(old):
    Project.open(old).close()
    (old / "project.sqlite").unlink()
    (old / "project-schema-1.sqlite").rename(old / "project.sqlite")

    with Project.open(old) as project:
        assert len(project.corrections.select()) == 5


def test_an_earlier_backup_is_not_overwritten(old):
    (old / "project-schema-1.sqlite").write_bytes(b"mine")

    Project.open(old).close()

    assert (old / "project-schema-1.sqlite").read_bytes() == b"mine"
    assert (old / "project-schema-1-2.sqlite").is_file()


def test_without_a_backup_nothing_is_migrated(old, monkeypatch):
    before = _dump(old / "project.sqlite")

    def refuse(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(ProjectError, match="free some space"):
        Project.open(old)

    assert _dump(old / "project.sqlite") == before
    assert not list(old.glob(".tmp-*"))


def test_a_reader_says_that_a_writer_must_come_first(old):
    before = _dump(old / "project.sqlite")

    with pytest.raises(ProjectError, match="open it for writing once"):
        Project.open(old, read_only=True)

    assert _dump(old / "project.sqlite") == before


def test_what_schema_2_kept_stays(tmp_path):
    root = Path(shutil.copytree(WRITTEN_WITH_SCHEMA_2, tmp_path / "spine.amvlm"))
    before = _hashes(root / "masks")

    with Project.open(root) as project:
        found = project.corrections.select()
        masks = {c.id: project.corrections.mask(c) for c in found}
        (separate,) = [c for c in found if c.objects_file is not None]
        assert [record.name for record in project.images.held_out()] == ["slide region 3"]
        assert [record.name for record in project.images.unlabelled()] == ["slide region 4", "slide region 5"]
        assert (separate.scale, separate.magnification) == ("tiles", 2.0)
        assert project.locks.unlocked(separate) == {2}
        assert [item.region is None for item in project.queue.items()] == [True] * 4 + [True, False, False]
        assert project.prompts.get("nuclei").threshold == 0.45

    assert len(masks) == 5
    assert before == _hashes(root / "masks")
    assert (root / "project-schema-2.sqlite").is_file()


@pytest.fixture
def flat(tmp_path):
    """Return a project in which lungs, left lung, right lung and infection were painted in one flat layer."""
    return Path(shutil.copytree(WRITTEN_WITH_SCHEMA_3, tmp_path / "chest.amvlm"))


def test_what_schema_3_kept_stays(flat):
    before = _hashes(flat / "masks")

    with Project.open(flat) as project:
        history = project.corrections.select(history=True)
        assert [c.state for c in history] == [*["current"] * 5, "superseded", "current", "withdrawn"]
        assert [project.corrections.mask(c).shape for c in history] == [SHAPE] * 8
        assert project.drafts.all() == []

    assert before == _hashes(flat / "masks")
    assert (flat / "project-schema-3.sqlite").is_file()


def test_prompts_get_their_styles_in_the_order_of_first_use(flat):
    with Project.open(flat) as project:
        styles = {record.text: record.style for record in project.prompts.all()}

    names = ("lungs", "left lung", "right lung", "infection")
    assert styles == {name: PromptStyle(n + 1, PALETTE[n]) for n, name in enumerate(names)}


def test_decisions_of_before_can_be_undone(flat):
    with Project.open(flat) as project:
        corrections = project.corrections
        assert corrections.undo_steps(3, "infection") == (2, 0)
        assert corrections.undo_steps(3, "lungs") == (2, 0)

        infection, lungs = corrections.undo(3, "infection"), corrections.undo(3, "lungs")

        assert (infection.id, lungs.id, lungs.threshold) == (8, 6, 0.5)
        assert corrections.undo(3, "infection") is None
        assert len(corrections.select(history=True)) == 8


def test_masks_that_were_possibly_cut_are_listed(flat):
    with Project.open(flat) as project:
        found = {(cut.image_name, cut.prompt): cut for cut in project.corrections.possibly_cut()}

        lungs = found.pop(("x-ray 0", "lungs"))
        # of left and right lung each pixel was proposed as lungs too
        assert (set(lungs.hidden_by), lungs.pixels) == ({"left lung", "right lung"}, 6 * 8 + 5 * 8)
        # nothing is known of what was proposed, or nothing of that is missing: the masks only touch
        assert {key: (cut.hidden_by, cut.pixels) for key, cut in found.items()} == {
            ("x-ray 0", "left lung"): (("lungs",), 0),
            ("x-ray 0", "right lung"): (("lungs",), 0),
            ("x-ray 1", "lungs"): (("infection",), 0),
            ("x-ray 1", "infection"): (("lungs",), 0),
        }

        project.corrections.accept(1, "lungs", Answer(np.ones(SHAPE, np.bool_)))
        assert ("x-ray 0", "lungs") not in {(c.image_name, c.prompt) for c in project.corrections.possibly_cut()}


def test_what_schema_4_kept_stays(tmp_path):
    root = Path(shutil.copytree(WRITTEN_WITH_SCHEMA_4, tmp_path / "tiles.amvlm"))
    before = {name: _hashes(root / name) for name in ("masks", "drafts", "images")}

    with Project.open(root) as project:
        corrections = project.corrections
        current = {(c.image_id, c.prompt): c for c in corrections.select()}
        drafts = {(d.image_id, d.prompt): project.drafts.load(d) for d in project.drafts.all()}
        nuclei, (run,) = current[1, "nuclei"], project.runs.all()

        assert current.keys() == {(1, "nuclei"), (1, "gland"), (2, "gland")}
        assert [int(corrections.objects(nuclei)[place]) for place in ((1, 1), (6, 2), (0, 0))] == [3, 7, 0]
        assert (nuclei.model, nuclei.threshold, nuclei.seconds_spent) == ("amvlm-open", 0.4, 12.5)
        assert np.array_equal(corrections.before(nuclei), _mask(9))
        assert np.array_equal(corrections.mask(current[1, "gland"]), _mask(2))
        assert np.array_equal(corrections.mask(current[2, "gland"]), _mask(3))
        assert [corrections.undo_steps(image, "gland") for image in (1, 2, 3)] == [(1, 0), (1, 1), (2, 0)]
        assert np.array_equal(corrections.mask(corrections.redo(2, "gland")), _mask(4))
        assert project.prompts.style("nuclei") == PromptStyle(1, PALETTE[0], separate_objects=True)
        assert project.prompts.style("gland") == PromptStyle(2, "#aa3377")
        assert drafts.keys() == {(4, "nuclei"), (1, "gland")}
        assert np.array_equal(drafts[4, "nuclei"].mask, _mask(6))
        assert np.array_equal(drafts[4, "nuclei"].before, _mask(7))
        assert [record.id for record in project.images.held_out()] == [2]
        assert {item.image_id: item.status for item in project.queue.items()}[3] == "skipped"
        assert (run.state, run.result) == ("stopped", {"steps": 7})
        assert [(s.image_id, s.before, s.after, s.prompt) for s in project.runs.scores(run.id)] == [(2, 0.5, 0.8, "")]

    assert before == {name: _hashes(root / name) for name in before}
    assert (root / "project-schema-4.sqlite").is_file()


def test_nothing_was_cut_in_a_new_project(tmp_path):
    with Project.create(tmp_path / "new.amvlm") as project:
        image = project.images.add_array(np.zeros(SHAPE, np.uint8))
        project.corrections.accept(image.id, "left", Answer(_mask(0)))
        project.corrections.accept(image.id, "right", Answer(~_mask(0)))

        assert project.corrections.possibly_cut() == []


@pytest.mark.parametrize(
    "written",
    [WRITTEN_WITH_SCHEMA_1, WRITTEN_WITH_SCHEMA_2, WRITTEN_WITH_SCHEMA_3, WRITTEN_WITH_SCHEMA_4],
    ids=["1", "2", "3", "4"],
)
def test_a_migrated_ledger_has_the_tables_of_a_new_one(written, tmp_path):
    old = Path(shutil.copytree(written, tmp_path / "old.amvlm"))
    Project.open(old).close()
    Project.create(tmp_path / "new.amvlm").close()

    schemas = []
    for root in (old, tmp_path / "new.amvlm"):
        connection = sqlite3.connect(root / "project.sqlite")
        schemas.append(connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall())
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        connection.close()

    assert schemas[0] == schemas[1]
