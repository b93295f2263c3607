"""`napari-amvlm import`: masks of other programs as corrections of a project."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from napari_amvlm.cli.console import remark, say
from napari_amvlm.errors import InputError


def import_(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="A project NAME.amvlm; made with --images.")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="COCO .json, .geojson, label .tif or .png, or a folder with labelcol/."),
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="What masks without a class of their own show.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Where images lie that are not in the project yet.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Supersede accepted masks; they stay in the history.")
    ] = False,
) -> None:
    """Enter the masks of other programs as corrections; what cannot be used is told, and the rest is entered."""
    from napari_amvlm.imports import import_files
    from napari_amvlm.project import Project

    missing = [path for path in files if not path.exists()]
    if len(missing) == len(files):
        raise InputError(f"There is no file {missing[0]}; check the path.")
    if images is not None and not images.is_dir():
        raise InputError(f"There is no folder {images}; check --images.")
    if images is None and not project.is_dir():
        raise InputError(f"There is no project folder {project}; check the path, or give --images to begin one.")
    with Project.open(project) if images is None else Project.open_or_create(project) as opened:
        report = import_files(
            opened,
            files,
            prompt=prompt,
            images=images,
            replace=replace,
            on_problem=lambda problem: remark(f"Left out: {problem}"),
        )
    unchanged = f", {report.unchanged} were there already" if report.unchanged else ""
    say(f"{len(report.accepted)} masks -> {project}{unchanged}")
    if report.problems:
        raise typer.Exit(1)
