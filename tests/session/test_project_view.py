"""Titles of projects in lists."""

from __future__ import annotations

from pathlib import Path

from napari_amvlm.session.project_view import project_titles


def test_projects_of_one_name_are_told_apart_by_their_folders() -> None:
    roots = [Path("/data/may/a/chest.amvlm"), Path("/data/june/a/chest.amvlm"), Path("/data/june/a/spine.amvlm")]

    assert project_titles(roots) == [f"chest ({Path('may/a')})", f"chest ({Path('june/a')})", "spine"]


def test_a_project_listed_twice_is_no_namesake() -> None:
    assert project_titles([Path("/a/chest.amvlm"), Path("/a/chest.amvlm")]) == ["chest", "chest"]
