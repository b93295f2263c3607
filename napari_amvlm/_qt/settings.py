"""What is remembered from one day to the next: prompts typed, and projects used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROMPTS = "prompts"
_PROJECTS = "projects"


def read_prompts() -> list[str]:
    """Return the prompts typed before, newest first."""
    return _read(_PROMPTS)


def write_prompts(prompts: Sequence[str]) -> None:
    """Remember the prompts typed."""
    _settings().setValue(_PROMPTS, list(prompts))


def read_projects() -> list[Path]:
    """Return the projects used before that are still there, newest first."""
    return [path for path in map(Path, _read(_PROJECTS)) if path.is_dir()]


def write_projects(paths: Sequence[Path]) -> None:
    """Remember the projects used."""
    _settings().setValue(_PROJECTS, [str(path) for path in paths])


def _settings() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-amvlm", "napari-amvlm")


def _read(key: str) -> list[str]:
    value = _settings().value(key)
    if value is None:
        return []
    # a list of one comes back as a plain string
    return [value] if isinstance(value, str) else [str(item) for item in value]
