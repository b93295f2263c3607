"""A disk that refuses a write: a really full one, and a limit on file sizes that needs no root."""

import sys

import numpy as np
import pytest
import tifffile

from napari_amvlm.errors import StorageError
from napari_amvlm.imports import import_files
from napari_amvlm.project import Answer, Project

# Accepts one mask under a limit on the size of files; the limit is lifted before the project is looked at again.
LIMITED = """
import resource, sys
import numpy as np
from napari_amvlm.errors import StorageError
from napari_amvlm.imports import import_files
from napari_amvlm.project import Answer, Project

root, limit, noise = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "noise"
mask = np.random.default_rng(1).random((40, 50)) > 0.5 if noise else np.zeros((40, 50), bool)
project = Project.open(root)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
try:
    project.corrections.accept(1, "nuclei", Answer(mask, before=mask))
except StorageError as error:
    print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print("kept:", len(project.corrections.select()))
project.corrections.accept(1, "nuclei", Answer(mask))
print("then:", len(project.corrections.select()))
"""


def _fill(folder):
    """Leave no byte free: blocks first, then single bytes."""
    fillers = []
    for size in (65536, 4096, 1):
        path = folder / f"filler-{size}"
        fillers.append(path)
        with path.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * size):
                    continue
            except OSError:
                continue
    return fillers


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize(
    ("limit", "kind", "refused"), [(200, "noise", "mask"), (1500, "flat", "project.sqlite")], ids=["mask", "ledger"]
)
def test_a_refused_write_leaves_the_project_as_it_was(project, pixels, run_python, limit, kind, refused):
    project.images.add_array(pixels(0))
    project.close()

    lines = run_python(LIMITED, project.root, limit, kind).stdout.splitlines()

    assert len(lines) == 3, lines
    assert lines[0].startswith("refused:")
    assert refused in lines[0]
    assert lines[1:] == ["kept: 0", "then: 1"]
    assert len(list((project.root / "masks").iterdir())) == 1


def test_a_full_disk_while_accepting(small_disk, pixels, random_mask):
    with Project.create(small_disk / "a.amvlm") as project:
        image = project.images.add_array(pixels(0))
        project.corrections.accept(image.id, "nuclei", Answer(random_mask(0)))
        files = sorted(p.name for p in (project.root / "masks").iterdir())
        fillers = _fill(small_disk)

        with pytest.raises(StorageError, match="free some space"):
            project.corrections.accept(image.id, "nuclei", Answer(random_mask(1)))

        (current,) = project.corrections.select(history=True)
        assert np.array_equal(project.corrections.mask(current), random_mask(0))
        assert sorted(p.name for p in (project.root / "masks").iterdir()) == files
        for filler in fillers:
            filler.unlink()
        project.corrections.accept(image.id, "nuclei", Answer(random_mask(1)))

    with Project.open(small_disk / "a.amvlm") as again:
        assert np.array_equal(again.corrections.mask(again.corrections.select()[0]), random_mask(1))


def test_a_full_disk_while_a_draft_is_kept(small_disk, pixels, random_mask):
    with Project.create(small_disk / "a.amvlm") as project:
        image = project.images.add_array(pixels(0))
        project.drafts.keep(image.id, "nuclei", Answer(random_mask(0)))
        _fill(small_disk)

        with pytest.raises(StorageError, match="nothing was changed: free some space") as caught:
            project.drafts.keep(image.id, "nuclei", Answer(random_mask(1)))

        assert str(caught.value).count(". ") == 0
        (draft,) = project.drafts.of(image.id)
        assert np.array_equal(project.drafts.load(draft).mask, random_mask(0))
        assert len(list((project.root / "drafts").iterdir())) == 1


def test_accepting_until_the_disk_is_full_keeps_every_acknowledged_mask(small_disk, pixels, random_mask):
    accepted = []

    def accept_for_ever(project, image_id):
        for number in range(5000):
            project.corrections.accept(image_id, f"prompt {number}", Answer(random_mask(number)))
            accepted.append(number)

    with Project.create(small_disk / "a.amvlm") as project:
        image = project.images.add_array(pixels(0))
        with pytest.raises(StorageError):
            accept_for_ever(project, image.id)

    with Project.open(small_disk / "a.amvlm", read_only=True) as again:
        corrections = again.corrections.select()
        assert len(corrections) == len(accepted) > 10
        for number, correction in enumerate(corrections):
            assert np.array_equal(again.corrections.mask(correction), random_mask(number))


def test_a_full_disk_while_adding_and_creating(small_disk, pixels):
    with Project.create(small_disk / "a.amvlm") as project:
        fillers = _fill(small_disk)
        with pytest.raises(StorageError):
            project.images.add_array(pixels(0))
        assert project.images.all() == []
        assert not list((project.root / "images").iterdir())
        with pytest.raises(StorageError):
            Project.create(small_disk / "b.amvlm")
        for filler in fillers:
            filler.unlink()

    with Project.create(small_disk / "b.amvlm") as second:
        assert second.images.all() == []


def test_a_full_disk_while_importing_keeps_what_was_entered(small_disk, tmp_path, pixels):
    objects = np.random.default_rng(0).permutation(2000).astype(np.uint16).reshape(40, 50)
    names = [f"tile-{number}" for number in range(400)]
    for name in names:
        tifffile.imwrite(tmp_path / f"{name}.tif", objects)
    with Project.create(small_disk / "a.amvlm") as project:
        with project._ledger.transaction() as connection:
            connection.executemany(
                "INSERT INTO images (sha256, source, name, path, stored, bytes, height, width, added_at) "
                "VALUES (?, 'array', ?, 'images/x.tif', 1, 1, 40, 50, 't')",
                [(name, name) for name in names],
            )
        with pytest.raises(StorageError, match="free some space"):
            import_files(project, [tmp_path / f"{name}.tif" for name in names], prompt="nuclei")

    with Project.open(small_disk / "a.amvlm", read_only=True) as again:
        corrections = again.corrections.select()
        assert 0 < len(corrections) < len(names)
        assert all(np.array_equal(again.corrections.objects(c), objects) for c in corrections)
        assert sum(1 for _ in (again.root / "masks").iterdir()) == 2 * len(corrections)
