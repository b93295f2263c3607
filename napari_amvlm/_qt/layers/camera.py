"""The camera of a viewer, in any version of napari."""

from __future__ import annotations

from typing import Any


def camera_of(viewer: Any) -> Any:
    """Return the camera, wherever this version of napari keeps it."""
    return getattr(viewer, "scene", viewer).camera
