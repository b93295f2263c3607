"""COCO: one JSON file for all images; every object is an annotation with an uncompressed RLE or with polygons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.exports.annotated import annotated_images, project_prompts, remarks
from napari_amvlm.exports.label_files import write_text
from napari_amvlm.exports.outlines import polygon, without_holes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.project import Project

Segmentation = Literal["rle", "polygons"]


def export_coco(project: Project, path: Path, *, segmentation: Segmentation = "rle") -> list[str]:
    """Write all accepted masks to the COCO file `path`.

    Images have two keys that COCO does not know and its readers pass over: `sha256`, by which the image is found again,
    and `answered`, the ids of the categories that somebody answered, with `reviewed`, an RLE, where that was not
    everywhere.

    Parameters
    ----------
    project
        Where the masks are.
    path
        The JSON file.
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
        No mask can be read; images of which some can are exported, and the others told in what is returned.
    StorageError
        The disk refused.
    """
    prompts = project_prompts(project)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    found: list[str] = []
    for image in annotated_images(project, found):
        height, width = image.record.shape
        entry = {"id": image.record.id, "file_name": image.record.name, "height": height, "width": width}
        images.append(entry | _knowledge(image, prompts))
        for annotation in _annotations(image, prompts, segmentation):
            annotations.append({"id": len(annotations) + 1, **annotation})
        found.extend(remarks(image, prompts))
    content = {
        "info": {"description": f"napari-amvlm project {project.name}", "version": "1"},
        "licenses": [],
        "images": images,
        "categories": [
            {"id": number, "name": name, "supercategory": ""} for number, name in enumerate(prompts, start=1)
        ],
        "annotations": annotations,
    }
    write_text(path, json.dumps(content))
    return found


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


def _knowledge(image: AnnotatedImage, prompts: tuple[str, ...]) -> dict[str, Any]:
    """Return what an import needs to know of an image: which one it is, what was answered, and where."""
    known: dict[str, Any] = {"answered": [prompts.index(prompt) + 1 for prompt in image.masks]}
    if image.file_hash:
        known["sha256"] = image.file_hash
    if image.reviewed is not None:
        rows, columns = np.nonzero(image.reviewed)
        counts = run_lengths(rows, columns, image.record.shape)
        known["reviewed"] = {"size": list(image.record.shape), "counts": counts}
    return known


def _annotations(
    image: AnnotatedImage, prompts: tuple[str, ...], segmentation: Segmentation
) -> Iterator[dict[str, Any]]:
    """Yield one annotation, without its id, for every object."""
    from skimage.measure import regionprops

    height, width = image.record.shape
    for prompt, objects in image.objects.items():
        for piece in regionprops(objects):
            top, left, bottom, right = piece.bbox
            counts = run_lengths(piece.coords[:, 0], piece.coords[:, 1], (height, width))
            rle = {"size": [height, width], "counts": counts}
            yield {
                "image_id": image.record.id,
                "category_id": prompts.index(prompt) + 1,
                "segmentation": rle if segmentation == "rle" else _polygons(piece.image, top, left),
                "area": len(piece.coords),
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
            }


def _polygons(piece: NDArray[np.bool_], top: int, left: int) -> list[list[int]]:
    """Return the outlines `[x, y, x, y, ...]` of an object's pieces, cut into parts where they have holes."""
    from skimage.measure import label

    numbered = label(piece, connectivity=1)
    found: list[list[int]] = []
    for number in range(1, int(numbered.max()) + 1):
        for part, row in without_holes(numbered == number):
            (ring,) = polygon(part, top + row, left)
            found.append([coordinate for point in ring[:-1] for coordinate in point])
    return found
