"""Enters the masks of files into a project; what cannot be used is reported, and the rest is entered."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import InputError, ProjectBusyError, ProjectError, StorageError, printable
from napari_amvlm.imaging.folder import SUFFIXES
from napari_amvlm.imaging.formats.pillow_files import upright
from napari_amvlm.imports.coco import read_coco
from napari_amvlm.imports.cvat import read_cvat
from napari_amvlm.imports.geojson import is_geojson, read_geojson
from napari_amvlm.imports.image_finder import ImageFinder, NamedImages, photo_orientation
from napari_amvlm.imports.imported_masks import Part
from napari_amvlm.imports.label_images import read_label_file, read_label_folder
from napari_amvlm.imports.label_studio import is_label_studio, read_label_studio
from napari_amvlm.imports.over_scans import read_over_scans
from napari_amvlm.imports.scan_masks import Scans
from napari_amvlm.imports.text_files import parse_json, read_text
from napari_amvlm.project import Answer
from napari_amvlm.project.prompts import clean_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imports.coco import Crowds
    from napari_amvlm.imports.geojson import Cells
    from napari_amvlm.imports.imported_masks import Answers, ImportedMasks
    from napari_amvlm.project import ImageRecord, Project

_KINDS = (
    ".json (COCO, GeoJSON, Label Studio), .geojson, .xml (CVAT), .tif, .png, .nii, .roi and .zip (ImageJ), DICOM "
    "segmentations and OME-Zarr"
)
_PACKED = (".gz", ".zip")
_TEXTS = (".json", ".geojson", ".xml", *_PACKED)
_BEFORE_TEXT = b"\xef\xbb\xbf\xff\xfe \t\r\n"
_LONGEST = 1000


@dataclass
class ImportReport:
    """What became of the masks of an import.

    Attributes
    ----------
    entered
        Image, prompt and number of objects, where it is known, of each mask that was entered, or would be.
    unchanged
        Number of masks that were there already, pixel by pixel.
    problems
        One sentence for everything that was left out.
    """

    accepted: list[int] = field(default_factory=list)
    entered: list[tuple[str, str, int | None]] = field(default_factory=list)
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)


def import_files(
    project: Project,
    files: Iterable[Path],
    *,
    prompt: str | None = None,
    images: Path | None = None,
    replace: bool = False,
    dry_run: bool = False,
    cells: Cells = "cell",
    crowds: Crowds = "object",
    on_problem: Callable[[str], None] | None = None,
) -> ImportReport:
    """Enter the masks of label images, COCO, GeoJSON, CVAT and Label Studio files as corrections.

    An image of a file is found by its content or its name. Each mask is on the disk before the next one is looked at;
    an accepted mask that is there already is kept unless `replace` is set, and then stays in the history. Objects that
    cannot be used are left out and reported; what is good is entered.

    Parameters
    ----------
    files
        `.tif`, `.png` and `.jpg` label images, COCO, GeoJSON, XML of CVAT and JSON of Label Studio, also packed by gzip
        or zip, and folders with `labelcol/`.
    prompt
        What label images without `classes.csv`, and objects without a class, show.
    images
        Folder of the images, which are added to the project where they are not in it.
    replace
        Supersede masks that are there.
    dry_run
        Enter nothing; the report says what would be entered.
    cells
        Of QuPath's cells: whether the outline of the cell or of its nucleus is entered.
    crowds
        Of COCO's crowds: whether they are objects, or pixels that nobody reviewed.
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
    finder = ImageFinder(project, images, add=not dry_run)
    scans = Scans(project, images)

    def report_problem(problem: str) -> None:
        # It may quote names out of the file, which are anything.
        problem = printable(problem)[:_LONGEST]
        if problem in report.problems:  # of a slide, each region would tell it
            return
        report.problems.append(problem)
        if on_problem is not None:
            on_problem(problem)

    for path in files:
        try:
            # All of a file is parsed before its first mask is entered.
            over_scans = read_over_scans(path, wanted, scans, report_problem)
            parts = list(over_scans or _read(path, wanted, cells, crowds, report_problem))
        except InputError as error:
            report_problem(str(error))
            continue
        named = NamedImages(part.image for part in parts)
        for part in parts:
            try:
                for record, answers in _answered(project, part, finder, named, scans):
                    for problem in answers.problems:
                        report_problem(problem)
                    _enter(project, record, part, answers, _Options(replace, dry_run), report, report_problem)
            except (StorageError, ProjectBusyError):
                raise
            except (InputError, ProjectError) as error:
                report_problem(str(error))
    return report


