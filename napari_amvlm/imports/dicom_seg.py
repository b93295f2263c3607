"""DICOM segmentations as answers for the images that they refer to."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import DatasetError, ImageError, LabelsError
from napari_amvlm.exports.dicom_seg import need_highdicom, segment_label
from napari_amvlm.imaging import ImageSource, image_kind
from napari_amvlm.imaging.formats.dicom_headers import SEGMENTATIONS, read_header
from napari_amvlm.imaging.formats.lazy import reading
from napari_amvlm.imports.dicom_places import masks_by_place, names_frames
from napari_amvlm.imports.scan_masks import ScanMasks, Scans
from napari_amvlm.wording import counted, tidied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData

_CONTOURS = "1.2.840.10008.5.1.4.1.1.481.3"


def is_dicom_seg(path: Path) -> bool:
    """Tell whether a file is a DICOM segmentation, by its content.

    Raises
    ------
    DatasetError
        It holds contours.
    """
    try:
        with reading(path):
            is_dicom = not path.is_dir() and image_kind(path) == "dicom"
            kind = str(read_header(path).get("SOPClassUID", "")) if is_dicom else ""
    except ImageError:
        return False
    if kind == _CONTOURS:
        raise DatasetError(f"{path} holds contours (RTSTRUCT), which are not read: convert it to a DICOM segmentation.")
    return kind in SEGMENTATIONS


def read_dicom_seg(
    path: Path, prompt: str | None, scans: Scans, on_problem: Callable[[str], None]
) -> Iterator[ScanMasks]:
    """Yield the masks of a segmentation, scan by scan.

    A segment's prompt is its label, or `prompt` where there is one segment. Fractions count from one half on. Frames
    that do not say on the pixels of which image they lie, are on those at their place, in the same frame of reference.

    Raises
    ------
    InputError
        highdicom is not installed, the file is damaged, or it is of another study than the scans.
    """
    need_highdicom()
    segmentation = _read(path)
    names = _names(segmentation, prompt)
    with reading(path):
        wanted = {str(uid) for _, _, uid in segmentation.get_source_image_uids()}
    if not wanted or not names_frames(segmentation):
        yield _by_place(path, segmentation, names, wanted, scans, on_problem)
        return
    found: set[str] = set()
    for _, image in scans.images(lambda source: _refers_to(source, "SOPInstanceUID", wanted)):
        uids = _instances(image)
        if wanted.isdisjoint(uids):
            continue
        found |= wanted & set(uids)
        yield ScanMasks(image, _masks(path, segmentation, image, uids, wanted, names))
    if not found:
        study = segmentation.get("StudyInstanceUID", "unknown")
        raise LabelsError(
            f"{path} is a segmentation of another study than the scans here, {study}: say with --images where the "
            "scan lies that it refers to."
        )
    if len(found) < len(wanted):
        on_problem(f"{path}: {len(wanted) - len(found)} of the {len(wanted)} images that it refers to were not found.")


def _read(path: Path) -> Any:
    import highdicom
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path)
            shared, own = (header.get(f"{kind}FunctionalGroupsSequence") or () for kind in ("Shared", "PerFrame"))
            for group in (*shared, *own):
                for sizes in group.get("PixelMeasuresSequence") or ():
                    if not sizes.get("SliceThickness"):  # which is left out over images that are no slices
                        sizes.SliceThickness = sizes.PixelSpacing[0]
            return highdicom.seg.Segmentation.from_dataset(header, copy=False)
    except Exception as error:  # highdicom fails in many ways on damaged files
        raise LabelsError(f"{path} cannot be read as a DICOM segmentation ({error}): export it again.") from error


def _names(segmentation: Any, prompt: str | None) -> dict[int, str]:
    numbers = list(segmentation.segment_numbers)
    if prompt and len(numbers) == 1:
        return {int(numbers[0]): prompt}
    return {int(n): _name(segmentation.get_segment_description(n)) or f"segment {n}" for n in numbers}


def _name(segment: Any) -> str:
    """Return the label of a segment, or its description where that is the prompt of which an export cut the label."""
    described = tidied(str(segment.get("SegmentDescription", "")))
    label = segment.get("SegmentLabel") or ""
    label = tidied(label if isinstance(label, str) else "\\".join(map(str, label)))
    return described if described and segment_label(described) == label else label


def _by_place(
    path: Path,
    segmentation: Any,
    names: dict[int, str],
    wanted: set[str],
    scans: Scans,
    on_problem: Callable[[str], None],
) -> ScanMasks:
    """Return the masks on the one scan that lies where the frames do; those that are `wanted` count, or all of them."""
    keyword, values = (
        ("SOPInstanceUID", wanted) if wanted else ("FrameOfReferenceUID", _frame_of_reference(segmentation))
    )
    found: list[tuple[ImageData, dict[str, NDArray[np.bool_]], int]] = []

    def is_scan(source: ImageSource) -> bool:
        return _refers_to(source, keyword, values) and not _refers_to(source, "SOPClassUID", set(SEGMENTATIONS))

    for _, image in scans.images(is_scan):
        rows = {row for row, uid in enumerate(_instances(image)) if not wanted or uid in wanted}
        masks, missing = masks_by_place(path, segmentation, image, names, rows)
        if any(mask.any() for mask in masks.values()):
            found.append((image, masks, missing))
    if len(found) != 1:
        count = "none of the scans here lies" if not found else f"{len(found)} scans here lie"
        raise LabelsError(
            f"{path} does not say on the pixels of which images its frames lie, and {count} where they do: say with "
            "--images in which folder their scan lies alone."
        )
    image, masks, missing = found[0]
    if missing:
        on_problem(f"{path}: {counted(missing, 'frame')} with masks left out: on no image of {image.name}.")
    return ScanMasks(image, masks)


def _frame_of_reference(segmentation: Any) -> set[str]:
    return {str(uid) for uid in (segmentation.get("FrameOfReferenceUID"),) if uid}


def _refers_to(source: ImageSource, keyword: str, wanted: set[str]) -> bool:
    """Tell whether the header of one of a scan's files has one of the values that are wanted."""
    files = source.files or (source.path,)
    return image_kind(files[0]) == "dicom" and any(_value(path, keyword) in wanted for path in files)


