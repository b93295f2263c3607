"""COCO files as answers: polygons, run lengths and packed run lengths; one object for each annotation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.imports.imported_masks import Answers, ImageReference, ImportedMasks, before_upload, first_of
from napari_amvlm.imports.shapes import decode_counts, polygon_mask, run_length_area, run_length_mask, window_of
from napari_amvlm.wording import counted, tidied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Crowds = Literal["object", "ignore"]
_LISTED = 5


def _as_text(number: object) -> object:
    """Return a number as a text; what is no number is returned as it is."""
    whole = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
    return str(int(number)) if whole else number  # type: ignore[call-overload]


Identifier = Annotated[str, BeforeValidator(_as_text)]
"""COCO numbers what it lists; some writers use texts, or both for one thing."""


class _Part(BaseModel):
    """A part of a COCO file; keys that are not named here do not matter."""

    model_config = ConfigDict(frozen=True, extra="ignore")


_Kind = TypeVar("_Kind", bound=_Part)
_Decoded = TypeVar("_Decoded")


class RunLengths(_Part):
    """A mask as run lengths; `size` is height and width."""

    size: tuple[int, int]
    counts: list[int] | str


class CocoImage(_Part):
    """One image; the keys from `sha256` on are those of this program's own export."""

    id: Identifier
    file_name: str
    height: int | None = None
    width: int | None = None
    sha256: str | None = None
    answered: list[Identifier] | None = None
    reviewed: RunLengths | None = None


class CocoCategory(_Part):
    """One class."""

    id: Identifier
    name: Identifier


class CocoAnnotation(_Part):
    """One object; `segmentation` is a list of polygons, one flat polygon, or run lengths."""

    id: Identifier | None = None
    image_id: Identifier
    category_id: Identifier
    segmentation: Any = None
    bbox: Any = None
    iscrowd: Any = 0


class CocoFile(_Part):
    """A file of instances; what is in its lists is parsed one by one."""

    images: list[Any]
    annotations: list[Any]
    categories: list[Any]


@dataclass(frozen=True)
class _Parsed:
    """The annotations of a file by image, and sentences about what was left out."""

    by_image: Mapping[str, list[CocoAnnotation]]
    names: Mapping[str, str]
    crowds: Crowds


def read_coco(
    path: Path, content: Any, on_problem: Callable[[str], None], crowds: Crowds = "object"
) -> Iterator[ImportedMasks]:
    """Yield the answers of a COCO file, image by image.

    An image answers the categories that it has annotations of, and those that this program's own export names.

    Parameters
    ----------
    path, content
        The file and what `parse_json` found in it.
    on_problem
        Called with a sentence for each image, category and annotation that is left out.
    crowds
        What a crowd is: an object, or pixels that nobody reviewed.

    Raises
    ------
    DatasetError
        It is no COCO file of instances.
    """
    file = _file(path, content)
    categories = _by_id(_listed(CocoCategory, file.categories, path, "category", on_problem), "name", path, on_problem)
    names = {number: name for number, one in categories.items() if (name := tidied(one.name))}
    images = _by_id(_listed(CocoImage, file.images, path, "image", on_problem), "file_name", path, on_problem)
    by_image: dict[str, list[CocoAnnotation]] = {number: [] for number in images}
    # Of files that were merged, an image may be listed twice, with an id each.
    first: dict[tuple[Any, ...], str] = {}
    same = {n: first.setdefault((i.file_name, i.sha256, i.height, i.width), n) for n, i in images.items()}
    for number, raw in enumerate(file.annotations, 1):
        try:
            annotation = _annotation(raw, number, path)
            if annotation.image_id not in images:
                where = f"annotation {annotation.id} is of image {annotation.image_id}"
                raise DatasetError(f"{path}: {where}, which is not listed: add it.")
        except DatasetError as error:
            on_problem(str(error))
            continue
        by_image[same[annotation.image_id]].append(annotation)
    parsed = _Parsed(by_image, names, crowds)
    copies: dict[str, list[CocoImage]] = {}
    for image_id, image in images.items():
        copies.setdefault(same[image_id], []).append(image)
    for image_id, listed in copies.items():
        image = images[image_id]
        if by_image[image_id] or any(one.answered for one in listed):
            shape = (image.height, image.width) if image.height and image.width else None
            name = PurePosixPath(image.file_name.replace("\\", "/")).name
            reference = ImageReference(
                image.file_name,
                image.sha256,
                path.parent / image.file_name,
                shape,
                _extent(by_image[image_id]),
                also=plain if (plain := before_upload(name)) != name else "",
            )
            yield ImportedMasks(path, reference, partial(_answers, path, listed, parsed))


