"""ROIs of ImageJ as answers: a .zip of the ROI Manager, or a single .roi, for one image."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.exports.imagej import need_roifile
from napari_amvlm.imports.imported_masks import Answers, ImageReference, ImportedMasks
from napari_amvlm.imports.shapes import polygon_mask, window_of
from napari_amvlm.imports.text_files import archive_members
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imports.shapes import Area

_LARGEST = 1 << 24
_MOST = 1 << 17
"""Bytes of one ROI, and ROIs of one file."""
_OVAL_POINTS = 720


def read_rois(path: Path, prompt: str | None) -> ImportedMasks:
    """Return what a file of ROIs holds; every ROI is an object.

    A ROI's prompt is its property `prompt`, as this program writes it, else `prompt`. The image is the one that the
    property `sha256` means, else the one that is called like the file.

    Raises
    ------
    InputError
        roifile is not installed, or the file cannot be read.
    """
    need_roifile()
    rois = list(_read(path))
    sha256 = next((found for _, roi in rois if (found := _property(roi, "sha256"))), None)
    reference = ImageReference(path.stem, sha256)
    return ImportedMasks(path, reference, partial(_answers, path, rois, prompt))


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


def _answers(path: Path, rois: Sequence[tuple[str, Any]], prompt: str | None, shape: tuple[int, int]) -> Answers:
    objects: dict[str, NDArray[np.int32]] = {}
    problems: list[str] = []
    for number, (title, roi) in enumerate(rois, 1):
        try:
            name = _property(roi, "prompt") or prompt
            if name is None:
                raise LabelsError("nothing says what it shows: give --prompt.")
            window, mask = _area(roi, shape)
            if not mask.any():
                raise LabelsError("it has no pixel in the image: it is of another image.")
        except LabelsError as error:
            problems.append(f"{path}: ROI {title} is left out: {error}")
            continue
        if name not in objects:
            objects[name] = np.zeros(shape, np.int32)
        objects[name][window][mask] = number
    if not objects:
        raise LabelsError(problems[0])
    return Answers({name: numbers > 0 for name, numbers in objects.items()}, objects, None, tuple(problems))


def _area(roi: Any, shape: tuple[int, int]) -> Area:
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
    if max(roi.position, roi.z_position, roi.t_position) > 1:
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
    rows, columns = window = window_of(rings, shape)
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
    for ring in rings:
        mask ^= polygon_mask([ring], mask.shape, (rows.start, columns.start))
    return window, mask