def _value(path: Path, keyword: str) -> str:
    with reading(path):
        return str(read_header(path).get(keyword, ""))


def _instances(image: ImageData) -> list[str]:
    """Return the SOP Instance UID of each plane, in the order of the scan's planes."""
    uids = {path: _value(path, "SOPInstanceUID") for path in {path for path, _ in image.origins}}
    return [uids[path] for path, _ in image.origins]


def _masks(
    path: Path, segmentation: Any, image: ImageData, uids: Sequence[str], wanted: set[str], names: dict[int, str]
) -> dict[str, NDArray[np.bool_]]:
    """Return bool volumes with the axes of the scan."""
    shape = image.data.shape[: len(image.axes)]
    if (segmentation.Rows, segmentation.Columns) != shape[-2:]:
        raise LabelsError(
            f"{path} has frames of {segmentation.Rows}x{segmentation.Columns} pixels, but the images that it refers to "
            f"have {shape[-2]}x{shape[-1]}: resample it to the scan."
        )
    flat = np.zeros((len(uids), *shape[-2:], len(names)), np.bool_)
    try:
        if len(set(uids)) == len(uids):
            rows = [row for row, uid in enumerate(uids) if uid in wanted]
            frames = segmentation.get_pixels_by_source_instance(
                [uids[row] for row in rows], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
            )
            flat[rows] = np.asarray(frames) >= 0.5
        else:
            for uid in wanted & set(uids):
                rows = [row for row, own in enumerate(uids) if own == uid]
                frames = segmentation.get_pixels_by_source_frame(
                    uid,
                    [image.origins[row][1] + 1 for row in rows],
                    ignore_spatial_locations=True,
                    assert_missing_frames_are_empty=True,
                )
                flat[rows] = np.asarray(frames) >= 0.5
    except Exception as error:  # highdicom fails in many ways on odd files
        raise LabelsError(f"{path} cannot be brought to the images that it refers to ({error}).") from error
    result: dict[str, NDArray[np.bool_]] = {}
    for column, name in enumerate(names.values()):
        volume = flat[..., column].reshape(shape)
        result[name] = result[name] | volume if name in result else volume
    return result
