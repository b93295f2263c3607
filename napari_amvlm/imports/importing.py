"""Enters the masks of files into a project; what cannot be used is told, and the rest is entered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import InputError, ProjectBusyError, ProjectError, StorageError, printable
from napari_amvlm.imaging.folder import SUFFIXES
from napari_amvlm.imports.coco import read_coco
from napari_amvlm.imports.geojson import read_geojson
from napari_amvlm.imports.image_finder import ImageFinder
from napari_amvlm.imports.label_images import read_label_file, read_label_folder
from napari_amvlm.project import Answer
from napari_amvlm.project.prompts import clean_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imports.imported_masks import Answers, Found
    from napari_amvlm.project import ImageRecord, Project

_KINDS = ".json (COCO), .geojson, .tif and .png"
_LONGEST = 1000


@dataclass
class ImportReport:
    """What became of the masks of an import.

    Attributes
    ----------
    accepted
        Ids of the new corrections.
    unchanged
        Number of masks that were there already, pixel by pixel.
    problems
        One sentence for everything that was left out.
    """

    accepted: list[int] = field(default_factory=list)
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)


def import_files(
    project: Project,
    files: Iterable[Path],
    *,
    prompt: str | None = None,
    images: Path | None = None,
    replace: bool = False,
    on_problem: Callable[[str], None] | None = None,
) -> ImportReport:
    """Enter the masks of label images, COCO and GeoJSON files as corrections.

    An image of a file is found by its content or its name. Each mask is on the disk before the next one is looked at;
    an accepted mask that is there already is kept unless `replace` is set, and then stays in the history.

    Parameters
    ----------
    project
        Open for writing.
    files
        `.tif`, `.png` and `.jpg` label images, `.json` (COCO), `.geojson`, and folders with `labelcol/`.
    prompt
        What label images without `classes.csv`, and features without a class, show.
    images
        Folder of the images, which are added to the project where they are not in it.
    replace
        Supersede masks that are there.
    on_problem
        Called with each problem as it comes.

    Raises
    ------
    StorageError
        The disk refused; what was entered before stays.
    PromptError
        `prompt` is empty.
    """
    report = ImportReport()
    wanted = None if prompt is None else clean_prompt(prompt)
    finder = ImageFinder(project, images)

    def tell(problem: str) -> None:
        # It may quote names out of the file, which are anything.
        problem = printable(problem)[:_LONGEST]
        report.problems.append(problem)
        if on_problem is not None:
            on_problem(problem)

    for path in files:
        try:
            # All of a file is parsed before its first mask is entered.
            found = list(_read(path, wanted))
        except InputError as error:
            tell(str(error))
            continue
        for part in found:
            try:
                record = finder.find(part.image)
                answers = part.read(record.shape)
                _enter(project, record, part, answers, replace=replace, report=report, tell=tell)
            except (StorageError, ProjectBusyError):
                raise
            except (InputError, ProjectError) as error:
                tell(str(error))
    return report


def _read(path: Path, prompt: str | None) -> Iterator[Found]:
    suffix = path.suffix.lower()
    if path.is_dir():
        yield from read_label_folder(path, prompt)
    elif not path.is_file():
        raise InputError(f"there is no file {path}: check the path.")
    elif suffix == ".json":
        yield from read_coco(path)
    elif suffix == ".geojson":
        yield read_geojson(path, prompt)
    elif suffix in SUFFIXES:
        yield read_label_file(path, prompt)
    else:
        raise InputError(f"{path} ends in {suffix or 'nothing'}, but masks are read from {_KINDS}: convert it.")


def _enter(
    project: Project,
    record: ImageRecord,
    part: Found,
    answers: Answers,
    *,
    replace: bool,
    report: ImportReport,
    tell: Callable[[str], None],
) -> None:
    for prompt, mask in answers.masks.items():
        current = project.corrections.select(record.id, prompt)
        if current and _is_same(project, current[0].id, answers, prompt):
            report.unchanged += 1
            continue
        if current and not replace:
            tell(f"{record.name} has an accepted mask for {prompt} already, which was kept: --replace supersedes it.")
            continue
        correction = project.corrections.accept(
            record.id,
            prompt,
            Answer(
                mask,
                reviewed=answers.reviewed,
                objects=answers.objects.get(prompt),
                model=None,
                threshold=None,
                origin=str(part.origin),
            ),
        )
        report.accepted.append(correction.id)


def _is_same(project: Project, correction_id: int, answers: Answers, prompt: str) -> bool:
    correction = project.corrections.get(correction_id)
    try:
        mask, reviewed = project.corrections.mask(correction), project.corrections.reviewed(correction)
    except ProjectError:  # a lost or changed mask is what an import may mend
        return False
    everywhere = np.ones_like(mask) if answers.reviewed is None else answers.reviewed
    if not (np.array_equal(mask, answers.masks[prompt]) and np.array_equal(reviewed, everywhere)):
        return False
    objects = answers.objects.get(prompt)
    return objects is None or _same_objects(objects, project.corrections.objects(correction))


def _same_objects(one: NDArray[np.integer], other: NDArray[np.integer]) -> bool:
    """Tell whether two label images show the same objects, whatever their numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).shape[1]
    return bool(pairs == len(np.unique(one)) == len(np.unique(other)))
