"""GeoJSON as QuPath writes it: one file per image, one object for each feature, with holes and classes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.imports.imported_masks import Answers, ImageReference, ImportedMasks, first_of, of_parts
from napari_amvlm.imports.shapes import polygon_mask, window_of
from napari_amvlm.wording import counted, tidied

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imports.imported_masks import Part

Cells = Literal["cell", "nucleus"]

_ENDINGS = (".gz", ".zip", ".json", ".geojson")
_AREAS = ("Polygon", "MultiPolygon")
_GEOMETRIES = (*_AREAS, "GeometryCollection")
_FARTHEST = 1 << 40
"""No outline reaches so far, pixels."""
_FOUND = frozenset(("detection", "cell", "tile"))
"""What QuPath calls objects that it found itself: in an annotation that was drawn around them, or in a core."""


def is_geojson(content: Any) -> bool:
    """Tell whether the content of a JSON file is a GeoJSON feature, several, or a geometry alone."""
    if isinstance(content, dict):
        return content.get("type") in ("FeatureCollection", "Feature", *_GEOMETRIES)
    return isinstance(content, list) and any(isinstance(f, dict) and f.get("type") == "Feature" for f in content)


def read_geojson(path: Path, content: Any, prompt: str | None, cells: Cells = "cell") -> ImportedMasks:
    """Return what a GeoJSON file holds; its coordinates are pixels.

    A feature's prompt is the name of its classification, or `prompt` where it has none. The image is the one that the
    file names, or the one that is called like the file.

    Parameters
    ----------
    path, content
        The file and what `parse_json` found in it.
    prompt
        What features without a class show; without it, they are left out. So is, in any case, an annotation without a
        class in a file with detections: QuPath finds them within it.
    cells
        Of cells with a nucleus: which outline is entered.

    Raises
    ------
    DatasetError
        It is no GeoJSON.
    """
    features = _features(path, content)
    image = content.get("image") if isinstance(content, dict) else None
    known: dict[str, Any] = image if isinstance(image, dict) else {}
    sides = (known.get("height"), known.get("width"))
    shape = (sides[0], sides[1]) if isinstance(sides[0], int) and isinstance(sides[1], int) else None
    sha256 = known.get("sha256")
    digest = sha256 if isinstance(sha256, str) else None
    name, extent = str(known.get("name") or _stem(path.name)), None if known else _extent(features)
    reference = ImageReference(name, digest, None, shape, extent)
    read = partial(_answers, path, features, known, prompt, cells)
    return ImportedMasks(
        path, reference, read, None if known else partial(of_parts, read, path, len(features), "feature")
    )


def _stem(name: str) -> str:
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _features(path: Path, content: Any) -> list[Any]:
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection":
        content = content.get("features")
    elif kind == "Feature":
        content = [content]
    elif kind in _GEOMETRIES:
        content = [{"type": "Feature", "geometry": content}]
    if not isinstance(content, list) or (content and not is_geojson(content)):
        raise DatasetError(f"{path} is no GeoJSON with features: export the objects of one image as GeoJSON.")
    return content


def _answers(
    path: Path,
    features: Sequence[Any],
    known: dict[str, Any],
    prompt: str | None,
    cells: Cells,
    shape: tuple[int, int],
    part: Part | None = None,
    met: set[int] | None = None,
) -> Answers:
    """Return the answers for an image, or for a part of it: then of the features there, whose numbers are `met`."""
    met = set() if met is None else met
    answered = known.get("answered")
    names = [str(name) for name in answered] if isinstance(answered, list) else []
    objects: dict[str, NDArray[Any]] = {name: np.zeros(shape, np.int32) for name in names}
    problems: list[str] = []
    incomplete: set[str | None] = set()
    some_found = any(_kind(feature) in _FOUND for feature in features)
    planes = [_plane(feature) for feature in features]
    places = (known.get("y"), known.get("x"))
    corner = (places[0], places[1]) if isinstance(places[0], int) and isinstance(places[1], int) else (0, 0)
    shown = planes[0] if len(set(planes)) == 1 else (0, 0)
    if part is not None:
        corner, shown = part.corner, part.plane
    for number, (feature, plane) in enumerate(zip(features, planes, strict=True), start=1):
        own_name = _class_name(feature)
        name = own_name or prompt
        if part is not None and plane != shown:
            continue
        try:
            if plane != shown:
                raise LabelsError(f"it lies in slice {plane[0]} at time {plane[1]}: export each plane as a file.")
            window, mask, parts = _feature_area(feature, cells, shape, corner)
            if part is not None and not mask.any():
                continue
            met.add(number)
            if not mask.any():
                raise LabelsError("it has no pixel in the image: it is of another image or of another resolution.")
            if own_name is None and some_found and _kind(feature) not in _FOUND:
                raise LabelsError("it has no class and is drawn around detections: set one in the other program.")
            if name is None:
                raise LabelsError("it has no class: set one in the other program, or give --prompt.")
        except LabelsError as error:
            met.add(number)
            problems.append(f"{path}: {_title(number, feature, name)} is left out, {error}")
            incomplete.add(name)
            continue
        if parts:
            problems.append(
                f"{path}: {_title(number, feature, name)}: left out: {counted(parts, 'part')} without area."
            )
        if name not in objects:
            objects[name] = np.zeros(shape, np.int32)
        objects[name][window][mask] = number
    # What was drawn and could not be used is no answer that there is nothing.
    objects = {name: numbers for name, numbers in objects.items() if numbers.any() or name not in incomplete}
    if not objects and part is None:
        raise LabelsError(first_of(problems) if problems else f"{path} has no features: export at least one.")
    reviewed = geometry_mask(known["reviewed"], shape, corner)[0] if known.get("reviewed") else None
    return Answers({name: numbers > 0 for name, numbers in objects.items()}, objects, reviewed, tuple(problems))


def _plane(feature: Any) -> tuple[int, int]:
    """Return the slice and the time of a feature, which QuPath writes into the geometry of stacks."""
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    plane = geometry.get("plane") if isinstance(geometry, dict) else None
    if not isinstance(plane, dict):
        return 0, 0
    z, t = (plane.get(axis) for axis in "zt")
    return (z if isinstance(z, int) else 0, t if isinstance(t, int) else 0)


def _feature_area(
    feature: Any, cells: Cells, shape: tuple[int, int], corner: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.bool_], int]:
    """Return a part of the image, the pixels of a feature in it, and how many of its parts have no area."""
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise LabelsError("it is no GeoJSON feature: export it again.")
    geometry = _nucleus(feature) if cells == "nucleus" else feature.get("geometry")
    rows, columns = window = window_of(_outlines(geometry), shape, corner)
    size, start = (rows.stop - rows.start, columns.stop - columns.start), (rows.start, columns.start)
    return window, *geometry_mask(geometry, size, (corner[0] + start[0], corner[1] + start[1]))


def _outlines(geometry: Any) -> list[Any]:
    """Return the outer rings of all areas of a geometry, empty for what is none."""
    known = geometry if isinstance(geometry, dict) else {}
    inner, coordinates = known.get("geometries"), known.get("coordinates")
    if known.get("type") == "GeometryCollection":
        return [ring for part in (inner if isinstance(inner, list) else ()) for ring in _outlines(part)]
    polygons = [coordinates] if known.get("type") == "Polygon" else coordinates if known.get("type") in _AREAS else []
    return [rings[0] for rings in polygons if isinstance(rings, list) and rings] if isinstance(polygons, list) else []


def _extent(features: Sequence[Any]) -> tuple[float, float] | None:
    """Return the greatest y and x of all outlines; None where there is none that can be understood."""
    rings = [ring for f in features if isinstance(f, dict) for ring in _outlines(f.get("geometry"))]
    rows, columns = window_of(rings, (_FARTHEST, _FARTHEST))
    return None if (rows.stop, columns.stop) == (_FARTHEST, _FARTHEST) else (rows.stop, columns.stop)


def _kind(feature: Any) -> str:
    """Return the type of object that QuPath gives a feature; empty where it gives none."""
    known = feature.get("properties") if isinstance(feature, dict) else None
    kind = (known.get("objectType") or known.get("object_type")) if isinstance(known, dict) else None
    return kind if isinstance(kind, str) else ""


def _nucleus(feature: dict[str, Any]) -> Any:
    """Return the outline of a cell's nucleus, and that of a feature that is no cell."""
    properties = feature.get("properties") or {}
    known = properties if isinstance(properties, dict) else {}
    nucleus = feature.get("nucleusGeometry") or known.get("nucleusGeometry")
    if nucleus is None and _kind(feature) == "cell":
        raise LabelsError("it is a cell without a nucleus: import cells, or detect nuclei.")
    return feature.get("geometry") if nucleus is None else nucleus


