"""COCO: one JSON file for all images; every object is an annotation with an uncompressed RLE or with polygons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.exports.annotated import annotated_images, project_prompts
from napari_amvlm.exports.outlines import connected_parts, polygon, without_holes
from napari_amvlm.files import starts_with, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.project import Project

Segmentation = Literal["rle", "polygons"]
_DESCRIPTION = "napari-amvlm project "


def export_coco(project: Project, path: Path, *, segmentation: Segmentation = "rle") -> list[str]:
    """Write all accepted masks to the COCO file `path`.

    Images have two keys that COCO does not know and its readers pass over: `sha256`, by which the image is found again,
    and `answered`, the ids of the categories that somebody answered, with `reviewed`, an RLE, where that was not
    everywhere.

    Parameters
    ----------
    segmentation
        "rle" is exact for every object; "polygons" follows the borders of pixels, and cuts objects that have holes into
        parts without.

    Returns
    -------
    list of str
        What a reader should know about single images.

    Raises
    ------
    DatasetError
        Nothing has been accepted.
    ProjectError
        No mask can be read. Where some can, those images are exported, and what is returned names the others.
    StorageError
        The disk refused.
    """
    prompts = project_prompts(project)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    notes: list[str] = []
    for image in annotated_images(project, notes):
        height, width = image.record.shape
        entry = {"id": image.record.id, "file_name": image.record.name, "height": height, "width": width}
        answered = [prompts.index(prompt) + 1 for prompt in image.masks]
        images.append(entry | image.description(answered, _run_length))
        for annotation in _annotations(image, prompts, segmentation):
            annotations.append({"id": len(annotations) + 1, **annotation})
    content = {
        "info": {"description": f"{_DESCRIPTION}{project.name}", "version": "1"},
        "licenses": [],
        "images": images,
        "categories": [
            {"id": number, "name": name, "supercategory": ""} for number, name in enumerate(prompts, start=1)
        ],
        "annotations": annotations,
    }
    write_text(path, json.dumps(content))
    return notes


def is_own_coco(path: Path) -> bool:
    """Tell whether an export wrote a file."""
    return starts_with(path, f'{{"info": {{"description": "{_DESCRIPTION}')


def run_lengths(rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, int]) -> list[int]:
    """Return COCO's uncompressed run lengths of the pixels given.

    Runs go down the columns, background first: `[0, n, ...]` when the first pixel is foreground.

    Examples
    --------
    >>> run_lengths(np.array([0, 1]), np.array([1, 1]), (3, 2))
    [3, 2, 1]
    """
    if not len(rows):
        return [shape[0] * shape[1]]
    index = np.sort(columns * shape[0] + rows)
    breaks = np.flatnonzero(np.diff(index) > 1)
    starts = index[np.concatenate(([0], breaks + 1))]
    ends = index[np.concatenate((breaks, [len(index) - 1]))] + 1
    borders = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(np.concatenate(([0], borders, [shape[0] * shape[1]])))
    return [int(count) for count in (counts if counts[-1] else counts[:-1])]


def _run_length(mask: NDArray[np.bool_]) -> dict[str, Any]:
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    return {"size": [height, width], "counts": run_lengths(rows, columns, (height, width))}


def _annotations(
    image: AnnotatedImage, prompts: tuple[str, ...], segmentation: Segmentation
) -> Iterator[dict[str, Any]]:
    """Yield one annotation, without its id, for every object."""
    height, width = image.record.shape
    for prompt, region in image.single_objects():
        top, left, bottom, right = region.bbox
        counts = run_lengths(region.coords[:, 0], region.coords[:, 1], (height, width))
        rle = {"size": [height, width], "counts": counts}
        yield {
            "image_id": image.record.id,
            "category_id": prompts.index(prompt) + 1,
            "segmentation": rle if segmentation == "rle" else _polygons(region.image, top, left),
            "area": len(region.coords),
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
        }


def _polygons(mask: NDArray[np.bool_], top: int, left: int) -> list[list[int]]:
    """Return the outlines `[x, y, x, y, ...]` of an object's parts, cut into smaller ones where they have holes."""
    outlines: list[list[int]] = []
    for whole, first_row, first_column in connected_parts(mask):
        for part, row, column in without_holes(whole):
            (ring,) = polygon(part, top + first_row + row, left + first_column + column)
            outlines.append([coordinate for point in ring[:-1] for coordinate in point])
    return outlines
