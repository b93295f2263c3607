"""`napari-amvlm measure`: tables of objects and images."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from napari_amvlm.cli.console import remark, say
from napari_amvlm.errors import InputError
from napari_amvlm.wording import counted


def measure(
    masks: Annotated[
        Path, typer.Argument(metavar="PROJECT|MASKS", help="A project NAME.amvlm, or label images (file or folder).")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="TABLE", help="CSV file, one row an object.")],
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Images of the masks: intensities and pixel size."),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the sizes of objects into TABLE.png too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Measure objects: area, centroid, axes, perimeter and intensity, in pixels and in um or mm.

    TABLE-images.csv has counts and areas for each image and prompt, TABLE-prompts.csv for each prompt.
    """
    from napari_amvlm.exports import count_left_out
    from napari_amvlm.files import refuse_existing
    from napari_amvlm.measure import masks_in_folder, masks_in_project, write_plot, write_tables
    from napari_amvlm.measure import measure as measured
    from napari_amvlm.measure.tables import table_files
    from napari_amvlm.project import Project

    if not masks.exists():
        raise InputError(f"There is no project or file {masks}; check the path.")
    picture = output.with_suffix(".png")
    refuse_existing([*table_files(output), *([picture] if plot else [])], overwrite=overwrite)
    notes: list[str] = []
    if (masks / "project.sqlite").is_file():
        if images is not None:
            raise InputError("--images goes with a folder of masks; a project knows its images. Leave it out.")
        with Project.open(masks, read_only=True) as project:
            result = measured(masks_in_project(project, notes))
    else:
        result = measured(masks_in_folder(masks, images, notes), notes)
    for note in notes:
        remark(note)
    write_tables(result, output, overwrite=overwrite)
    if plot:
        write_plot(result, picture, overwrite=overwrite)
    count = result.images["image"].nunique()
    say(f"{counted(len(result.objects), 'object')} in {counted(count, 'image')} -> {output}")
    if count_left_out(notes):
        raise typer.Exit(1)