def _title(number: int, feature: Any, name: str | None) -> str:
    """Return what a feature is called in messages: its number, its class and its own name."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    own = properties.get("name") if isinstance(properties, dict) else None
    called = ", ".join(str(part) for part in (name, own) if part)
    return f"feature {number} ({called})" if called else f"feature {number}"


def geometry_mask(
    geometry: Any, shape: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> tuple[NDArray[np.bool_], int]:
    """Return the pixels whose centre lies inside a Polygon or MultiPolygon, bool `shape`, and a number of parts.

    `corner` is the row and column of the first pixel.

    Of a GeometryCollection, what has an area counts. The parts are those with fewer than three points, which are left
    out; holes that have no area are no parts.

    Raises
    ------
    LabelsError
        Another kind of geometry, or coordinates that make no polygon.
    """
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "GeometryCollection":
        parts = geometry.get("geometries")
        parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        areas = [geometry_mask(part, shape, corner) for part in parts if part.get("type") in _AREAS]
        if areas:
            return np.asarray(np.any([mask for mask, _ in areas], axis=0)), sum(count for _, count in areas)
    if kind not in _AREAS:
        what = f"a {kind} has no area" if kind else "it has no outline"
        raise LabelsError(f"{what}: redraw it as a polygon, or remove it.")
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not all(isinstance(rings, list) and rings for rings in polygons):
        raise LabelsError(f"a {kind} must be a list of rings, but is not: export it again.")
    usable = [rings for rings in polygons if not _is_degenerate(rings[0])]
    if polygons and not usable:
        raise LabelsError("its polygon has fewer than three points: redraw it.")
    mask = np.zeros(shape, np.bool_)
    for outline, *holes in usable:
        mask |= polygon_mask([outline, *(hole for hole in holes if not _is_degenerate(hole))], shape, corner)
    return mask, len(polygons) - len(usable)


def _is_degenerate(ring: Any) -> bool:
    return isinstance(ring, list) and len(ring) < 3


def _class_name(feature: Any) -> str | None:
    """Return the name of a feature's class; one that is made of several names is joined as QuPath shows it."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    classification = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(classification, dict):
        names = classification.get("names")
        name = classification.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else None)
        return tidied(str(name)) or None if name else None
    return tidied(classification) or None if isinstance(classification, str) else None