def _listed(
    kind: type[_Kind], content: Sequence[Any], path: Path, what: str, on_problem: Callable[[str], None]
) -> Iterator[_Kind]:
    """Yield the parts of a list that can be understood."""
    for number, raw in enumerate(content, 1):
        try:
            yield _validated(kind, raw, path, f"{what} {number}")
        except DatasetError as error:
            on_problem(str(error))


def _by_id(parts: Iterable[Any], name: str, path: Path, on_problem: Callable[[str], None]) -> dict[str, Any]:
    """Return images or categories by their id; of those that share one and differ by name, nobody knows which."""
    found: dict[str, Any] = {}
    unclear: dict[str, str] = {}
    for part in parts:
        if getattr(found.setdefault(part.id, part), name) != getattr(part, name):
            unclear[part.id] = f"{getattr(found[part.id], name)} and {getattr(part, name)}"
    for number, both in unclear.items():
        on_problem(f"{path} has the id {number} twice, for {both}; both are left out: give each its own.")
        del found[number]
    return found


def _annotation(raw: Any, number: int, path: Path) -> CocoAnnotation:
    annotation = _validated(CocoAnnotation, raw, path, f"annotation {number}")
    return annotation if annotation.id is not None else annotation.model_copy(update={"id": f"no. {number}"})


def _file(path: Path, content: Any) -> CocoFile:
    """Return the three lists of a file."""
    try:
        file = CocoFile.model_validate(content)
    except ValidationError as error:
        where = next(iter(error.errors()[0]["loc"]), None)
        wanted = f"a list at {where}" if where else "images, annotations and categories"
        here = f"it has {', '.join([*content][:_LISTED]) or 'nothing'}" if isinstance(content, dict) else "it is a list"
        raise DatasetError(
            f"{path} is no COCO file of instances: expected {wanted}, but {here}; export it as COCO, GeoJSON, or JSON "
            "of Label Studio."
        ) from error
    if any(isinstance(raw, dict) and "segments_info" in raw for raw in file.annotations[:1]):
        raise DatasetError(f"{path} is a COCO file of panoptic segments, whose masks are elsewhere: export instances.")
    return file


def _validated(kind: type[_Kind], content: Any, path: Path, what: str) -> _Kind:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or what
        raise DatasetError(f"{path} has {what}, which is left out, at {key}: {first['msg'].lower()}.") from error


def _extent(annotations: Sequence[CocoAnnotation]) -> tuple[float, float] | None:
    """Return the greatest y and x of all polygons."""
    points: list[NDArray[np.float64]] = []
    for annotation in annotations:
        for flat in _polygons(annotation.segmentation):
            try:
                points.append(np.asarray(flat, np.float64).reshape(-1, 2))
            except (TypeError, ValueError, OverflowError):
                continue
    if not sum(len(part) for part in points):
        return None
    x, y = np.concatenate(points).max(axis=0)
    return float(y), float(x)


def _answers(path: Path, listed: Sequence[CocoImage], parsed: _Parsed, shape: tuple[int, int]) -> Answers:
    """Return the answers of an image, which may be listed several times; its annotations are those of the first."""
    image = listed[0]
    # Crowds first, so that objects in them are painted over them.
    annotations = sorted(parsed.by_image[image.id], key=lambda annotation: not _is_crowd(annotation))
    names = parsed.names
    answered = [category for one in listed for category in one.answered or () if category in names]
    objects = {names[category]: np.zeros(shape, np.int32) for category in answered}
    ignored = np.zeros(shape, np.bool_)
    problems: list[str] = []
    incomplete: set[str] = set()
    for number, annotation in enumerate(annotations, start=1):
        title = f"{path}: annotation {annotation.id} of {image.file_name}"
        name = names.get(annotation.category_id)
        try:
            if name is None:
                raise LabelsError(f"its category {annotation.category_id} is not listed.")
            window, mask, degenerate = _area(annotation.segmentation, shape)
            if _is_crowd(annotation) and parsed.crowds == "ignore":
                ignored[window] |= mask
                incomplete.add(name)
                continue
        except LabelsError as error:
            problems.append(f"{title} is left out: {error}")
            incomplete.add(name or "")
            ignored[_box(annotation.bbox)] = True
            continue
        if degenerate:
            problems.append(f"{title}: left out: {counted(degenerate, 'polygon')} without area.")
        if name not in objects:
            objects[name] = np.zeros(shape, np.int32)
        objects[name][window][mask] = number
    # What was drawn and could not be used is no answer that there is nothing.
    objects = {name: numbers for name, numbers in objects.items() if numbers.any() or name not in incomplete}
    if not objects:
        if problems:
            raise LabelsError(first_of(problems))
        return Answers({}, {})
    parts = [_run_lengths(one.reviewed, shape, run_length_mask) for one in listed if one.reviewed is not None]
    reviewed = np.logical_and.reduce(parts) if parts else None
    if ignored.any():
        covered = np.logical_or.reduce([numbers > 0 for numbers in objects.values()])
        reviewed = (np.ones(shape, np.bool_) if reviewed is None else reviewed) & (~ignored | covered)
    return Answers({name: numbers > 0 for name, numbers in objects.items()}, objects, reviewed, tuple(problems))


