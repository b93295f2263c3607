"""What a person prefers: kept by napari, and changed under File, Preferences, AMVLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    kept_images: int = 16
    learn_after: int = 4
    learn_minutes: float = 1.0


def preferences() -> Preferences:
    """Return what is preferred now; the defaults where napari does not know the plugin, as in a script."""
    from napari.settings import get_plugin_settings

    if _PLUGIN in _unknown:
        return Preferences()
    try:
        found: Any = get_plugin_settings(_PLUGIN)
        return Preferences(
            float(found.work.threshold),
            int(found.work.kept_images),
            int(found.learning.after_images),
            float(found.learning.minutes),
        )
    except (KeyError, AttributeError):
        # not installed as a plugin, or with an earlier manifest; napari would look for plugins anew at each question
        _unknown.add(_PLUGIN)
        return Preferences()
