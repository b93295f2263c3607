"""What a project holds for export: images that have accepted masks, with file names of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import DatasetError, ProjectBusyError, ProjectError, StorageError
from napari_amvlm.imaging.folder import normal_form, portable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_amvlm.project import ImageRecord, Project

_LONGEST_NAME = 200
"""Bytes of a name without its ending; no file system has more than 255 with it."""

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg"})


LEFT_OUT = "Left out:"
"""How a remark begins that names an image which is not in the export."""


def count_left_out(notes: Iterable[str]) -> int:
    """Return how many of the remarks of an export name an image which is not in it."""
    return sum(note.startswith(LEFT_OUT) for note in notes)


@dataclass(frozen=True)
class AnnotatedImage:
    """One image and its current masks.

    Attributes
    ----------
    stem
        File name without suffix; no other exported image has it.
    masks
        For each prompt that somebody answered, in the project's order, a bool mask `(H, W)`.
    objects
        For each of them the numbers of its objects, `(H, W)`, 0 is background.
    unlocked
        For each of them the numbers of the objects that somebody unlocked.
    reviewed
        Pixels that were looked at for every one of these prompts, bool `(H, W)`; None where it was all of them.
    corner
        Row and column of its upper left corner on the slide that it was cut out of; 0, 0 elsewhere.
    """

    record: ImageRecord
    stem: str
    masks: Mapping[str, NDArray[np.bool_]]
    objects: Mapping[str, NDArray[np.integer]]
    unlocked: Mapping[str, frozenset[int]]
    reviewed: NDArray[np.bool_] | None
    corner: tuple[int, int] = (0, 0)

    def single_objects(self) -> Iterator[tuple[str, Any]]:
        """Yield prompt and scikit-image region of every object; each has its own small mask and its bounding box."""
        from skimage.measure import regionprops

        for prompt, objects in self.objects.items():
            for region in regionprops(objects):
                yield prompt, region

    def description(self, answered: list[Any], reviewed: Callable[[NDArray[np.bool_]], Any]) -> dict[str, Any]:
        """Return what an import needs to know of an image: which one it is, what was answered, and where.

        Parameters
        ----------
        answered
            The prompts that were answered, as the format names them.
        reviewed
            Turns the reviewed pixels into what the format has for a mask; called where that is not all of them.
        """
        known: dict[str, Any] = {"answered": answered}
        if self.file_hash:
            known["sha256"] = self.file_hash
        if self.reviewed is not None:
            known["reviewed"] = reviewed(self.reviewed)
        return known

    @property
    def file_hash(self) -> str:
        """SHA-256 of the image's file, empty where it came without one."""
        return self.record.sha256 if self.record.source == "file" else ""


def project_prompts(project: Project) -> tuple[str, ...]:
    """Return the prompts that have accepted masks, in the order they were first used.

    Raises
    ------
    DatasetError
        Nothing has been accepted.
    """
    prompts = tuple(dict.fromkeys(correction.prompt for correction in project.corrections.select()))
    if not prompts:
        raise DatasetError(f"{project.root} has no accepted mask to export; accept at least one first.")
    return prompts


def annotated_images(
    project: Project, remarks: list[str], *, only: Collection[int] | None = None
) -> Iterator[AnnotatedImage]:
    """Yield the images that have accepted masks, in the order they were added, one in memory at a time.

    Parameters
    ----------
    remarks
        Gets sentences that a reader of the export should know. Those that begin with `LEFT_OUT` name an image whose
        masks cannot be read.
    only
        The ids of the images that are wanted; None is all.

    Raises
    ------
    DatasetError
        Nothing has been accepted.
    ProjectError
        There is no image whose masks can be read.
    """
    prompts = project_prompts(project)
    failure: ProjectError | None = None
    some = False
    for record, stem in file_stems(project):
        if only is not None and record.id not in only:
            continue
        try:
            image = _annotated(project, record, stem, prompts)
        except (ProjectBusyError, StorageError):
            raise
        except ProjectError as error:
            failure = failure or error
            remarks.append(f"{LEFT_OUT} {record.name}: {error}")
            continue
        some = True
        yield image
        remarks.extend(_remarks(image, prompts))
    if failure is not None and not some:
        raise failure


def file_stems(project: Project) -> list[tuple[ImageRecord, str]]:
    """Return the images that have accepted masks, each with a file name without suffix that no other has."""
    taken: set[str] = set()
    return [(record, free_name(record.name, record.id, taken)) for record in project.images.accepted()]


def _annotated(project: Project, record: ImageRecord, stem: str, prompts: tuple[str, ...]) -> AnnotatedImage:
    current = {correction.prompt: correction for correction in project.corrections.select(record.id)}
    answered = {prompt: current[prompt] for prompt in prompts if prompt in current}
    reviewed = [
        project.corrections.reviewed(correction) for correction in answered.values() if correction.reviewed_file
    ]
    everywhere = np.logical_and.reduce(reviewed) if reviewed else None
    place = project.images.cut_from(record)
    return AnnotatedImage(
        record=record,
        stem=stem,
        masks={prompt: project.corrections.mask(correction) for prompt, correction in answered.items()},
        objects={prompt: project.corrections.objects(correction) for prompt, correction in answered.items()},
        unlocked={prompt: project.locks.unlocked(correction) for prompt, correction in answered.items()},
        reviewed=None if everywhere is None or everywhere.all() else everywhere,
        corner=(0, 0) if place is None else (place.y, place.x),
    )


def _remarks(image: AnnotatedImage, prompts: tuple[str, ...]) -> Iterator[str]:
    missing = [prompt for prompt in prompts if prompt not in image.masks]
    if missing:
        yield f"{image.stem}: nobody answered {', '.join(missing)}, so its absence there means nothing."
    if image.reviewed is not None:
        share = 100 * float(image.reviewed.mean())
        yield f"{image.stem}: only {share:.0f} % of its pixels were reviewed."


def free_name(title: str, number: int, taken: set[str]) -> str:
    """Return a file name without suffix that is not `taken`, also where case or composed letters do not count.

    Parameters
    ----------
    number
        Follows the name where it is taken.
    taken
        Names in use, in normal form and case-folded; this one is added.
    """
    path = Path(title)
    stem = path.stem if path.suffix.casefold() in IMAGE_SUFFIXES else title
    stem = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", stem).strip(" .") or "image"
    stem = portable(stem.encode()[:_LONGEST_NAME].decode(errors="ignore").rstrip(" ."))
    while normal_form(stem).casefold() in taken:
        stem, number = f"{stem}-{number}", number + 1
    taken.add(normal_form(stem).casefold())
    return stem
