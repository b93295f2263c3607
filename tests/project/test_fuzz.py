"""Damaged projects: a clear error or what was accepted, never a crash, a hang, or a write where nothing was opened."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from hypothesis import strategies as st

from napari_amvlm.errors import AmvlmError, ProjectError
from napari_amvlm.project import Answer, Project
from napari_amvlm.project.ranking import TileScores
from napari_amvlm.project.records import ImageScore, ResumeState
from tests.damaged import STRANGE, bounded_memory, check_message, damages, few_or_many, snapshot, try_cases

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (24, 30)
SHARED = ("project.sqlite-shm", "project.sqlite-wal", "writer.lock")
"""Files that SQLite and the lock may make beside a ledger that they only look at."""
STATEMENTS = (
    "PRAGMA user_version = 99",
    "PRAGMA user_version = 1",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = -5",
    "PRAGMA application_id = 7",
    "PRAGMA journal_mode = DELETE",
    "DROP TABLE corrections",
    "DROP TABLE queue_items",
    "DROP TABLE facts",
    "ALTER TABLE images DROP COLUMN added_at",
    "ALTER TABLE images RENAME TO pictures",
    "DELETE FROM images",
    "DELETE FROM prompts",
    "CREATE TRIGGER mine AFTER INSERT ON corrections BEGIN DELETE FROM corrections; END",
    "CREATE VIEW mine AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n",
    "CREATE TABLE mine (x)",
    "UPDATE queue_items SET y = 1",
    "UPDATE images SET height = 1000000000000, width = 1000000000000",
    "UPDATE corrections SET state = 'current' WHERE id = 1",
)


@dataclass(frozen=True)
class Filled:
    """A project closed in order, the same as a kill leaves it, and what was accepted in it by correction."""

    closed: Path
    killed: Path
    accepted: dict[int, np.ndarray]


def _numbers(seed):
    return np.random.default_rng(seed).integers(0, 4, SHAPE)


def _fill(project, outside):
    for number, name in enumerate(("slide.tif", "other.tif")):
        tifffile.imwrite(outside / name, _numbers(10 + number).astype(np.uint8), photometric="minisblack")
    images = [project.images.add_array(_numbers(n).astype(np.uint8), name=f"image {n}") for n in range(4)]
    images.append(project.images.add_file(outside / "slide.tif"))
    images.append(project.images.add_file(outside / "other.tif", copy=True))
    accepted = {}
    for seed, image in enumerate(images):
        numbers, before, seen = _numbers(seed), _numbers(seed + 50) > 1, _numbers(seed + 90) > 0
        rest = {"model": "m", "threshold": 0.5, "magnification": 2.0, "scale": "tiles"}
        for prompt, reviewed in (("nuclei", None), ("stroma", seen), ("nuclei", seen)):
            kept = project.corrections.accept(
                image.id, prompt, Answer(numbers > 0, before=before, reviewed=reviewed, objects=numbers, **rest)
            )
            accepted[kept.id] = numbers > 0
    project.prompts.set_up("nuclei", threshold=0.4)
    item = project.queue.items()[0]
    tiles = np.array([[0, 0, 24, 30]], np.int32)
    project.queue.store_scores(item.id, "nuclei", TileScores(tiles, np.full(1, 0.5, "f4"), np.full(1, 0.2, "f4")))
    project.queue.store_feature(item.id, np.arange(5))
    project.locks.set(project.corrections.select()[0], [1], False)
    model = outside / "model.safetensors"
    model.write_bytes(b"weights" * 50)
    record = project.models.add(model, None, {"after": 0.5})
    trained = [c.id for c in project.corrections.select() if not project.images.get(c.image_id).held_out]
    run = project.runs.start({"seed": 1}, parent="start", train=trained, unlabelled=[])
    held_out = project.corrections.select(images[3].id)[0]
    score = ImageScore(images[3].id, images[3].name, 0.25, 0.5, held_out.prompt, held_out.id)
    project.runs.store_scores(run.id, [score])
    project.runs.finish(run.id, result={"steps": 3}, model_id=record.id)
    project.models.serve(record.id)
    project.store_resume_state(ResumeState(image_id=1, camera_centre=(1.0, 2.0), step=(3,), prompt="nuclei"))
    return accepted


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    place = tmp_path_factory.mktemp("filled")
    (place / "outside").mkdir()
    with Project.create(place / "p.amvlm") as project:
        accepted = _fill(project, place / "outside")
        shutil.copytree(project.root, place / "killed.amvlm")
    assert (place / "killed.amvlm" / "project.sqlite-wal").stat().st_size > 0
    return Filled(place / "p.amvlm", place / "killed.amvlm", accepted)


def _set_value(root, which, value):
    """Put a strange value into some column of some row, as far as the table takes values of its type."""
    with contextlib.closing(sqlite3.connect(root / "project.sqlite", isolation_level=None)) as ledger:
        ledger.execute("PRAGMA ignore_check_constraints = ON")
        names = [row[0] for row in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        tables = [name for name in names if not name.startswith("sqlite_")]
        table = tables[which % len(tables)]
        columns = [row[1] for row in ledger.execute(f"PRAGMA table_info({table})")]
        column = columns[which // len(tables) % len(columns)]
        if isinstance(value, (list, dict)):
            value = b"\xff\0" * 7
        with contextlib.suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):
            last = f"(SELECT MAX({column}) FROM {table})"
            ledger.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = {last}", (value,))


def _spoil(root, kind, damage, which, value):
    """Damage a project in one of many ways."""
    ledger = root / "project.sqlite"
    if kind == "ledger":
        ledger.write_bytes(damage(ledger.read_bytes()))
    elif kind == "log" and (root / "project.sqlite-wal").exists():
        log = root / "project.sqlite-wal"
        log.write_bytes(damage(log.read_bytes()))
    elif kind == "value":
        _set_value(root, which, value)
    elif kind == "statement":
        with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
            with contextlib.suppress(sqlite3.Error):
                connection.execute(STATEMENTS[which % len(STATEMENTS)])
    elif kind == "file":
        files = sorted(path for name in ("masks", "images", "models") for path in (root / name).iterdir())
        path = files[which % len(files)]
        content = damage(path.read_bytes())
        path.unlink()
        if which % 5 == 1:
            path.mkdir()
        elif which % 5 == 2:
            path.symlink_to(root.parent / "outside" / "slide.tif")
        elif which % 5 > 2:
            path.write_bytes(content)
    else:
        _redirect(root, ("masks", "images", "models", "runs", "writer.lock", "project.sqlite-wal")[which % 6], which)


def _redirect(root, name, which):
    """Put a link that leads out of the project, an empty file, or nothing, where a folder or file of the project is."""
    place = root / name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    if which // 6 % 3 == 0:
        outside = root.parent / "outside"
        place.symlink_to(outside if name in ("masks", "images", "models", "runs") else outside / "slide.tif")
    elif which // 6 % 3 == 1:
        place.write_bytes(b"")


def _calls(project):
    """Yield everything that one may ask a project."""
    images, corrections, models = project.images, project.corrections, project.models
    queue, prompts = project.queue, project.prompts
    yield from (images.all, images.counts, images.missing, images.accepted, corrections.select)
    yield from (models.all, models.servings, models.served, project.runs.all, project.resume_state)
    yield from (queue.items, queue.counts, prompts.all, prompts.overlap_rule, prompts.overlap_order)
    yield from (lambda i=i: queue.scores(i) for i in (1, 2))
    yield from (lambda: queue.feature(1), lambda: project.runs.scores(1), lambda: project.runs.corrections(1))
    for number in range(1, 7):
        yield lambda n=number: project.images.load(project.images.get(n))
        yield lambda n=number: project.locks.pixels(project.images.get(n))
    for number in range(1, 19):
        for load in (corrections.before, corrections.reviewed, corrections.states, corrections.objects):
            yield lambda n=number, f=load: f(corrections.get(n))


def _ask(project, accepted):
    """Ask everything; return how much could not be answered. A mask that is given is the one that was accepted."""
    unanswered = 0
    for call in _calls(project):
        try:
            call()
        except AmvlmError as error:
            check_message(error)
            unanswered += 1
    for number, mask in accepted.items():
        try:
            assert np.array_equal(project.corrections.mask(project.corrections.get(number)), mask)
        except ProjectError as error:
            check_message(error)
            unanswered += 1
    return unanswered


def _change(project):
    """Accept one more mask, which is there afterwards, or say why not."""
    try:
        kept = project.corrections.accept(2, "nuclei", Answer(_numbers(70) > 0))
        assert np.array_equal(project.corrections.mask(kept), _numbers(70) > 0)
        project.queue.sort()
    except AmvlmError as error:
        check_message(error)


def _unshared(root):
    return {name: content for name, content in snapshot(root).items() if name not in SHARED}


def _examine(root, accepted):
    """Open a project for reading and for writing; return how much of it is lost, and 1000 where it is refused."""
    outside, before, lost = snapshot(root.parent / "outside"), _unshared(root), 0
    for read_only in (True, False):
        try:
            with Project.open(root, read_only=read_only) as project:
                lost = _ask(project, accepted)
                assert not read_only or _unshared(root) == before
                if not read_only:
                    _change(project)
        except ProjectError as error:
            check_message(error, str(root))
            assert _unshared(root) == before
            lost = 1000
    assert snapshot(root.parent / "outside") == outside
    return lost


def _fuzz(filled, folder, cases):
    """Return how many cases were tried, how many projects were refused, and how many had lost a part."""
    refused = partly = 0
    root = folder / "case" / "p.amvlm"

    def case(kind, damage, which, value, killed):
        nonlocal refused, partly
        shutil.rmtree(root.parent, ignore_errors=True)
        shutil.copytree(filled.closed.parent / "outside", root.parent / "outside")
        shutil.copytree(filled.killed if killed or kind == "log" else filled.closed, root)
        _spoil(root, kind, damage, which, value)
        lost = _examine(root, filled.accepted)
        refused += lost == 1000
        partly += 0 < lost < 1000

    kinds = st.sampled_from(("ledger", "ledger", "log", "value", "value", "value", "statement", "file", "link"))
    numbers = st.integers(0, 10_000)
    return try_cases(cases, case, kinds, damages(), numbers, st.sampled_from(STRANGE), st.booleans()), refused, partly


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and open files are POSIX")


@pytest.mark.parametrize("which", ["closed", "killed"])
def test_the_intact_project_loses_nothing(filled, tmp_path, which):
    shutil.copytree(filled.closed.parent / "outside", tmp_path / "outside")
    shutil.copytree(getattr(filled, which), tmp_path / "p.amvlm")

    assert _examine(tmp_path / "p.amvlm", filled.accepted) == 0


@few_or_many(50, 800)
def test_damaged_projects_end_in_a_clear_error_or_what_was_accepted(filled, tmp_path, cases):
    with bounded_memory():
        tried, refused, partly = _fuzz(filled, tmp_path, cases)

    assert tried >= cases
    assert cases // 10 < refused < tried
    assert cases // 20 < partly < tried


@pytest.mark.parametrize("name", ["masks", "images", "models", "runs"])
def test_a_folder_that_leads_out_is_not_cleared(filled, tmp_path, name):
    root, outside = tmp_path / "p.amvlm", tmp_path / "outside"
    shutil.copytree(filled.closed, root)
    outside.mkdir()
    (outside / ".tmp-mine").write_text("not a leftover of ours")
    shutil.rmtree(root / name)
    (root / name).symlink_to(outside)

    with pytest.raises(ProjectError, match=rf"names '{name}', which lies outside the project"):
        Project.open(root)

    assert (outside / ".tmp-mine").read_text() == "not a leftover of ours"


@pytest.mark.parametrize("name", ["writer.lock", "project.sqlite-wal", "project.sqlite-journal", "project.sqlite"])
def test_a_file_that_leads_out_is_not_written(filled, tmp_path, name):
    root, mine = tmp_path / "p.amvlm", tmp_path / "mine.txt"
    shutil.copytree(filled.closed, root)
    mine.write_text("my own")
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to(mine)

    with pytest.raises(ProjectError, match="outside the project"):
        Project.open(root)

    assert mine.read_text() == "my own"


def test_a_newer_project_that_was_killed_stays_as_it_is(filled, tmp_path):
    root = tmp_path / "p.amvlm"
    shutil.copytree(filled.killed, root)
    with contextlib.closing(sqlite3.connect(root / "project.sqlite", isolation_level=None)) as ledger:
        ledger.execute("PRAGMA user_version = 99")
        shutil.copytree(root, tmp_path / "newer.amvlm")
    before = snapshot(tmp_path / "newer.amvlm")
    assert before["project.sqlite-wal"]

    with pytest.raises(ProjectError, match="schema version 99"):
        Project.open(tmp_path / "newer.amvlm")

    after = snapshot(tmp_path / "newer.amvlm")
    assert {n: c for n, c in after.items() if n not in ("writer.lock", "project.sqlite-shm")} == {
        n: c for n, c in before.items() if n not in ("writer.lock", "project.sqlite-shm")
    }


def test_a_program_in_the_ledger_is_not_run(filled, tmp_path):
    root = tmp_path / "p.amvlm"
    shutil.copytree(filled.closed, root)
    with contextlib.closing(sqlite3.connect(root / "project.sqlite", isolation_level=None)) as ledger:
        ledger.execute("CREATE TRIGGER mine AFTER UPDATE ON runs BEGIN DELETE FROM corrections; END")

    with pytest.raises(ProjectError, match="trigger 'mine', which napari-amvlm did not write"):
        Project.open(root)


def test_a_mask_of_a_strangers_file_is_bounded(filled, tmp_path):
    root = tmp_path / "p.amvlm"
    shutil.copytree(filled.closed, root)
    bomb = tmp_path / "bomb.tif"
    tifffile.imwrite(bomb, np.zeros((9000, 9000), np.uint8), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(bomb, mode="r+") as file:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[tag].overwrite(200_000)
    content = bomb.read_bytes()
    with Project.open(root, read_only=True) as project:
        victim = project.corrections.get(1)
    (root / victim.mask_file).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with contextlib.closing(sqlite3.connect(root / "project.sqlite", isolation_level=None)) as ledger:
        ledger.execute("UPDATE corrections SET mask_sha256 = ? WHERE id = 1", (digest,))

    with bounded_memory(), Project.open(root, read_only=True) as project:
        with pytest.raises(ProjectError, match=r"accept that image again|cannot be read"):
            project.corrections.mask(project.corrections.get(1))
        assert np.array_equal(project.corrections.mask(project.corrections.get(2)), filled.accepted[2])

    assert os.path.getsize(root / victim.mask_file) == len(content)
