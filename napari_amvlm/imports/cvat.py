"""CVAT's XML for images as answers: polygons, boxes, ellipses and masks, one object each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_amvlm.errors import DatasetError, LabelsError, printable
from napari_amvlm.imports.drawn import Drawn, answers_of, no_area
from napari_amvlm.imports.imported_masks import ImageReference, ImportedMasks
from napari_amvlm.imports.shapes import box_points, ellipse_mask, polygon_area, row_run_length_mask, whole_area
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_amvlm.imports.shapes import Area

_NO_OBJECTS = ("attribute",)
_MOST_DIGITS = 12
_HOLE = "background"
"""The label by which CVAT cuts holes into the shapes below, in the masks that it exports."""


def read_cvat(
    path: Path, content: bytes, prompt: str | None, on_problem: Callable[[str], None]
) -> Iterator[ImportedMasks]:
    """Yield the answers of a file in the format "CVAT for images", image by image.

    Parameters
    ----------
    prompt
        What shapes without a label show.
    on_problem
        Called with a sentence for each track, which belongs to a video, and each image without a name.

    Raises
    ------
    DatasetError
        It is no such file.
    """
    root = _root(path, content)
    for track in root.iter("track"):
        called = f"track {track.get('id', '?')} ({track.get('label', 'no label')})"
        on_problem(f"{path}: {called} is left out: tracks are of videos; export the task as CVAT for images.")
    for number, image in enumerate(root.iter("image"), 1):
        name = image.get("name")
        if not name:
            on_problem(f"{path}: image {number} is left out: it has no name.")
            continue
        shapes = sorted((shape for shape in image if shape.tag not in _NO_OBJECTS), key=_height)
        if not shapes:
            continue
        title = f"{path}: {{}} of {name}"
        objects = [
            Drawn(
                title.format(f"{shape.tag} {place} ({_label(shape) or 'no label'})"),
                _label(shape) or prompt,
                draw,
                cuts=(_label(shape) or "").casefold() == _HOLE,
            )
            for place, shape in enumerate(shapes, 1)
            for draw in (partial(_draw, shape) if shape.tag in _DRAWN else no_area(shape.tag),)
        ]
        reference = ImageReference(name, path=path.parent / name, shape=_size(image))
        yield ImportedMasks(path, reference, partial(answers_of, objects))


def _root(path: Path, content: bytes) -> ElementTree.Element:
    wanted = "export the task as CVAT for images."
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise DatasetError(f"{path} has definitions of its own, which an export of CVAT has not: {wanted}")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, RecursionError, LookupError) as error:
        raise DatasetError(f"{path} is no XML ({printable(str(error))[:200]}): {wanted}") from error
    if root.tag != "annotations":
        raise DatasetError(f"{path} is no XML of CVAT, it begins with <{printable(root.tag)[:50]}>: {wanted}")
    return root


def _height(shape: ElementTree.Element) -> int:
    """Return the order in which shapes lie on one another."""
    order = shape.get("z_order", "0")
    return int(order) if order.lstrip("-").isdecimal() and len(order) < _MOST_DIGITS else 0


def _label(shape: ElementTree.Element) -> str | None:
    return tidied(shape.get("label", "")) or None


def _size(image: ElementTree.Element) -> tuple[int, int] | None:
    sides = (image.get("height", ""), image.get("width", ""))
    if not all(side.isdecimal() and len(side) < _MOST_DIGITS and int(side) for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def _draw(shape: ElementTree.Element, size: tuple[int, int]) -> Area:
    try:
        return _DRAWN[shape.tag](shape, size)
    except (KeyError, ValueError, OverflowError) as error:
        raise LabelsError(f"its numbers cannot be read ({printable(str(error))[:100]}): export it again.") from error


def _polygon(shape: ElementTree.Element, size: tuple[int, int]) -> Area:
    pairs = [pair.split(",") for pair in shape.attrib["points"].split(";") if pair.strip()]
    return polygon_area([(float(x), float(y)) for x, y in pairs], size)


def _box(shape: ElementTree.Element, size: tuple[int, int]) -> Area:
    left, top, right, bottom = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    turn = float(shape.get("rotation", "0"))
    centre = ((left + right) / 2, (top + bottom) / 2)
    return polygon_area(box_points((left, top, right - left, bottom - top), turn, centre), size)


def _ellipse(shape: ElementTree.Element, size: tuple[int, int]) -> Area:
    x, y, width, height = (float(shape.attrib[name]) for name in ("cx", "cy", "rx", "ry"))
    return whole_area(ellipse_mask((x, y), (width, height), float(shape.get("rotation", "0")), size))


def _mask(shape: ElementTree.Element, size: tuple[int, int]) -> Area:
    """Return the pixels of run lengths along the rows of a box, background first."""
    left, top, width, height = (int(shape.attrib[name]) for name in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(width, height) < 1 or left + width > size[1] or top + height > size[0]:
        raise LabelsError(f"its box {width}x{height} at ({left}, {top}) lies outside the image: export it again.")
    counts = [int(count) for count in shape.attrib["rle"].split(",")]
    return (slice(top, top + height), slice(left, left + width)), row_run_length_mask(counts, (height, width))


_DRAWN = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask}
