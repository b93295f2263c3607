"""GeoJSON as QuPath reads it: one file per image, every object a polygon with its holes and its measurements."""

from __future__ import annotations

import contextlib
import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import InputError
from napari_amvlm.exports.annotated import annotated_images, file_stems
from napari_amvlm.exports.outlines import connected_parts, polygon
from napari_amvlm.files import disk_errors, starts_with, write_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.project import Project

_START = '{"type": "FeatureCollection", "image": {"name": '
"""How the files of an export begin, by which a later one knows them."""
_NAMESPACE = uuid.UUID("5f0b1c0e-6a86-4b0c-9d5e-2f6f9f0f4a11")
"""Of the ids of objects, so that two exports of the same objects have the same ids."""


def export_geojson(project: Project, root: Path) -> list[str]:
    """Write `STEM.geojson` into the folder `root` for every accepted image; coordinates and measurements are in pixels.

    Those of a region of a slide count from the corner of the slide, which is what QuPath has open.
    Each file has one member that GeoJSON does not know and its readers pass over: `image`, with the name, size and hash
    of the image, its corner on its slide, the prompts that were answered, and the geometry that was reviewed where that
    was not everywhere.
    An earlier export there is replaced: its files of images of the project that this one leaves out are removed.
    Returns and raises what `export_coco` does.

    Raises
    ------
    InputError
        A file of one of these names is there that no export wrote.
    """
    for _, stem in file_stems(project):
        path = root / f"{stem}.geojson"
        if path.exists() and not starts_with(path, _START):
            raise InputError(f"{path} was not made by export; give another -o, or move it away.")
    notes: list[str] = []
    written: set[Path] = set()
    colours = {record.text: _rgb(record.style.colour) for record in project.prompts.all()}
    for image in annotated_images(project, notes):
        height, width = image.record.shape
        y, x = image.corner
        known: dict[str, Any] = {"name": image.record.name, "height": height, "width": width}
        if (y, x) != (0, 0):
            known |= {"y": y, "x": x}
            notes.append(f"{image.stem}: its coordinates are those of the slide, where its corner is at x {x}, y {y}.")
        known |= image.description(list(image.masks), partial(_geometry, top=y, left=x))
        collection = {"type": "FeatureCollection", "image": known, "features": list(_features(image, colours))}
        path = root / f"{image.stem}.geojson"
        write_text(path, json.dumps(collection))
        written.add(path)
    _remove_others(project, root, written)
    return notes


def _remove_others(project: Project, root: Path, written: Collection[Path]) -> None:
    """Remove what earlier exports wrote of images of the project and this one did not."""
    images = {(record.name, record.sha256 if record.source == "file" else None) for record in project.images.all()}
    for path in root.glob("*.geojson"):
        if path in written or not starts_with(path, _START):
            continue
        with contextlib.suppress(ValueError):  # a file that somebody damaged is left alone
            image = json.loads(path.read_text(encoding="utf-8"))["image"]
            if (image["name"], image.get("sha256")) in images:
                with disk_errors(path):
                    path.unlink()


def _features(image: AnnotatedImage, colours: Mapping[str, list[int]]) -> Iterator[dict[str, Any]]:
    """Yield one feature for every object."""
    for prompt, region in image.single_objects():
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(_NAMESPACE, f"{image.record.sha256} {prompt} {region.label}")),
            "geometry": _geometry(region.image, region.bbox[0] + image.corner[0], region.bbox[1] + image.corner[1]),
            "properties": {
                "objectType": "annotation",
                "isLocked": int(region.label) not in image.unlocked[prompt],
                "classification": {"name": prompt, "color": colours[prompt]},
                "measurements": _measurements(region, image.corner),
            },
        }


def _geometry(mask: NDArray[np.bool_], top: int = 0, left: int = 0) -> dict[str, Any]:
    """Return a mask as a Polygon, or as a MultiPolygon where it has several parts."""
    polygons = [polygon(part, top + row, left + column) for part, row, column in connected_parts(mask)]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _measurements(region: Any, corner: tuple[int, int]) -> dict[str, float]:
    """Return what QuPath lists for an object; lengths are in pixels."""
    row, column = (place + start for place, start in zip(region.centroid, corner, strict=True))
    return {
        "Area px^2": float(region.area),
        "Perimeter px": round(float(region.perimeter), 3),
        "Major axis px": round(float(region.axis_major_length), 3),
        "Minor axis px": round(float(region.axis_minor_length), 3),
        "Centroid X px": round(float(column) + 0.5, 3),
        "Centroid Y px": round(float(row) + 0.5, 3),
    }


def _rgb(colour: str) -> list[int]:
    """Return `#rrggbb` as three numbers from 0 to 255."""
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
