"""Finished work for other programs, written in a thread.  Knows no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_amvlm.exports import ExportOptions, FormatName, count_left_out, export_as
from napari_amvlm.exports.formats import FORMATS
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_amvlm.project import Project


Choice = FormatName | Literal["measurements", "report"]

CHOICES: dict[Choice, tuple[str, str]] = {
    **{name: (form.title, form.file) for name, form in FORMATS.items()},
    "measurements": ("Measurements, tables", "measurements.csv"),
    "report": ("Report, a web page", "report.html"),
}
"""Title and usual file name of what can be written of a project; no name where it is a folder."""


def export_project(project: Project, kind: Choice, path: Path, scans: Sequence[Path] = ()) -> tuple[str, list[str]]:
    """Write the accepted masks of a project; return a sentence, and remarks about what was left out.

    Parameters
    ----------
    project
        Where the masks are.
    kind
        What to write.
    path
        Its file or folder.
    scans
        Files and folders of scans, for formats that want them.

    Raises
    ------
    InputError
        The path does not fit the format.
    """
    if kind == "measurements":
        return export_measurements(project, path)
    if kind == "report":
        return export_report(project, path)
    options = ExportOptions(scans=tuple(scans) if "scans" in FORMATS[kind].options else ())
    notes = export_as(project, kind, path, options)
    accepted = project.images.counts().accepted - count_left_out(notes)
    return f"Exported {counted(accepted, 'image')} to {path}.", list(notes)


def export_measurements(project: Project, path: Path) -> tuple[str, list[str]]:
    """Write tables of objects, images and prompts beside `path`; return the counts in a sentence, and remarks.

    Raises
    ------
    InputError
        Nothing was accepted; or `path` is not there, but another table of that name is.
    """
    from napari_amvlm.measure import masks_in_project, measure, write_tables

    notes: list[str] = []
    tables = measure(masks_in_project(project, notes))
    # Whoever chose a file that is there was asked whether to replace it.
    write_tables(tables, path, overwrite=path.exists())
    counts = ", ".join(f"{row['prompt']} {row['objects']}" for row in tables.prompts.to_dict("records"))
    return f"Measured {counted(len(tables.objects), 'object')} ({counts}) to {path}.", notes


def export_report(project: Project, path: Path) -> tuple[str, list[str]]:
    """Write a report as one web page; return a sentence, and remarks.

    Raises
    ------
    InputError
        Nothing was accepted.
    """
    from napari_amvlm.measure import write_report

    notes = write_report(project, path, overwrite=path.exists())
    return f"Wrote the report {path}.", notes
