"""Finished work for other programs, written in a thread.  Knows no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.errors import InputError
from napari_amvlm.exports import LEFT_OUT, export_coco, export_geojson, export_labels

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm.project import Project


def export_project(project: Project, kind: str, path: Path) -> tuple[str, list[str]]:
    """Write the accepted masks of a project; return a sentence, and remarks about what was left out.

    Raises
    ------
    InputError
        The format is unknown.
    """
    if kind == "coco":
        notes = export_coco(project, path)
    elif kind == "geojson":
        notes = export_geojson(project, path)
    elif kind in ("tiff", "png"):
        notes = export_labels(project, path, "tiff" if kind == "tiff" else "png")
    else:
        raise InputError(f"{kind!r} is no format to export to; choose coco, geojson, tiff or png.")
    accepted = project.images.counts().accepted - sum(note.startswith(LEFT_OUT) for note in notes)
    return f"Exported {accepted} image{'' if accepted == 1 else 's'} to {path}.", list(notes)
