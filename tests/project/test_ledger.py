import errno
import os
import shutil
import sqlite3
import subprocess
import threading

import pytest

from napari_amvlm.errors import ProjectBusyError, ProjectError
from napari_amvlm.project import Answer, Project, storage
from napari_amvlm.project.schema import SCHEMA_VERSION

HOLD = """
import sys
from napari_amvlm.project import Project
project = Project.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""

TRY = """
import sys
from napari_amvlm.errors import ProjectBusyError
from napari_amvlm.project import Project
try:
    Project.open(sys.argv[1])
except ProjectBusyError as error:
    print(error)
"""


def _edit(root, statement):
    connection = sqlite3.connect(root / "project.sqlite", isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_create_makes_the_folder_and_keeps_the_name(tmp_path):
    with Project.create(tmp_path / "a" / "lungs.amvlm", name="Lungs of spring") as project:
        folders = {path.name for path in project.root.iterdir() if path.is_dir()}

    assert {"images", "masks", "models", "runs"} <= folders
    with Project.open(tmp_path / "a" / "lungs.amvlm") as again:
        assert again.name == "Lungs of spring"


def test_the_name_of_the_folder_is_the_name_of_the_project(tmp_path):
    with Project.open_or_create(tmp_path / "lungs.amvlm") as project:
        assert project.name == "lungs"


def test_open_or_create_opens_what_is_there(project, pixels):
    project.images.add_array(pixels(0))
    project.close()

    with Project.open_or_create(project.root) as again:
        assert len(again.images.all()) == 1


def test_create_refuses_a_project(project):
    project.close()

    with pytest.raises(ProjectError, match="is a project already"):
        Project.create(project.root)


def test_create_refuses_a_folder_with_other_files_and_leaves_it(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")

    with pytest.raises(ProjectError, match="not empty"):
        Project.create(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_create_refuses_a_file(tmp_path):
    (tmp_path / "a.amvlm").write_bytes(b"x")

    with pytest.raises(ProjectError, match="is a file"):
        Project.create(tmp_path / "a.amvlm")


def test_create_goes_on_where_a_crash_left_only_temporary_files(tmp_path):
    root = tmp_path / "a.amvlm"
    root.mkdir()
    (root / ".tmp-1234.sqlite").write_bytes(b"half")
    (root / "writer.lock").write_bytes(b"1")

    with Project.create(root) as project:
        assert project.images.all() == []

    assert not list(root.glob(".tmp-*"))


@pytest.mark.parametrize("name", ["missing", "."])
def test_open_refuses_what_is_no_project(tmp_path, name):
    with pytest.raises(ProjectError, match=r"has no project\.sqlite"):
        Project.open(tmp_path / name)

    assert not list(tmp_path.iterdir())


def test_open_refuses_a_newer_project_and_leaves_it(project):
    project.close()
    _edit(project.root, "PRAGMA user_version = 99")
    before = (project.root / "project.sqlite").read_bytes()

    with pytest.raises(ProjectError, match="schema version 99"):
        Project.open(project.root)

    assert (project.root / "project.sqlite").read_bytes() == before


def test_open_refuses_a_foreign_database(project):
    project.close()
    _edit(project.root, "PRAGMA application_id = 7")

    with pytest.raises(ProjectError, match="not a napari-amvlm ledger"):
        Project.open(project.root)


@pytest.mark.parametrize("read_only", [True, False])
def test_open_refuses_garbage(project, read_only):
    project.close()
    (project.root / "project.sqlite").write_bytes(b"this was a database once" * 400)

    with pytest.raises(ProjectError, match="not a readable project ledger"):
        Project.open(project.root, read_only=read_only)


def test_open_refuses_a_schema_that_is_no_text(project):
    root = project.root
    project.close()
    ledger = root / "project.sqlite"
    content = ledger.read_bytes()
    ledger.write_bytes(content.replace(b"CREATE TABLE images", b"CREATE T\xab\xabLE images"))

    with pytest.raises(ProjectError, match="is not a readable project ledger"):
        Project.open(root)


def test_open_refuses_a_truncated_ledger(project, pixels):
    project.images.add_array(pixels(0))
    project.close()
    ledger = project.root / "project.sqlite"
    ledger.write_bytes(ledger.read_bytes()[: ledger.stat().st_size // 2])

    with pytest.raises(ProjectError, match=r"restore it from a backup"):
        Project.open(project.root)


def test_a_refused_project_can_be_opened_once_it_is_mended(project):
    project.close()
    _edit(project.root, "PRAGMA user_version = 99")
    with pytest.raises(ProjectError):
        Project.open(project.root)
    _edit(project.root, f"PRAGMA user_version = {SCHEMA_VERSION}")

    with Project.open(project.root) as again:
        assert again.name == "breast"


def test_a_second_writer_is_told_so(project):
    with pytest.raises(ProjectBusyError, match="open for writing"):
        Project.open(project.root)


def test_a_second_program_that_writes_is_told_so(project, run_python):
    result = run_python(TRY, project.root)

    assert "open for writing" in result.stdout, result.stderr


def test_a_disk_that_cannot_lock_is_called_so(project, monkeypatch):
    project.close()

    def refuse(_descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(storage, "_lock", refuse)

    with pytest.raises(ProjectBusyError, match="cannot lock files"):
        Project.open(project.root)
    Project.open(project.root, read_only=True).close()


def test_the_lock_goes_with_a_killed_program(project):
    import sys

    project.close()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(project.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    with pytest.raises(ProjectBusyError, match=f"process {process.pid}"):
        Project.open(project.root)

    process.kill()
    process.communicate()

    with Project.open(project.root) as again:
        assert again.name == "breast"


def test_readers_see_what_a_writer_adds(project, pixels):
    with Project.open(project.root, read_only=True) as one, Project.open(project.root, read_only=True) as two:
        project.images.add_array(pixels(0), name="late")

        assert [r.name for r in one.images.all()] == [r.name for r in two.images.all()] == ["late"]


def test_a_reader_changes_nothing(project, pixels, random_mask):
    record = project.images.add_array(pixels(0))
    with Project.open(project.root, read_only=True) as reader:
        for change in (
            lambda: reader.images.add_array(pixels(1)),
            lambda: reader.corrections.accept(record.id, "nuclei", Answer(random_mask(0))),
            lambda: reader.models.serve(None),
            reader.models.new_path,
        ):
            with pytest.raises(ProjectError, match="for reading only"):
                change()

    assert len(project.images.all()) == 1
    assert not list((project.root / "masks").iterdir())


def test_a_project_on_a_write_protected_disk_can_be_read(small_disk, tmp_path, pixels):
    with Project.create(tmp_path / "a.amvlm") as project:
        project.images.add_array(pixels(0))
    shutil.copytree(tmp_path / "a.amvlm", small_disk / "a.amvlm")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with Project.open(small_disk / "a.amvlm", read_only=True) as reader:
        loaded = reader.images.load(reader.images.all()[0])

    assert (loaded == pixels(0)).all()


def test_a_closed_project_says_so(project):
    project.close()
    project.close()

    with pytest.raises(ProjectError, match="is closed"):
        project.images.all()


def test_threads_share_a_project(project, pixels):
    mask = pixels(0)[..., 0] > 127
    record = project.images.add_array(pixels(0))
    failures = []

    def work(number):
        try:
            for _ in range(5):
                project.corrections.accept(record.id, f"prompt {number}", Answer(mask))
                project.images.add_array(pixels(99))
        except BaseException as error:  # noqa: BLE001  a thread's failure is shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(project.corrections.select()) == 4
    assert len(project.corrections.select(history=True)) == 20
    assert len(project.images.all()) == 2


def test_leftovers_of_a_crash_are_removed_and_masks_are_not(project):
    project.close()
    leftover = project.root / "masks" / ".tmp-abc"
    stray = project.root / "masks" / "000001-x-mask.tif"
    for path in (leftover, stray):
        path.write_bytes(b"x")

    Project.open(project.root).close()

    assert not leftover.exists()
    assert stray.exists()


def test_a_prompt_is_one_however_its_letters_are_composed(project, pixels, random_mask):
    composed, parted = "l\u00e9sion", "le\u0301sion"
    record = project.images.add_array(pixels(0))
    for text in (composed, parted):
        project.corrections.accept(record.id, text, Answer(random_mask(0)))
    known = [prompt.text for prompt in project.prompts.all()]
    project.prompts.add("n\u00e9vus")
    project.close()
    for prompt_id, text in ((2, "ne\u0301vus"), (7, parted)):  # as earlier versions wrote them
        _edit(
            project.root, f"INSERT OR REPLACE INTO prompts (id, text, colour) VALUES ({prompt_id}, '{text}', '#e69f00')"
        )

    before = (project.root / "project.sqlite").read_bytes()
    for read_only in (True, False):
        with Project.open(project.root, read_only=read_only) as again:
            assert [prompt.text for prompt in again.prompts.all()] == [composed, "n\u00e9vus", f"{composed} (7)"]
            assert again.prompts.get(parted).id == 1
        assert not read_only or (project.root / "project.sqlite").read_bytes() == before
    assert known == [composed]