def _is_crowd(annotation: CocoAnnotation) -> bool:
    return str(annotation.iscrowd).lower() in ("1", "1.0", "true")


def _polygons(segmentation: Any) -> list[Any]:
    """Return the flat polygons of a segmentation, of which some writers give one without a list around it."""
    if not isinstance(segmentation, list):
        return []
    if segmentation and all(isinstance(value, (int, float)) for value in segmentation):
        return [segmentation]
    return segmentation


def _area(segmentation: Any, shape: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.bool_], int]:
    """Return a part of the image, the pixels of a segmentation in it, and how many of its polygons have no area.

    Raises
    ------
    LabelsError
        It has no pixel, or cannot be understood.
    """
    if isinstance(segmentation, dict):
        (window, mask), degenerate = _run_lengths(segmentation, shape, run_length_area), 0
    else:
        polygons = _polygons(segmentation)
        if not polygons:
            raise LabelsError("it has no outline, only a box or points: draw it as a polygon.")
        usable = [_points(flat) for flat in polygons if not _is_degenerate(flat)]
        degenerate = len(polygons) - len(usable)
        if not usable:
            raise LabelsError("its polygon has fewer than three points: redraw it.")
        rows, columns = window = window_of(usable, shape)
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
        for points in usable:
            mask |= polygon_mask([points], mask.shape, (rows.start, columns.start))
    if not mask.any():
        raise LabelsError("it has no pixel in the image: it is of another image or of another resolution.")
    return window, mask, degenerate


def _points(flat: Any) -> Any:
    if _are_pairs(flat):
        return flat
    if not isinstance(flat, list) or len(flat) % 2:
        raise LabelsError("a polygon has an odd number of coordinates: export it again.")
    return [flat[number : number + 2] for number in range(0, len(flat), 2)]


def _is_degenerate(flat: Any) -> bool:
    return isinstance(flat, list) and (len(flat) < 3 if _are_pairs(flat) else len(flat) in (0, 2, 4))


def _are_pairs(flat: Any) -> bool:
    """Tell whether a polygon is a list of points and not of single coordinates, as some writers have it."""
    return isinstance(flat, list) and bool(flat) and all(isinstance(point, list) for point in flat)


def _run_lengths(
    segmentation: RunLengths | dict[str, Any],
    shape: tuple[int, int],
    decode: Callable[[Sequence[int], tuple[int, int]], _Decoded],
) -> _Decoded:
    try:
        lengths = RunLengths.model_validate(segmentation)
    except ValidationError as error:
        raise LabelsError("run lengths must have a size and counts, but have not: export them again.") from error
    if lengths.size != shape:
        raise LabelsError(f"run lengths are for {lengths.size} pixels, but the image has {shape}.")
    counts = lengths.counts
    return decode(decode_counts(counts) if isinstance(counts, str) else counts, shape)


def _box(bbox: Any) -> tuple[slice, slice]:
    """Return the part of the image in the box of an object that is left out: nobody knows which pixels show it."""
    try:
        x, y, width, height = (float(value) for value in bbox)
        left, top, right, bottom = (int(value) for value in (x, y, np.ceil(x + width), np.ceil(y + height)))
    except (TypeError, ValueError, OverflowError):
        return slice(0), slice(0)
    return slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right))
