"""JSON of Label Studio as answers: brushes, polygons, rectangles and ellipses, one object for each region."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from napari_amvlm.errors import LabelsError
from napari_amvlm.imaging.folder import SUFFIXES
from napari_amvlm.imports.drawn import Drawn, answers_of, no_area
from napari_amvlm.imports.imported_masks import ImageReference, ImportedMasks, before_upload
from napari_amvlm.imports.shapes import box_points, ellipse_mask, polygon_area, whole_area
from napari_amvlm.wording import counted, tidied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imports.shapes import Area

_COUNT_BITS, _WORD_BITS, _RUN_BITS = 32, 5, 4
_CHANNELS = 4


def is_label_studio(content: Any) -> bool:
    """Tell whether the content of a JSON file is a task, or a list of tasks, as Label Studio exports them."""
    if isinstance(content, dict):
        return "data" in content and "annotations" in content
    if not isinstance(content, list):
        return False
    tasks = [task for task in content if isinstance(task, dict)]
    return any("annotations" in task or {"data", "predictions"} <= set(task) or _regions(task) for task in tasks)


def read_label_studio(
    path: Path, content: Any, prompt: str | None, on_problem: Callable[[str], None]
) -> Iterator[ImportedMasks]:
    """Yield the answers of an export (JSON or JSON-MIN), task by task.

    Of several annotations of a task, that which is marked as ground truth counts, else the last one. Where a task has
    several images, its regions say which of them they are on.

    Parameters
    ----------
    path, content
        The file and what is in it.
    prompt
        What regions without a label show.
    on_problem
        Called with a sentence for each task and annotation that is left out.
    """
    for number, task in enumerate([content] if isinstance(content, dict) else content, 1):
        title = f"{path}: task {task.get('id', number) if isinstance(task, dict) else number}"
        if not isinstance(task, dict):
            on_problem(f"{title} is left out: it is no task of Label Studio.")
            continue
        for name, results in _by_image(task, _results(task, title, on_problem)).items():
            if name is None:
                on_problem(
                    f"{title}: left out, as it is not said which image is meant: {counted(len(results), 'result')}."
                )
                continue
            objects = [Drawn(*one) for one in _objects(results, f"{title}, {{}} of {name}", prompt)]
            if objects:
                sizes = {size for size in map(_size, results) if size is not None}
                shape = next(iter(sizes)) if len(sizes) == 1 else None
                reference = ImageReference(name, path=path.parent / PurePosixPath(name).name, shape=shape)
                yield ImportedMasks(path, reference, partial(answers_of, objects))


def _by_image(task: Mapping[str, Any], results: Sequence[Any]) -> dict[str | None, list[Any]]:
    """Return results by the image that they are on, of which a task may show several; None where it is not clear."""
    drawn = [one for one in results if isinstance(one, dict)]
    alone = len({one.get("to_name") for one in drawn}) == 1
    found: dict[str | None, list[Any]] = {}
    for one in drawn:
        page = one.get("item_index")
        name = _image_name(task, str(one.get("to_name")), page if isinstance(page, int) else 0, alone=alone)
        found.setdefault(name, []).append(one)
    return found


def _image_name(task: Mapping[str, Any], view: str, page: int, *, alone: bool) -> str | None:
    """Return folders and name of an image, out of the addresses that Label Studio gives it; None where it is not clear.

    Parameters
    ----------
    view
        What the results call what they were drawn on, which often is what the task calls its address.
    alone
        Whether all results of the task have this view.
    """
    data = task.get("data", task)
    images: dict[str, list[str]] = {}
    for key, value in data.items() if isinstance(data, dict) else ():
        names = [_file_name(one) for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
        if names and all(name.lower().endswith(SUFFIXES) for name in names):
            images[key] = names
    usual = next(iter(images.values())) if len(images) == 1 else images.get("image", []) if alone else []
    pages = images.get(view, usual)
    return pages[page] if 0 <= page < len(pages) else None


def _file_name(address: str) -> str:
    local = "/data/local-files/" in address
    path = unquote(address.partition("?d=")[2] if local else address.partition("?")[0]).replace("\\", "/")
    if "/upload/" in address:  # each has a folder for its project, and a name of its own
        return before_upload(PurePosixPath(path).name)
    return path.partition("://")[2] or path


def _results(task: Mapping[str, Any], title: str, on_problem: Callable[[str], None]) -> list[Any]:
    """Return the results of the annotation that counts."""
    if "annotations" not in task and "predictions" not in task:
        return _regions(task)
    if task.get("predictions") and not task.get("annotations"):
        on_problem(f"{title} is left out: it has predictions alone, which nobody confirmed: submit it in Label Studio.")
        return []
    listed = task.get("annotations")
    annotations = listed if isinstance(listed, list) else []
    usable = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    if len(usable) < len(annotations):
        on_problem(f"{title}: left out as skipped: {counted(len(annotations) - len(usable), 'annotation')}.")
    if len(usable) > 1:
        on_problem(
            f"{title}: {len(usable) - 1} of its {len(usable)} annotations left out: the ground truth or the last one "
            "counts."
        )
    usable.sort(key=lambda one: bool(one.get("ground_truth")))
    results = usable[-1].get("result") if usable else []
    return results if isinstance(results, list) else []


def _regions(task: Mapping[str, Any]) -> list[Any]:
    """Return the results of a task in the short form, which lie in it without a list of annotations."""
    lists = [value for value in task.values() if isinstance(value, list)]
    regions = [one for part in lists for one in part if isinstance(one, dict) and "original_width" in one]
    return [{"value": one, **{key: one[key] for key in one if key.startswith("original")}} for one in regions]


def _objects(
    results: Sequence[Any], title: str, prompt: str | None
) -> Iterator[tuple[str, str | None, Callable[[tuple[int, int]], Area]]]:
    """Yield title, prompt and pixels of every region, for each of its labels, which may be results of their own."""
    regions = [one for one in results if isinstance(one, dict) and isinstance(one.get("value"), dict)]
    labels: dict[str, list[str]] = {}
    for one in regions:
        if isinstance(one.get("id"), str):
            labels.setdefault(one["id"], []).extend(_labels(one["value"]))
    drawn_by = {one["id"] for one in regions if isinstance(one.get("id"), str) and _kind(one["value"])}
    done: set[str] = set()
    for number, one in enumerate(regions, 1):
        value, own = one["value"], one.get("id")
        kind = _kind(value)
        if kind is None and ("choices" in value or "text" in value or (isinstance(own, str) and own in drawn_by)):
            continue  # about the whole image, or about a region that is drawn by another result
        if isinstance(own, str):
            if own in done:
                continue
            done.add(own)
        named = labels[own] if isinstance(own, str) else _labels(value)
        drawn = partial(_draw, kind, one) if kind else no_area(str(one.get("type", "region"))[:40])
        for label in dict.fromkeys(named) or (None,):
            yield title.format(f"region {own or number} ({label or 'no label'})"), label or prompt, drawn


def _labels(value: Mapping[str, Any]) -> list[str]:
    lists = [names for key, names in value.items() if key.endswith("labels") and isinstance(names, list)]
    return [label for names in lists for name in names if (label := tidied(str(name)))]


def _kind(value: Mapping[str, Any]) -> str | None:
    if "rle" in value:
        return "brush"
    if "imageDataURL" in value:
        return "bitmask"
    if "points" in value:
        return "polygon"
    if "radiusX" in value:
        return "ellipse"
    return "rectangle" if {"x", "y", "width", "height"} <= set(value) and "text" not in value else None


def _size(result: Any) -> tuple[int, int] | None:
    if not isinstance(result, dict):
        return None
    height, width = result.get("original_height"), result.get("original_width")
    if not (isinstance(height, int) and isinstance(width, int)):
        return None
    return (height, width) if min(height, width) > 0 else None


def _draw(kind: str, result: Mapping[str, Any], shape: tuple[int, int]) -> Area:
    if result.get("image_rotation"):
        raise LabelsError("its image was turned in Label Studio: turn it back there, and export it again.")
    if kind == "bitmask":
        raise LabelsError("bitmasks are not read: draw it with the brush.")
    value = result["value"]
    try:
        if kind == "brush":
            return whole_area(brush_mask(value["rle"], shape))
        # All lengths are percents of the sides of the image.
        height, width = (side / 100 for side in shape)
        if kind == "polygon":
            return polygon_area([(float(x) * width, float(y) * height) for x, y in value["points"]], shape)
        x, y, turn = float(value["x"]) * width, float(value["y"]) * height, float(value.get("rotation") or 0)
        if kind == "ellipse":
            radii = (float(value["radiusX"]) * width, float(value["radiusY"]) * height)
            return whole_area(ellipse_mask((x, y), radii, turn, shape))
        sides = (float(value["width"]) * width, float(value["height"]) * height)
        return polygon_area(box_points((x, y, *sides), turn, (x, y)), shape)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise LabelsError(f"its numbers cannot be read ({type(error).__name__}): export it again.") from error


def brush_mask(packed: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of a brush, bool `shape`: where the fourth channel of its picture, alpha, is above 0.

    The bytes are one number after another, in bits: how many values there are (32 bits), the bits of a value less one
    (5), the bits of four kinds of run lengths, each less one (4 times 4); then runs, each a bit that says whether its
    values are equal, the kind of its length (2), its length less one, and its value, or its values.

    Raises
    ------
    LabelsError
        They are cut off, are no bytes, or are for another image.

    Examples
    --------
    >>> brush_mask([0, 0, 0, 4, 57, 153, 153, 152, 24, 127, 128], (1, 1))
    array([[ True]])
    """
    numbers = np.asarray(packed)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not ((numbers >= 0) & (numbers < 256)).all():
        raise LabelsError("a brush must be a list of bytes, but is not: export it again.")
    bits = np.unpackbits(numbers.astype(np.uint8))
    position = 0

    def read(count: int) -> int:
        nonlocal position
        part = bits[position : position + count]
        if len(part) < count:
            raise LabelsError("a brush is cut off: export it again.")
        position += count
        return int.from_bytes(np.packbits(part).tobytes(), "big") >> -count % 8

    if (values := read(_COUNT_BITS)) != (expected := shape[0] * shape[1] * _CHANNELS):
        raise LabelsError(f"a brush has {values} values, but the image has {expected}: it is of another image.")
    word = read(_WORD_BITS) + 1
    lengths = [read(_RUN_BITS) + 1 for _ in range(4)]
    flat = np.zeros(values, np.bool_)
    done = 0
    while done < values:
        equal = read(1)
        end = done + read(lengths[read(2)]) + 1
        if end > values:
            raise LabelsError("a brush has a run that is too long: export it again.")
        if equal:
            flat[done:end] = read(word) > 0
        else:
            part = bits[position : position + word * (end - done)]
            if len(part) < word * (end - done):
                raise LabelsError("a brush is cut off: export it again.")
            flat[done:end] = part.reshape(-1, word).any(axis=1)
            position += len(part)
        done = end
    return flat.reshape(*shape, _CHANNELS)[..., 3]
