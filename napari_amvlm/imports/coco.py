"""COCO files as answers: polygons, run lengths and packed run lengths; one object for each annotation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.imports.imported_masks import Answers, Found, ImageReference
from napari_amvlm.imports.json_files import read_json
from napari_amvlm.imports.shapes import decode_counts, polygon_mask, run_length_mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class _Part(BaseModel):
    """A part of a COCO file; keys that are not named here do not matter."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RunLengths(_Part):
    """A mask as run lengths; `size` is height and width."""

    size: tuple[int, int]
    counts: list[int] | str


class CocoImage(_Part):
    """One image; the keys from `sha256` on are those of this program's own export."""

    id: int
    file_name: str
    height: int
    width: int
    sha256: str | None = None
    answered: list[int] | None = None
    reviewed: RunLengths | None = None


class CocoCategory(_Part):
    """One class."""

    id: int
    name: str


class CocoAnnotation(_Part):
    """One object."""

    id: int
    image_id: int
    category_id: int
    segmentation: RunLengths | list[list[float]]


class CocoFile(_Part):
    """A file of instances."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def read_coco(path: Path) -> Iterator[Found]:
    """Yield the answers of a COCO file, image by image.

    An image answers the categories that it has annotations of, and those that this program's own export names.

    Raises
    ------
    DatasetError
        It is no COCO file of instances, or names an image or category twice, or an image that it does not list.
    """
    content = _parsed(path)
    names = {category.id: " ".join(category.name.split()) for category in content.categories}
    if len(names) < len(content.categories) or not all(names.values()):
        raise DatasetError(f"{path} has categories with the same id or without a name: give each its own.")
    by_image: dict[int, list[CocoAnnotation]] = {image.id: [] for image in content.images}
    if len(by_image) < len(content.images):
        raise DatasetError(f"{path} lists two images with the same id: give each its own.")
    for annotation in content.annotations:
        if annotation.image_id not in by_image:
            raise DatasetError(
                f"{path}: annotation {annotation.id} is of image {annotation.image_id}, which is not listed: add it."
            )
        by_image[annotation.image_id].append(annotation)
    for image in content.images:
        if by_image[image.id] or image.answered:
            reference = ImageReference(
                image.file_name, image.sha256, path.parent / image.file_name, (image.height, image.width)
            )
            yield Found(path, reference, partial(_answers, path, image, by_image[image.id], names))


def _parsed(path: Path) -> CocoFile:
    try:
        return CocoFile.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DatasetError(f"{path} is no COCO file of instances, at {place}: {first['msg'].lower()}.") from error


def _answers(
    path: Path,
    image: CocoImage,
    annotations: Sequence[CocoAnnotation],
    names: Mapping[int, str],
    shape: tuple[int, int],
) -> Answers:
    unknown = sorted({a.category_id for a in annotations} - names.keys())
    if unknown:
        raise DatasetError(f"{path} has annotations of {image.file_name} with unknown categories {unknown}: add them.")
    objects: dict[str, NDArray[Any]] = {}
    for category in dict.fromkeys([*(image.answered or []), *(a.category_id for a in annotations)]):
        if category in names:
            objects[names[category]] = np.zeros(shape, np.int32)
    for number, annotation in enumerate(annotations, start=1):
        try:
            mask = _mask(annotation.segmentation, shape)
        except LabelsError as error:
            raise LabelsError(f"{path}: annotation {annotation.id} of {image.file_name}: {error}") from error
        objects[names[annotation.category_id]][mask] = number
    for prompt in dict.fromkeys(names[a.category_id] for a in annotations):
        if not objects[prompt].any():
            raise LabelsError(
                f"{path}: no annotation of {prompt!r} has a pixel in {image.file_name}: they are boxes only, or "
                "outlines of another image; export masks or polygons."
            )
    reviewed = None if image.reviewed is None else _mask(image.reviewed, shape)
    return Answers({prompt: numbers > 0 for prompt, numbers in objects.items()}, objects, reviewed)


def _mask(segmentation: RunLengths | list[list[float]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(segmentation, RunLengths):
        if segmentation.size != shape:
            raise LabelsError(f"run lengths are for {segmentation.size} pixels, but the image has {shape}.")
        counts = segmentation.counts
        return run_length_mask(decode_counts(counts) if isinstance(counts, str) else counts, shape)
    mask = np.zeros(shape, np.bool_)
    for flat in segmentation:
        if len(flat) % 2:
            raise LabelsError("a polygon has an odd number of coordinates: export it again.")
        mask |= polygon_mask([np.reshape(flat, (-1, 2))], shape)
    return mask
