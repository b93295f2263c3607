"""What is remembered from one day to the next (prompts, projects), and what a person set under Preferences, AMVLM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROMPTS = "prompts"
_PROJECTS = "projects"
_LAYOUT = "layout"
_TEXT_MODEL = "text_model"


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


def read_text_model() -> str:
    """Return the folder or `hub:OWNER/NAME` of the other text model that was chosen; empty: none."""
    return str(_settings().value(_TEXT_MODEL) or "")


def write_text_model(source: str) -> None:
    """Remember the other text model."""
    _settings().setValue(_TEXT_MODEL, source)


@dataclass(frozen=True)
class DockLayout:
    """The dock as it was left: the name of the tab, the side of the window, and the width, pixels; 0 at first."""

    tab: str = ""
    side: str = "right"
    width: int = 0


def read_layout() -> DockLayout:
    """Return the dock as it was left."""
    value = str(_settings().value(_LAYOUT) or "").split("|")
    return DockLayout(value[0], value[1], int(value[2])) if len(value) == 3 and value[2].isdecimal() else DockLayout()


def write_layout(layout: DockLayout) -> None:
    """Remember the dock as it is."""
    _settings().setValue(_LAYOUT, f"{layout.tab}|{layout.side}|{layout.width}")


def _settings() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-amvlm", "napari-amvlm")


def _read(key: str) -> list[str]:
    value = _settings().value(key)
    if value is None:
        return []
    # a list of one comes back as a plain string
    return [value] if isinstance(value, str) else [str(item) for item in value]


_PLUGIN = "napari-amvlm"
_unknown: set[str] = set()


@dataclass(frozen=True)
class Preferences:
    """The `configurations` of the manifest.

    Attributes
    ----------
    threshold
        Of prompts that the project has none for, in [0, 1].
    kept_images
        So many images that the queue opened stay in the viewer.
    learn_after, learn_minutes
        "Learn while I annotate": a run of so many minutes after so many accepted images.
    """

    threshold: float = 0.5
    kept_images: int = 4
    learn_after: int = 4
    learn_minutes: float = 1.0


def preferences() -> Preferences:
    """Return what is preferred now; the defaults where napari does not know the plugin, as in a script."""
    from napari.settings import get_plugin_settings

    if _PLUGIN in _unknown:
        return Preferences()
    try:
        stored: Any = get_plugin_settings(_PLUGIN)
        return Preferences(
            float(stored.work.threshold),
            int(stored.work.kept_images),
            int(stored.learning.after_images),
            float(stored.learning.minutes),
        )
    except (KeyError, AttributeError):
        # not installed as a plugin, or with an earlier manifest; napari would look for plugins anew at each question
        _unknown.add(_PLUGIN)
        return Preferences()
