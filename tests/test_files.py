"""Whole files or none."""

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from napari_amvlm.errors import StorageError
from napari_amvlm.files import write_atomically


def test_a_file_is_synced_then_named_then_its_name_is_synced(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        fsync(descriptor)

    def watched_replace(source, target):
        events.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)

    write_atomically(tmp_path / "a", lambda temporary: temporary.write_bytes(b"content"))

    assert events == (["content", "name"] if os.name == "nt" else ["content", "name", "folder"])
    assert (tmp_path / "a").read_bytes() == b"content"


def test_a_write_replaces_what_was_there(tmp_path):
    (tmp_path / "a").write_bytes(b"old")

    write_atomically(tmp_path / "a", lambda temporary: temporary.write_bytes(b"new"))

    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_others_may_read_what_they_may_read_in_any_new_file(tmp_path):
    (tmp_path / "plain").touch()

    write_atomically(tmp_path / "a", lambda temporary: save_file({"w": torch.zeros(1)}, temporary))

    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StorageError, match="could not be written"):
        write_atomically(tmp_path / "gone" / "a", lambda temporary: temporary.write_bytes(b"content"))


def test_a_name_that_cannot_be_taken_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").touch()

    with pytest.raises(StorageError):
        write_atomically(tmp_path / "a", lambda temporary: temporary.write_bytes(b"content"))

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_missing_folder_is_made_where_that_is_wanted(tmp_path):
    path = tmp_path / "new" / "a"

    write_atomically(path, lambda temporary: temporary.write_bytes(b"content"), make_folder=True)

    assert path.read_bytes() == b"content"
