"""Finished work for other programs, written in a thread.  Knows no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.exports import LEFT_OUT, ExportOptions, export_as
from napari_amvlm.exports.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_amvlm.exports import FormatName
    from napari_amvlm.project import Project


def export_project(project: Project, kind: FormatName, path: Path, scans: Sequence[Path] = ()) -> tuple[str, list[str]]:
    """Write the accepted masks of a project; return a sentence, and remarks about what was left out.

    Parameters
    ----------
    scans
        Files and folders of scans, for formats that want them.

    Raises
    ------
    InputError
        The path does not fit the format.
    """
    options = ExportOptions(scans=tuple(scans) if "scans" in FORMATS[kind].options else ())
    notes = export_as(project, kind, path, options)
    accepted = project.images.counts().accepted - sum(note.startswith(LEFT_OUT) for note in notes)
    return f"Exported {accepted} image{'' if accepted == 1 else 's'} to {path}.", list(notes)
