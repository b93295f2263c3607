"""COCO: one JSON file for all images; every connected piece of a mask is an annotation with an uncompressed RLE."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.exports.annotated import annotated_images, project_prompts, remarks
from napari_amvlm.exports.label_files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.project import Project


def export_coco(project: Project, path: Path) -> list[str]:
    """Write all accepted masks to the COCO file `path`.

    Returns
    -------
    list of str
        What a reader should know about single images.

    Raises
    ------
    DatasetError
        Nothing has been accepted.
    StorageError
        The disk refused.
    """
    prompts = project_prompts(project)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    found: list[str] = []
    for image in annotated_images(project):
        height, width = image.record.shape
        images.append({"id": image.record.id, "file_name": image.record.name, "height": height, "width": width})
        for annotation in _annotations(image, prompts):
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
    index = np.sort(columns * shape[0] + rows)
    breaks = np.flatnonzero(np.diff(index) > 1)
    starts = index[np.concatenate(([0], breaks + 1))]
    ends = index[np.concatenate((breaks, [len(index) - 1]))] + 1
    borders = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(np.concatenate(([0], borders, [shape[0] * shape[1]])))
    return [int(count) for count in (counts if counts[-1] else counts[:-1])]


def _annotations(image: AnnotatedImage, prompts: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield one annotation, without its id, for every connected piece of every mask."""
    from skimage.measure import label, regionprops

    height, width = image.record.shape
    for prompt, mask in image.masks.items():
        for piece in regionprops(label(mask, connectivity=1)):
            top, left, bottom, right = piece.bbox
            counts = run_lengths(piece.coords[:, 0], piece.coords[:, 1], (height, width))
            yield {
                "image_id": image.record.id,
                "category_id": prompts.index(prompt) + 1,
                "segmentation": {"size": [height, width], "counts": counts},
                "area": len(piece.coords),
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
            }
