"""Words for the person: always in the dock's status line, and as a napari notification where it matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_warning

if TYPE_CHECKING:
    from napari_amvlm._qt.widgets.status_line import Level, StatusLine


def notify(line: StatusLine, level: Level, text: str) -> None:
    """Show `text` in `line`; a warning or an error is shown over the canvas too."""
    line.setValue(level, text)
    if level == "warning":
        show_warning(text)
    elif level == "error":
        show_error(text)
