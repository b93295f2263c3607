"""GeoJSON as QuPath writes it: one file per image, one object for each feature, with holes and classes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.imports.imported_masks import Answers, Found, ImageReference
from napari_amvlm.imports.json_files import read_json
from napari_amvlm.imports.shapes import polygon_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def read_geojson(path: Path, prompt: str | None) -> Found:
    """Return what a GeoJSON file holds; its coordinates are pixels.

    A feature's prompt is the name of its classification, or `prompt` where it has none. The image is the one that the
    file names, or the one that is called like the file.

    Raises
    ------
    DatasetError
        It is no GeoJSON.
    """
    content = read_json(path)
    features = _features(path, content)
    image = content.get("image") if isinstance(content, dict) else None
    known: dict[str, Any] = image if isinstance(image, dict) else {}
    sides = (known.get("height"), known.get("width"))
    shape = (sides[0], sides[1]) if isinstance(sides[0], int) and isinstance(sides[1], int) else None
    sha256 = known.get("sha256")
    digest = sha256 if isinstance(sha256, str) else None
    reference = ImageReference(str(known.get("name") or path.stem), digest, None, shape)
    return Found(path, reference, partial(_answers, path, features, known, prompt))


def _features(path: Path, content: Any) -> list[dict[str, Any]]:
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection":
        content = content.get("features")
    elif kind == "Feature":
        content = [content]
    if not isinstance(content, list) or not all(isinstance(f, dict) and f.get("type") == "Feature" for f in content):
        raise DatasetError(f"{path} is no GeoJSON with features: export the objects of one image as GeoJSON.")
    return content


def _answers(
    path: Path, features: Sequence[dict[str, Any]], known: dict[str, Any], prompt: str | None, shape: tuple[int, int]
) -> Answers:
    answered = known.get("answered")
    names = [str(name) for name in answered] if isinstance(answered, list) else []
    objects: dict[str, NDArray[Any]] = {name: np.zeros(shape, np.int32) for name in names}
    for number, feature in enumerate(features, start=1):
        name = _class_name(feature) or prompt
        if name is None:
            raise LabelsError(f"{path}: feature {number} has no class: set one in the other program, or give --prompt.")
        try:
            mask = geometry_mask(feature.get("geometry"), shape)
        except LabelsError as error:
            raise LabelsError(f"{path}: feature {number} ({name}): {error}") from error
        objects.setdefault(name, np.zeros(shape, np.int32))[mask] = number
    drawn = {_class_name(feature) or prompt for feature in features}
    empty = sorted(name for name, numbers in objects.items() if name in drawn and not numbers.any())
    if empty:
        raise LabelsError(
            f"{path}: no feature of {empty[0]!r} has a pixel in the image: the outlines are of another image, or of "
            "another resolution; export them at full resolution."
        )
    if not objects:
        raise LabelsError(f"{path} has no features, so it does not say what was looked for: export at least one.")
    reviewed = geometry_mask(known["reviewed"], shape) if known.get("reviewed") else None
    return Answers({name: numbers > 0 for name, numbers in objects.items()}, objects, reviewed)


def geometry_mask(geometry: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies inside a Polygon or MultiPolygon, bool `shape`.

    Raises
    ------
    LabelsError
        Another kind of geometry, or coordinates that make no polygon.
    """
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise LabelsError(f"only a Polygon or MultiPolygon has an area, but this is a {kind}: redraw or remove it.")
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not all(isinstance(rings, list) and rings for rings in polygons):
        raise LabelsError(f"a {kind} must be a list of rings, but is not: export it again.")
    mask = np.zeros(shape, np.bool_)
    for rings in polygons:
        mask |= polygon_mask(rings, shape)
    return mask


def _class_name(feature: dict[str, Any]) -> str | None:
    """Return the name of a feature's class; one that is made of several names is joined as QuPath shows it."""
    properties = feature.get("properties")
    classification = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(classification, dict):
        names = classification.get("names")
        name = classification.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else None)
        return " ".join(str(name).split()) or None if name else None
    return " ".join(classification.split()) or None if isinstance(classification, str) else None
