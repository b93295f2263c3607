"""Warnings and errors as napari notifications."""

from __future__ import annotations

from napari.utils.notifications import show_error, show_warning

from napari_amvlm.wording import capitalised


def notify(level: str, text: str) -> None:
    """Show a warning or an error over the canvas; anything else is left to the status lines."""
    if level == "warning":
        show_warning(capitalised(text))
    elif level == "error":
        show_error(capitalised(text))
