"""ROIs of ImageJ: one .zip an image, one ROI an object, along the borders of pixels."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.exports.annotated import annotated_images, project_prompts
from napari_amvlm.exports.outlines import connected_parts, polygon, without_holes
from napari_amvlm.exports.scan_labels import require_empty
from napari_amvlm.files import write_atomically
from napari_amvlm.imaging.folder import file_slug
from napari_amvlm.libraries import need_library

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm.project import Project

_MOST_POINTS = 60_000
"""Of a plain outline, whose number of points has 16 bits."""


def export_imagej(project: Project, root: Path) -> list[str]:
    """Write `STEM.zip` for every accepted image, as ImageJ's ROI Manager opens it.

    A ROI's properties name its prompt and the image (`prompt`, `sha256`). Objects with holes are cut into parts that
    have none; several parts are one composite ROI. The pixels inside are exactly those of the object.
    Returns notes, as `export_coco` does.

    Raises
    ------
    InputError
        roifile is not installed, nothing was accepted, or the folder holds files.
    StorageError
        The disk refused.
    """
    need_roifile()
    project_prompts(project)
    require_empty(root)
    colours = {record.text: record.style.colour for record in project.prompts.all()}
    notes: list[str] = []
    for image in annotated_images(project, notes):
        packed = io.BytesIO()
        count = 0
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for count, (prompt, region) in enumerate(image.single_objects(), 1):
                roi = _roi(region, f"{count:04d}-{file_slug(prompt)}", colours[prompt])
                roi.props = f"prompt: {prompt}\nsha256: {image.record.sha256}\n"
                file.writestr(zipfile.ZipInfo(f"{roi.name}.roi"), roi.tobytes())
        if count:
            _write(root / f"{image.stem}.zip", packed.getvalue())
        else:
            notes.append(f"{image.stem}: it has no object, and so no file of ROIs.")
    return notes


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(content), make_folder=True)


def need_roifile() -> None:
    """Raise InputError where roifile is not installed."""
    need_library("roifile", "imagej", "ROIs of ImageJ take")


def _roi(region: Any, name: str, colour: str) -> Any:
    """Return an object as a traced outline, or as a composite of several."""
    import roifile

    top, left, bottom, right = region.bbox
    rings = [
        np.asarray(polygon(part, top + first_row + row, left + first_column + column)[0][:-1])
        for whole, first_row, first_column in connected_parts(region.image)
        for part, row, column in without_holes(whole)
    ]
    if len(rings) == 1 and len(rings[0]) < _MOST_POINTS:
        roi = roifile.ImagejRoi.frompoints(rings[0], name=name)
        roi.roitype = roifile.ROI_TYPE.TRACED
    else:
        path = [np.column_stack([np.ones(len(ring)), ring]).ravel() for ring in rings]
        for steps in path:
            steps[0] = 0  # the first step moves, the others draw
        roi = roifile.ImagejRoi()
        roi.roitype, roi.name = roifile.ROI_TYPE.RECT, name
        roi.multi_coordinates = np.concatenate([np.append(steps, 4) for steps in path]).astype(np.float32)
        roi.shape_roi_size = len(roi.multi_coordinates)
    roi.top, roi.left, roi.bottom, roi.right = (int(side) for side in (top, left, bottom, right))
    roi.stroke_color = bytes([255, *bytes.fromhex(colour[1:])])
    return roi
