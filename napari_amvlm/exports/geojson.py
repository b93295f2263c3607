"""GeoJSON as QuPath reads it: one file per image, every object a polygon with its holes and its measurements."""

from __future__ import annotations

import colorsys
import json
import uuid
from typing import TYPE_CHECKING, Any

from napari_amvlm.exports.annotated import annotated_images, project_prompts, remarks
from napari_amvlm.exports.label_files import write_text
from napari_amvlm.exports.outlines import polygon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.project import Project

_GOLDEN_ANGLE = 0.381966
_NAMESPACE = uuid.UUID("5f0b1c0e-6a86-4b0c-9d5e-2f6f9f0f4a11")
"""Of the ids of objects, so that two exports of the same objects have the same ids."""


def export_geojson(project: Project, root: Path) -> list[str]:
    """Write `STEM.geojson` into the folder `root` for every accepted image; coordinates and measurements are in pixels.

    Each file has one member that GeoJSON does not know and its readers pass over: `image`, with the name, size and hash
    of the image, the prompts that were answered, and the geometry that was reviewed where that was not everywhere.

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
    found: list[str] = []
    for image in annotated_images(project, found):
        features = list(_features(image, prompts))
        collection = {"type": "FeatureCollection", "image": _knowledge(image), "features": features}
        write_text(root / f"{image.stem}.geojson", json.dumps(collection))
        found.extend(remarks(image, prompts))
    return found


def _knowledge(image: AnnotatedImage) -> dict[str, Any]:
    """Return what an import needs to know of an image: which one it is, what was answered, and where."""
    height, width = image.record.shape
    known: dict[str, Any] = {"name": image.record.name, "height": height, "width": width}
    known["answered"] = list(image.masks)
    if image.file_hash:
        known["sha256"] = image.file_hash
    if image.reviewed is not None:
        known["reviewed"] = _geometry(image.reviewed, 0, 0)
    return known


def _features(image: AnnotatedImage, prompts: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield one feature for every object."""
    from skimage.measure import regionprops

    for prompt, objects in image.objects.items():
        classification = {"name": prompt, "color": _colour(prompts.index(prompt))}
        for piece in regionprops(objects):
            yield {
                "type": "Feature",
                "id": str(uuid.uuid5(_NAMESPACE, f"{image.record.sha256} {prompt} {piece.label}")),
                "geometry": _geometry(piece.image, *piece.bbox[:2]),
                "properties": {
                    "objectType": "annotation",
                    "isLocked": int(piece.label) not in image.unlocked[prompt],
                    "classification": classification,
                    "measurements": _measurements(piece),
                },
            }


def _geometry(mask: NDArray[np.bool_], top: int, left: int) -> dict[str, Any]:
    """Return a mask as a Polygon, or as a MultiPolygon where it has several pieces."""
    from skimage.measure import label

    numbered = label(mask, connectivity=1)
    pieces = [polygon(numbered == number, top, left) for number in range(1, int(numbered.max()) + 1)]
    if len(pieces) == 1:
        return {"type": "Polygon", "coordinates": pieces[0]}
    return {"type": "MultiPolygon", "coordinates": pieces}


def _measurements(piece: Any) -> dict[str, float]:
    """Return what QuPath lists for an object; lengths are in pixels."""
    row, column = piece.centroid
    return {
        "Area px^2": float(piece.area),
        "Perimeter px": round(float(piece.perimeter), 3),
        "Major axis px": round(float(piece.axis_major_length), 3),
        "Minor axis px": round(float(piece.axis_minor_length), 3),
        "Centroid X px": round(float(column) + 0.5, 3),
        "Centroid Y px": round(float(row) + 0.5, 3),
    }


def _colour(index: int) -> list[int]:
    """Return a bright colour, 0 to 255, that differs well from those of the neighbouring indices."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_ANGLE % 1.0, 0.8, 0.9)
    return [round(255 * part) for part in (red, green, blue)]
