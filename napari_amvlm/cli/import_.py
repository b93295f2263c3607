"""`napari-amvlm import`: masks of other programs as corrections of a project."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_amvlm.cli.console import remark, say
from napari_amvlm.errors import InputError
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_amvlm.project import Project


def import_(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="A project NAME.amvlm; made with --images.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="COCO, GeoJSON, CVAT, Label Studio, label images, NIfTI, DICOM-SEG, OME-Zarr, ROI .zip; or a folder.",
        ),
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be entered, and enter nothing.")] = False,
    cells: Annotated[
        Literal["cell", "nucleus"], typer.Option("--cells", help="Of QuPath's cells: which outline is entered.")
    ] = "cell",
    crowds: Annotated[
        Literal["object", "ignore"], typer.Option("--crowds", help="Of COCO's crowds: objects, or not reviewed.")
    ] = "object",
) -> None:
    """Enter the masks of other programs as corrections; what cannot be used is reported, and the rest is entered."""
    from napari_amvlm.imports import import_files

    missing = [path for path in files if not path.exists()]
    if len(missing) == len(files):
        raise InputError(f"There is no file {missing[0]}; check the path.")
    if images is not None and not images.is_dir():
        raise InputError(f"There is no folder {images}; check --images.")
    if images is None and not project.is_dir():
        raise InputError(f"There is no project folder {project}; check the path, or give --images to begin one.")
    with _opened(project, dry_run=dry_run, create=images is not None) as opened:
        report = import_files(
            opened,
            files,
            prompt=prompt,
            images=images,
            replace=replace,
            dry_run=dry_run,
            cells=cells,
            crowds=crowds,
            on_problem=lambda problem: remark(f"Left out: {problem}"),
        )
    unchanged = f", {report.unchanged} were there already" if report.unchanged else ""
    if dry_run:
        for image, name, objects in report.entered:
            say(f"{image}: {name}" + ("" if objects is None else f", {counted(objects, 'object')}"))
        say(f"{counted(len(report.entered), 'mask')} would be entered into {project}{unchanged}")
    else:
        say(f"{counted(len(report.accepted), 'mask')} -> {project}{unchanged}")
    if report.problems:
        raise typer.Exit(1)


@contextlib.contextmanager
def _opened(path: Path, *, dry_run: bool, create: bool) -> Iterator[Project]:
    """Open a project for an import; a dry run changes nothing, and begins a new project elsewhere."""
    from napari_amvlm.project import Project

    if path.is_dir() or not dry_run:
        with (
            Project.open_or_create(path) if create and not dry_run else Project.open(path, read_only=dry_run) as opened
        ):
            yield opened
        return
    with tempfile.TemporaryDirectory() as folder, Project.create(Path(folder) / path.name) as opened:
        yield opened
