"""Accepted masks put together over the scans that their images are parts of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import AmvlmError, ImageError, InputError, ProjectBusyError, ProjectError, StorageError
from napari_amvlm.exports.annotated import LEFT_OUT, annotated_images, free_name
from napari_amvlm.exports.labels import merged_labels
from napari_amvlm.exports.placing import Place, PlaneFinder, find_scans, mask_axes, mask_shape
from napari_amvlm.imaging import ImageSource, bounded_numbers, in_plane, plane_of
from napari_amvlm.review import disputed_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.imaging import ImageData, Plane
    from napari_amvlm.project import ImageRecord, Project
    from napari_amvlm.review import OverlapRule


@dataclass(frozen=True)
class LabelMap:
    """Labels over a scan, put together where they are asked for; 0 where nothing was accepted.

    Attributes
    ----------
    shape
        Along the axes of the scan, without channels.
    pieces
        Labels `(h, w)` and where they lie; later ones lie on top.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: Sequence[tuple[Place, NDArray[Any]]]

    def block(self, index: tuple[int, ...], y: int, x: int, height: int, width: int, step: int = 1) -> NDArray[Any]:
        """Return the labels of every `step`th pixel of a rectangle of one plane, `(height / step, width / step)`.

        Parameters
        ----------
        index
            The plane, along the axes before Y.
        y, x, height, width
            The rectangle at full resolution; `y` and `x` are multiples of `step`.
        step
            1 is full resolution.
        """
        block = np.zeros((-(-height // step), -(-width // step)), self.dtype)
        for place, labels in self._pieces_of(index):
            rows, top = _overlap(place.y, labels.shape[0], y, height, step)
            columns, left = _overlap(place.x, labels.shape[1], x, width, step)
            part = labels[rows, columns]
            target = block[top : top + part.shape[0], left : left + part.shape[1]]
            np.copyto(target, part.astype(self.dtype), where=part > 0)
        return block

    def whole(self) -> NDArray[Any]:
        """Return all labels."""
        labels = np.zeros(self.shape, self.dtype)
        for index in {place.index for place, _ in self.pieces}:
            labels[index] = self.block(index, 0, 0, *self.shape[-2:])
        return labels

    def _pieces_of(self, index: tuple[int, ...]) -> Iterator[tuple[Place, NDArray[Any]]]:
        return (piece for piece in self.pieces if piece[0].index == index)


def _overlap(start: int, length: int, first: int, count: int, step: int) -> tuple[slice, int]:
    """Return which pixels of a piece are in a block, and where in the block the first of them is."""
    low = max(start, first)
    low += -low % step
    high = min(start + length, first + count)
    return slice(low - start, max(low, high) - start, step), (low - first) // step


@dataclass(frozen=True)
class AnnotatedScan:
    """A scan and the accepted masks of the images that lie in it.

    Attributes
    ----------
    stem
        File name without suffix; no other exported scan has it.
    """

    image: ImageData
    stem: str
    parts: Sequence[tuple[Place, AnnotatedImage]]

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """The prompts that were answered on it."""
        return tuple(dict.fromkeys(prompt for _, image in self.parts for prompt in image.masks))

    @property
    def file_hash(self) -> str:
        """SHA-256 of its file where an image of the project is all of it, empty elsewhere."""
        (place, image), *others = self.parts
        whole = not others and not place.index and image.record.shape == mask_shape(self.image)
        return image.file_hash if whole else ""

    @property
    def axes(self) -> str:
        """The axes of its label maps."""
        return mask_axes(self.image)

    def labels(self, prompts: Sequence[str], rule: OverlapRule, order: Sequence[str]) -> LabelMap:
        """Return values 1..K by the order of `prompts`; one prompt wins each pixel."""
        merged = ((place, merged_labels(i.masks, prompts, rule=rule, order=order)[0]) for place, i in self.parts)
        return self._map(list(merged), np.min_scalar_type(len(prompts)))

    @cached_property
    def disputed(self) -> int:
        """The number of pixels that several prompts claim."""
        return sum(int(np.count_nonzero(disputed_pixels(image.masks))) for _, image in self.parts)

    def mask(self, prompt: str, value: int = 1) -> LabelMap:
        """Return one prompt's whole mask: 0 and `value`."""
        pieces = [(at, i.masks[prompt] * np.uint8(value)) for at, i in self.parts if prompt in i.masks]
        return self._map(pieces, np.dtype(np.uint8))

    def objects(self, prompt: str) -> LabelMap:
        """Return the objects of one prompt; those of different images have different numbers."""
        pieces: list[tuple[Place, NDArray[Any]]] = []
        last = 0
        for place, image in self.parts:
            if prompt in image.objects:
                numbers = bounded_numbers(image.objects[prompt], np.iinfo(np.uint16).max).astype(np.int64)
                pieces.append((place, np.where(numbers > 0, numbers + last, 0)))
                last += int(numbers.max(initial=0))
        # Some programs know no unsigned numbers of more than 16 bits.
        return self._map(pieces, np.dtype(np.uint8 if last < 1 << 8 else np.uint16 if last < 1 << 16 else np.int32))

    def reviewed(self) -> LabelMap | None:
        """Return 255 where somebody looked; None where that is everywhere."""
        pieces = [
            (
                place,
                np.full(image.record.shape, 255, np.uint8)
                if image.reviewed is None
                else image.reviewed * np.uint8(255),
            )
            for place, image in self.parts
        ]
        reviewed = self._map(pieces, np.dtype(np.uint8))
        whole = len(pieces) == 1 and pieces[0][1].shape == reviewed.shape and bool(pieces[0][1].all())
        return None if whole else reviewed

    def _map(self, pieces: list[tuple[Place, NDArray[Any]]], dtype: np.dtype[Any]) -> LabelMap:
        return LabelMap(mask_shape(self.image), dtype, pieces)


def annotated_scans(
    project: Project,
    scans: Sequence[Path],
    notes: list[str],
    check: Callable[[ImageData], None],
    *,
    single: bool,
) -> Iterator[AnnotatedScan]:
    """Yield the scans that accepted images are parts of, each with its masks, one in memory at a time.

    Parameters
    ----------
    scans
        Files and folders of scans. The files of images that lie in none of them are scans of their own.
    notes
        Gets sentences that a reader of the export should know, one for each image that is left out.
    check
        Raises an `InputError` for a scan that masks cannot be written over.
    single
        Whether an image that the project keeps itself, for instance a slice whose scan was not given, is a scan.

    Raises
    ------
    InputError
        No accepted image lies in a scan that can be used.
    """
    remaining = {record.id: record for record in project.images.accepted()}
    failures: dict[int, InputError] = {}
    taken: set[str] = set()
    some = False
    for image, places in _placed(project, scans, remaining, notes, single=single):
        try:
            check(image)
        except InputError as error:
            failures |= {place.record.id: error for place in places}
            continue
        for place in places:
            remaining.pop(place.record.id, None)
        by_id = _annotated(project, {place.record.id for place in places}, notes)
        parts = [(place, by_id[place.record.id]) for place in places if place.record.id in by_id]
        if parts:
            some = True
            yield AnnotatedScan(image, free_name(image.name, parts[0][0].record.id, taken), parts)
    where = "its scan is not among those that were given: give it with --scans."
    notes += [f"{LEFT_OUT} {record.name}: {failures.get(record.id, where)}" for record in remaining.values()]
    if not some:
        reason = next(iter(failures.values()), None)
        raise reason or InputError(
            f"No accepted mask of {project.root} lies on a scan that was given; give the files or folders of the scans "
            "with --scans."
        )


def _annotated(project: Project, ids: set[int], notes: list[str]) -> dict[int, AnnotatedImage]:
    try:
        return {image.record.id: image for image in annotated_images(project, notes, only=ids)}
    except (ProjectBusyError, StorageError):
        raise
    except ProjectError:  # none of them can be read, which the notes say already
        return {}


def _placed(
    project: Project, scans: Sequence[Path], remaining: Mapping[int, ImageRecord], notes: list[str], *, single: bool
) -> Iterator[tuple[ImageData, list[Place]]]:
    """Yield scans with the images that lie in them, then the files of images that lie in none."""
    finder = PlaneFinder(project, list(remaining.values())) if scans else None
    for source in find_scans(scans):
        try:
            images = source.open()
        except ImageError as error:
            notes.append(f"{source.name} is no scan: {error}")
            continue
        for image in images:
            for shown in _in_planes(image):
                places = finder.places(shown) if finder is not None and remaining else []
                if places:
                    yield replace(shown, name=source.name if len(images) == 1 else image.name), places
    for record in list(remaining.values()):
        if record.id in remaining and (single or record.source == "file"):
            try:
                (image,) = ImageSource(project.images.locate(record), record.name).open()
            except (AmvlmError, ValueError) as error:
                notes.append(f"{record.name}: its file cannot be used as a scan: {error}")
                continue
            yield replace(image, name=record.name), [Place(record)]


def _in_planes(image: ImageData) -> Iterator[ImageData]:
    """Yield an image, and a volume of a patient in its other planes too: slices may have been accepted in any."""
    yield image
    own = plane_of(image.orientation)
    planes: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
    yield from (in_plane(image, plane) for plane in planes if own is not None and plane != own)
