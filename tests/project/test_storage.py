from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from napari_amvlm.errors import ProjectError, StorageError
from napari_amvlm.project.storage import inside, remove_leftovers, write_atomically

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_synced_then_named_then_its_name_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        fsync(descriptor)

    def watched_replace(source: Any, target: Any) -> None:
        events.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)

    write_atomically(tmp_path / "a", b"content")

    assert events == (["content", "name"] if os.name == "nt" else ["content", "name", "folder"])
    assert (tmp_path / "a").read_bytes() == b"content"


def test_a_write_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    write_atomically(tmp_path / "a", b"new")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be written"):
        write_atomically(tmp_path / "gone" / "a", b"content")


def test_a_name_that_cannot_be_taken_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").touch()

    with pytest.raises(StorageError):
        write_atomically(tmp_path / "a", b"content")

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("relative", ["..", "../x", "masks/../../x", "/etc/passwd", "", "."])
def test_paths_stay_inside(tmp_path: Path, relative: str) -> None:
    with pytest.raises(ProjectError, match="outside the project"):
        inside(tmp_path / "root", relative)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_out_of_the_folder_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "masks").symlink_to(tmp_path)

    with pytest.raises(ProjectError, match="outside the project"):
        inside(tmp_path / "root", "masks/x.tif")


def test_leftovers_go_and_the_rest_stays(tmp_path: Path) -> None:
    for name in (".tmp-abc", ".model.safetensors.17.tmp", "mask.tif", ".hidden"):
        (tmp_path / name).touch()

    remove_leftovers(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "mask.tif"]
