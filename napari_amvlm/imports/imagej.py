"""ROIs of ImageJ as answers: a .zip of the ROI Manager, or a single .roi, for one image."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.exports.imagej import need_roifile
from napari_amvlm.imports.imported_masks import Answers, ImageReference, ImportedMasks, of_parts
from napari_amvlm.imports.shapes import polygon_mask, window_of
from napari_amvlm.imports.text_files import archive_members
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imports.imported_masks import Part
    from napari_amvlm.imports.shapes import Area

_LARGEST = 1 << 24
_MOST = 1 << 17
"""Bytes of one ROI, and ROIs of one file."""
_OVAL_POINTS = 720


def read_rois(path: Path, prompt: str | None) -> ImportedMasks:
    """Return what a file of ROIs holds; every ROI is an object.

    A ROI's prompt is its property `prompt`, as this program writes it, else `prompt`. The image is the one that the
    property `sha256` means, else the one that is called like the file; of a stack, the slice that the ROI names.

    Raises
    ------
    InputError
        roifile is not installed, or the file cannot be read.
    """
    need_roifile()
    rois = list(_read(path))
    sha256 = next((found for _, roi in rois if (found := _property(roi, "sha256"))), None)
    reference = ImageReference(path.stem, sha256)
    read = partial(_answers, path, rois, prompt)
    return ImportedMasks(path, reference, read, None if sha256 else partial(of_parts, read, path, len(rois), "ROI"))


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield name and ROI; None for one that is damaged."""
    import roifile

    def parsed(content: bytes) -> Any:
        try:
            return roifile.ImagejRoi.frombytes(content)
        except Exception:  # noqa: BLE001 - roifile fails in many ways on damaged files
            return None

    try:
        if path.suffix.lower() == ".roi":
            with path.open("rb") as file:
                yield path.name, parsed(file.read(_LARGEST))
            return
        with zipfile.ZipFile(path) as packed:
            members = archive_members(packed, (".roi",))
            if not 0 < len(members) <= _MOST:
                raise DatasetError(
                    f"{path} holds {len(members)} ROIs, and 1 to {_MOST} were expected: export it again."
                )
            for member in members:
                yield member.filename, parsed(packed.read(member)) if member.file_size <= _LARGEST else None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as ROIs of ImageJ ({error}): export it again.") from error


def _property(roi: Any, key: str) -> str | None:
    """Return a property as text, which roifile would make a number of."""
    for line in str(getattr(roi, "props", "") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return tidied(value) or None
    return None


def _answers(
    path: Path,
    rois: Sequence[tuple[str, Any]],
    prompt: str | None,
    shape: tuple[int, int],
    part: Part | None = None,
    met: set[int] | None = None,
) -> Answers:
    """Return the answers for an image, or for a part of a stack: then of ROIs there, whose numbers are `met`."""
    met = set() if met is None else met
    objects: dict[str, NDArray[np.int32]] = {}
    problems: list[str] = []
    for number, (title, roi) in enumerate(rois, 1):
        if part is not None and roi is not None and not _lies_in(roi, part.plane):
            continue
        try:
            name = _property(roi, "prompt") or prompt
            if name is None:
                raise LabelsError("nothing says what it shows: give --prompt.")
            window, mask = _area(roi, shape, part)
            if part is not None and not mask.any():
                continue
            if not mask.any():
                raise LabelsError("it has no pixel in the image: it is of another image.")
        except LabelsError as error:
            met.add(number)
            problems.append(f"{path}: ROI {title} is left out: {error}")
            continue
        met.add(number)
        if name not in objects:
            objects[name] = np.zeros(shape, np.int32)
        objects[name][window][mask] = number
    if not objects and part is None:
        raise LabelsError(problems[0])
    return Answers({name: numbers > 0 for name, numbers in objects.items()}, objects, None, tuple(problems))


def _lies_in(roi: Any, plane: tuple[int, int]) -> bool:
    """Tell whether a ROI was drawn in a slice at a time; of an image with one axis, ImageJ counts along that one."""
    if roi.z_position or roi.t_position:
        return (max(roi.z_position, 1) - 1, max(roi.t_position, 1) - 1) == plane
    return max(int(roi.position), 1) - 1 == sum(plane)


def _area(roi: Any, shape: tuple[int, int], part: Part | None) -> Area:
    """Return a part of the image and the pixels of a ROI in it; parts of a composite by the even-odd rule.

    Raises
    ------
    LabelsError
        It is damaged, no area, or on another slice of a stack.
    """
    import roifile

    kinds = roifile.ROI_TYPE
    if roi is None:
        raise LabelsError("it is damaged: export it again.")
    if part is None and max(roi.position, roi.z_position, roi.t_position) > 1:
        raise LabelsError("it lies on another slice of a stack than the first: save the ROIs of each slice alone.")
    if roi.roitype not in (kinds.POLYGON, kinds.FREEHAND, kinds.TRACED, kinds.RECT, kinds.OVAL):
        raise LabelsError(f"it is a {roi.roitype.name.lower()}, which has no area: draw it as a polygon.")
    if roi.roitype == kinds.OVAL:
        turn = np.linspace(0, 2 * np.pi, _OVAL_POINTS)
        middle = np.array([roi.left + roi.right, roi.top + roi.bottom]) / 2
        radii = np.array([roi.right - roi.left, roi.bottom - roi.top]) / 2
        rings = [middle + radii * np.column_stack([np.cos(turn), np.sin(turn)])]
    else:
        try:
            rings = roi.coordinates(multi=True)
        except (NotImplementedError, RuntimeError, IndexError, ValueError) as error:
            raise LabelsError(f"its path cannot be followed ({error}): draw it as a polygon.") from error
    y, x = (0, 0) if part is None else part.corner
    rows, columns = window = window_of(rings, shape, (y, x))
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
    for ring in rings:
        mask ^= polygon_mask([ring], mask.shape, (y + rows.start, x + columns.start))
    return window, mask
