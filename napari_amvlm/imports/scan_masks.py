"""Masks over whole scans, brought to the images of a project that lie in them: slices, regions of slides, planes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import AmvlmError, ImageError, LabelsError
from napari_amvlm.exports.placing import Place, PlaneFinder, find_scans, mask_axes, mask_shape
from napari_amvlm.imaging import ImageSource, bounded_numbers
from napari_amvlm.imaging.folder import normal_form
from napari_amvlm.imaging.image_data import image_name
from napari_amvlm.imports.imported_masks import Answers, ImageReference, ImportedMasks, Part
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData
    from napari_amvlm.project import ImageRecord, Project


@dataclass(frozen=True)
class ScanMasks:
    """Masks with the axes of a scan, without its channels.

    Attributes
    ----------
    masks
        For each prompt an array, numpy or dask; above 0 is foreground.
    objects
        For some of these prompts the numbers of the objects.
    reviewed
        Above 0 where somebody looked; None is everywhere.
    """

    image: ImageData
    masks: Mapping[str, Any]
    objects: Mapping[str, Any] = field(default_factory=dict)
    reviewed: Any = None


@dataclass(frozen=True)
class Scans:
    """Where scans may lie: in a folder, whose images may be added to the project, or among the project's own files."""

    project: Project
    folder: Path | None

    @cached_property
    def _finder(self) -> PlaneFinder:
        # What is added later, by another file, is found by its content when it is added again.
        return PlaneFinder(self.project, self.project.images.all())

    def images(self, wanted: Callable[[ImageSource], bool]) -> Iterator[tuple[ImageSource, ImageData]]:
        """Yield the images of the scans that are `wanted`; those that cannot be read are passed over."""
        for source in find_scans([self.folder]) if self.folder else self._own_files():
            try:
                if wanted(source):
                    yield from ((source, image) for image in source.open())
            except (ImageError, OSError):
                continue

    def _own_files(self) -> Iterator[ImageSource]:
        for record in self.project.images.all():
            if record.source == "file":
                try:
                    yield ImageSource(self.project.images.locate(record), record.name)
                except AmvlmError:  # it was moved out of reach
                    continue

    def cut_from(self, name: str) -> list[tuple[ImageRecord, Part]]:
        """Return the images of the project that were cut out of the slide or stack of this name, and where."""
        names = {normal_form(one) for one in (name, image_name(Path(name)))}
        found = self.images(
            lambda one: not names.isdisjoint(map(normal_form, (one.name, one.path.name, image_name(one.path))))
        )
        return [
            (place.record, Part(place.record.shape, (place.y, place.x), _plane(image, place)))
            for _, image in found
            for place in self._finder.places(image)
        ]

    def masks(self, origin: Path, scan: ScanMasks, on_problem: Callable[[str], None]) -> Iterator[ImportedMasks]:
        """Yield the masks of each image of the project that lies in a scan, then those of slices that can be added.

        A plane without a pixel of any prompt is no answer.

        Parameters
        ----------
        on_problem
            Called with a sentence for masks that lie on no image of the project.
        """
        places = self._finder.places(scan.image)
        for place in places:
            record = place.record
            reference = ImageReference(record.name, record.sha256, shape=record.shape)
            yield ImportedMasks(origin, reference, partial(_answers, scan, place))
        missing = [index for index in np.ndindex(mask_shape(scan.image)[:-2]) if _outside(scan, index, places).any()]
        lacking = [index for index in missing if all(place.index != index for place in places)]
        if self.folder is not None and "C" not in scan.image.axes:
            yield from (_new_plane(origin, scan, index) for index in lacking)
            missing = [index for index in missing if index not in lacking]
        if missing:
            several = self.folder is not None and "C" in scan.image.axes
            mend = (
                "a channel of it first" if several else "these images first, or say with --images where the scan lies"
            )
            on_problem(
                f"{origin}: masks on {counted(len(missing), 'plane')} of {scan.image.name} lie on no image of the "
                f"project: add {mend}."
            )


def _plane(image: ImageData, place: Place) -> tuple[int, int]:
    """Return slice and time of a place, 0 along an axis that its image has not."""
    index = dict(zip(mask_axes(image), place.index, strict=False))
    return index.get("Z", 0), index.get("T", 0)


def _outside(scan: ScanMasks, index: tuple[int, ...], places: list[Place]) -> NDArray[np.bool_]:
    """Return the pixels of masks on one plane that lie on no image of the project."""
    found = np.zeros(mask_shape(scan.image)[-2:], np.bool_)
    for mask in scan.masks.values():
        found |= np.asarray(mask[index]) > 0
    for place in places:
        if place.index == index:
            found[_region(place)] = False
    return found


def _region(place: Place) -> tuple[slice, slice]:
    height, width = place.record.shape
    return slice(place.y, place.y + height), slice(place.x, place.x + width)


def _answers(scan: ScanMasks, place: Place, _shape: tuple[int, int]) -> Answers:
    where = (*place.index, *_region(place))
    return _answers_at(scan, where)


def _answers_at(scan: ScanMasks, where: tuple[Any, ...]) -> Answers:
    masks = {prompt: np.asarray(mask[where]) > 0 for prompt, mask in scan.masks.items()}
    masks = {prompt: mask for prompt, mask in masks.items() if mask.any()}
    whole = {
        p: whole_numbers(np.asarray(numbers[where]), scan.image.name)
        for p, numbers in scan.objects.items()
        if p in masks
    }
    objects = {prompt: bounded_numbers(numbers) for prompt, numbers in whole.items()}
    reviewed = None if scan.reviewed is None else np.asarray(scan.reviewed[where]) > 0
    return Answers(masks, objects, None if reviewed is None or reviewed.all() else reviewed)


def _new_plane(origin: Path, scan: ScanMasks, index: tuple[int, ...]) -> ImportedMasks:
    """Return the masks of a plane that has to be added to the project."""
    letters = scan.image.axes.lower()
    place = " ".join(f"{axis}{number}" for axis, number in zip(letters, index, strict=False))
    reference = ImageReference(
        f"{scan.image.name} {place}".rstrip(),
        shape=(mask_shape(scan.image)[-2], mask_shape(scan.image)[-1]),
        path=scan.image.path if not index else None,
        pixels=lambda: np.asarray(scan.image.data[index]),
    )
    return ImportedMasks(origin, reference, lambda _shape: _answers_at(scan, (*index,)))


def check_one_channel(labels: ImageData) -> None:
    """Raise `LabelsError` for labels with several values in a pixel."""
    if labels.rgb or "C" in labels.axes:
        raise LabelsError(
            f"{labels.path} has several channels, but labels have one value in a pixel: save each as a file of its own."
        )


def whole_numbers(labels: NDArray[Any], name: object) -> NDArray[np.integer]:
    """Return labels of an integer type, none below 0; `name` says in messages which they are.

    Raises
    ------
    LabelsError
        They have fractions, or are below 0.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        whole = (
            np.isfinite(labels).all() and (labels == np.rint(labels)).all() and np.abs(labels).max(initial=0) < 2**31
        )
        if not whole:
            raise LabelsError(f"{name}: label values must be whole numbers, but have fractions: save them as integers.")
        labels = labels.astype(np.int32)
    if labels.min(initial=0) < 0:
        raise LabelsError(f"{name}: label values lie below 0: number objects and classes from 1 on.")
    return labels
