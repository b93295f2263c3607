"""`napari-amvlm report`: a project as one web page."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from napari_amvlm.cli.console import remark, say
from napari_amvlm.errors import InputError


def report(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="A project folder NAME.amvlm.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="HTML file.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Write a report: images with outlines, numbers, models and scores, who and when.

    It is one file that needs no network.
    """
    from napari_amvlm.exports import count_left_out
    from napari_amvlm.measure import write_report
    from napari_amvlm.project import Project

    if not project.is_dir():
        raise InputError(f"There is no project folder {project}; check the path.")
    if output.is_dir():
        raise InputError(
            f"{output} is a folder, but a report is one file; give for instance -o {output / 'report.html'}."
        )
    with Project.open(project, read_only=True) as opened:
        notes = write_report(opened, output, overwrite=overwrite)
    for note in notes:
        remark(note)
    say(f"{project} -> {output}")
    if count_left_out(notes):
        raise typer.Exit(1)
