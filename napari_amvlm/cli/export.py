"""`napari-amvlm export`: a project's accepted masks for other programs."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated, Literal

import typer

from napari_amvlm.cli.console import remark, say
from napari_amvlm.errors import InputError
from napari_amvlm.wording import counted


def export(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="A project folder NAME.amvlm.")],
    kind: Annotated[
        Literal["coco", "geojson", "tiff", "png", "nifti", "ome-tiff", "dicom-seg", "ome-zarr", "imagej"],
        typer.Option("--format", help="What to write; docs/export-formats.md describes each."),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="PATH", help="File for coco, the image for ome-zarr, else a folder."),
    ],
    scans: Annotated[
        list[Path] | None,
        typer.Option("--scans", metavar="PATH", help="Scans that the images are parts of: file or folder, repeatable."),
    ] = None,
    images: Annotated[bool, typer.Option("--images", help="With tiff and png: write the images to img/ too.")] = False,
    objects: Annotated[
        bool, typer.Option("--objects", help="With label images: write the numbers of objects to objects/PROMPT/ too.")
    ] = False,
    segmentation: Annotated[
        Literal["rle", "polygons"] | None,
        typer.Option("--segmentation", help="With coco: exact run lengths or polygons. [default: rle]"),
    ] = None,
) -> None:
    """Write the accepted masks of a project.

    Label images: labelcol/ with values 1..K and classes.csv; of tiff and png, evaluate and fine-tune read them.
    Images that had to be left out are named; the exit code is then 1. Of what is there already, only an earlier
    export is replaced.
    """
    from napari_amvlm.exports import ExportOptions, count_left_out, export_as
    from napari_amvlm.exports.coco import is_own_coco
    from napari_amvlm.project import Project

    if not project.is_dir():
        raise InputError(f"There is no project folder {project}; check the path.")
    missing = [path for path in scans or () if not path.exists()]
    if missing:
        raise InputError(f"There is no file or folder {missing[0]}; check --scans.")
    if kind == "coco" and output.is_file() and output.stat().st_size:  # an empty file only keeps a name
        if not is_own_coco(output):
            raise InputError(f"{output} was not made by export; give another -o, or move it away.")
        remark(f"{output} is of an earlier export; it is replaced.")
    options = ExportOptions(images=images, objects=objects, segmentation=segmentation, scans=tuple(scans or ()))
    with Project.open(project, read_only=True) as opened:
        notes = export_as(opened, kind, output, options)
        left_out = count_left_out(notes)
        count = opened.images.counts().accepted - left_out
    for note in notes:
        remark(note)
    say(f"{counted(count, 'image')} -> {output}")
    if left_out:
        raise typer.Exit(1)
