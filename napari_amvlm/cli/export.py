"""`napari-amvlm export`: a project's accepted masks for other programs."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated, Literal

import typer

from napari_amvlm.cli.console import remark, say
from napari_amvlm.errors import InputError


def export(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="A project folder NAME.amvlm.")],
    kind: Annotated[
        Literal["coco", "geojson", "tiff", "png"],
        typer.Option("--format", help="COCO file, GeoJSON for QuPath, or label images."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="PATH", help="File for coco, folder for the other formats.")
    ],
    images: Annotated[bool, typer.Option("--images", help="With tiff and png: write the images to img/ too.")] = False,
    objects: Annotated[
        bool, typer.Option("--objects", help="With tiff and png: write the numbers of objects to objects/PROMPT/ too.")
    ] = False,
    segmentation: Annotated[
        Literal["rle", "polygons"] | None,
        typer.Option("--segmentation", help="With coco: exact run lengths or polygons. [default: rle]"),
    ] = None,
) -> None:
    """Write the accepted masks of a project.

    tiff and png: labelcol/ with values 1..K and classes.csv, which evaluate and fine-tune read.
    """
    from napari_amvlm.exports import LEFT_OUT, export_coco, export_geojson, export_labels
    from napari_amvlm.project import Project

    if not project.is_dir():
        raise InputError(f"There is no project folder {project}; check the path.")
    if images and kind not in ("tiff", "png"):
        raise InputError(f"--images goes with --format tiff or png, not with {kind}; leave it out.")
    if objects and kind not in ("tiff", "png"):
        raise InputError(f"--objects goes with --format tiff or png, not with {kind}; leave it out.")
    if segmentation and kind != "coco":
        raise InputError(f"--segmentation goes with --format coco, not with {kind}; leave it out.")
    if kind == "coco" and output.is_dir():
        raise InputError(f"{output} is a folder, but COCO is one file; give for instance -o {output / 'masks.json'}.")
    if kind != "coco" and output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file, but {kind} needs a folder; give another -o.")
    with Project.open(project, read_only=True) as opened:
        if kind == "coco":
            notes = export_coco(opened, output, segmentation=segmentation or "rle")
        elif kind == "geojson":
            notes = export_geojson(opened, output)
        else:
            notes = export_labels(opened, output, kind, images=images, objects=objects)
        count = opened.images.counts().accepted - sum(note.startswith(LEFT_OUT) for note in notes)
    for note in notes:
        remark(note)
    say(f"{count} images -> {output}")