def _read(
    path: Path, prompt: str | None, cells: Cells, crowds: Crowds, on_problem: Callable[[str], None]
) -> Iterator[ImportedMasks]:
    if path.is_dir():
        yield from read_label_folder(path, prompt)
    elif not path.is_file():
        raise InputError(f"there is no file {path}: check the path.")
    elif path.name.lower().endswith(_TEXTS):
        yield from _read_text(path, prompt, cells, crowds, on_problem)
    elif path.suffix.lower() in SUFFIXES:
        yield read_label_file(path, prompt)
    else:
        ending = path.suffix or "nothing"
        raise InputError(f"{path} ends in {ending}, but masks are read from {_KINDS}: convert it.")


def _read_text(
    path: Path, prompt: str | None, cells: Cells, crowds: Crowds, on_problem: Callable[[str], None]
) -> Iterator[ImportedMasks]:
    """Yield the masks of a JSON or XML file, whichever program wrote it."""
    text = read_text(path)
    if text[:64].lstrip(_BEFORE_TEXT).startswith(b"<"):
        yield from read_cvat(path, text, prompt, on_problem)
        return
    content = parse_json(path, text)
    name = path.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    if is_label_studio(content):
        yield from read_label_studio(path, content, prompt, on_problem)
    elif name.endswith(".geojson") or is_geojson(content):
        yield read_geojson(path, content, prompt, cells)
    else:
        yield from read_coco(path, content, on_problem, crowds)


def _answered(
    project: Project, part: ImportedMasks, finder: ImageFinder, named: NamedImages, scans: Scans
) -> Iterator[tuple[ImageRecord, Answers]]:
    """Yield the image that masks are for, with its answers; of a slide or stack, the images cut out of it instead."""
    cut = [] if part.read_parts is None or finder.knows(part.image) else scans.cut_from(part.image.name)
    if cut and part.read_parts is not None:
        yield from zip((record for record, _ in cut), part.read_parts([where for _, where in cut]), strict=True)
        return
    record = finder.find(part.image, named)
    place, (bottom, right) = project.images.cut_from(record), part.image.extent or (0, 0)
    if place and part.read_parts is not None and (bottom > record.shape[0] or right > record.shape[1]):
        # What reaches beyond a region of a slide was drawn on the slide.
        where = Part(record.shape, (place.y, place.x))
        yield from ((record, answers) for answers in part.read_parts([where]))
    else:
        yield record, _read_upright(part, record)


def _read_upright(part: ImportedMasks, record: ImageRecord) -> Answers:
    """Return the answers for an image as it is shown, also where they were drawn on a photo that lies on its side."""
    declared, extent = part.image.shape, part.image.extent
    if declared is None or declared == record.shape:
        return part.read(record.shape)
    if extent is not None and (extent[0] > declared[0] or extent[1] > declared[1]):
        return part.read(record.shape)  # the outlines do not fit the size that the file says: they were drawn upright
    answers, turn = part.read(declared), photo_orientation(record.path)
    return dataclasses.replace(
        answers,
        masks={prompt: upright(mask, turn) for prompt, mask in answers.masks.items()},
        objects={prompt: upright(numbers, turn) for prompt, numbers in answers.objects.items()},
        reviewed=None if answers.reviewed is None else upright(answers.reviewed, turn),
    )


@dataclass(frozen=True)
class _Options:
    replace: bool
    dry_run: bool


def _enter(
    project: Project,
    record: ImageRecord,
    part: ImportedMasks,
    answers: Answers,
    options: _Options,
    report: ImportReport,
    on_problem: Callable[[str], None],
) -> None:
    for prompt, mask in answers.masks.items():
        current = project.corrections.select(record.id, prompt)
        if current and _is_same(project, current[0].id, answers, prompt):
            report.unchanged += 1
            continue
        if current and not options.replace:
            on_problem(
                f"{record.name} has an accepted mask for {prompt} already, which was kept: --replace supersedes it."
            )
            continue
        report.entered.append((record.name, prompt, _count(answers.objects.get(prompt))))
        if options.dry_run:
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


def _count(objects: NDArray[np.integer] | None) -> int | None:
    return None if objects is None else int(np.count_nonzero(np.unique(objects)))


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
