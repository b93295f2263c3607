"""DICOM segmentations: one segment a prompt, each frame with a reference to the image that it lies on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.errors import DatasetError
from napari_amvlm.exports.annotated import project_prompts
from napari_amvlm.exports.scan_labels import require_empty
from napari_amvlm.exports.scans import annotated_scans
from napari_amvlm.files import write_atomically
from napari_amvlm.imaging.formats.dicom_headers import read_header
from napari_amvlm.imaging.planes import to_file_axes
from napari_amvlm.libraries import need_library
from napari_amvlm.project.prompts import PALETTE
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from napari_amvlm.imaging import ImageData
    from napari_amvlm.project import Project

_PROGRAM = "napari-amvlm"
_SCHEME = "99AMVLM"
"""Of the codes of prompts that SNOMED CT has none for; 99 is DICOM's mark of a private scheme."""

_LONGEST_CODE = 16
_LONGEST_LABEL, _LONGEST_DESCRIPTION = 64, 1024
"""Letters that DICOM has for a label (LO) and a description (ST)."""

_ANATOMY, _ABNORMAL, _TISSUE = "AnatomicalStructure", "MorphologicallyAbnormalStructure", "Tissue"
_CONCEPTS = {
    "lung": (_ANATOMY, "Lung"),
    "lungs": (_ANATOMY, "Lung"),
    "heart": (_ANATOMY, "Heart"),
    "liver": (_ANATOMY, "Liver"),
    "kidney": (_ANATOMY, "Kidney"),
    "spleen": (_ANATOMY, "Spleen"),
    "brain": (_ANATOMY, "Brain"),
    "spine": (_ANATOMY, "Spine"),
    "spinal canal": (_ANATOMY, "VertebralCanal"),
    "spinal cord": (_ANATOMY, "SpinalCord"),
    "vertebra": (_ANATOMY, "Vertebra"),
    "vertebrae": (_ANATOMY, "Vertebra"),
    "nucleus": (_ANATOMY, "Nucleus"),
    "nuclei": (_ANATOMY, "Nucleus"),
    "cell nuclei": (_ANATOMY, "Nucleus"),
    "lesion": (_ABNORMAL, "Lesion"),
    "tumor": (_ABNORMAL, "Neoplasm"),
    "tumour": (_ABNORMAL, "Neoplasm"),
    "edema": (_ABNORMAL, "Edema"),
}
"""SNOMED CT's category and type of a prompt, by the names that pydicom has for them."""

_OFTEN_LEFT_OUT = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)


def export_dicom_seg(project: Project, root: Path, scans: Sequence[Path] = ()) -> list[str]:
    """Write a DICOM segmentation over each scan that accepted images are parts of.

    Every prompt is a segment of its own, so prompts may overlap. A frame refers to the image, or the frame of a
    multi-frame image, that its pixels lie on. Frames without a pixel are left out. Returns notes, as
    `export_coco` does.

    Parameters
    ----------
    root
        Folder to write `NAME.dcm` to, new or empty.
    scans
        Files and folders of scans, see `annotated_scans`.

    Raises
    ------
    InputError
        highdicom is not installed, nothing was accepted, no scan is DICOM, or the folder holds files.
    StorageError
        The disk refused.
    """
    need_highdicom()
    project_prompts(project)
    require_empty(root)
    by_model = {correction.prompt for correction in project.corrections.select() if correction.model}
    colours = {record.text: record.style.colour for record in project.prompts.all()}
    notes: list[str] = []
    for scan in annotated_scans(project, scans, notes, _check, single=False):
        segments = [
            _segment(n, prompt, colours[prompt], "SEMIAUTOMATIC" if prompt in by_model else "MANUAL")
            for n, prompt in enumerate(scan.prompts, 1)
        ]
        masks = [scan.mask(prompt).whole() for prompt in scan.prompts]
        answered = sorted({place.index for place, _ in scan.parts})
        result = _segmentation(scan.image, masks, segments, "Accepted masks", planes=answered)
        write_atomically(root / f"{scan.stem}.dcm", result.save_as, make_folder=True)
        notes.extend(shortened_labels(scan.stem, scan.prompts))
    return notes


def shortened_labels(name: str, prompts: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each prompt that the label of a segment cannot be."""
    for prompt in prompts:
        if segment_label(prompt) != prompt:
            yield (
                f"{name}: a label in DICOM has {_LONGEST_LABEL} letters at most, and no backslash, so that of "
                f"{shortened(prompt)} is {segment_label(prompt)!r}, and its description has the whole prompt."
            )


def write_predicted_seg(path: Path, image: ImageData, labels: NDArray[Any], prompts: Sequence[str]) -> None:
    """Write what a model found as a DICOM segmentation over the images that it was found in.

    Parameters
    ----------
    labels
        Values 1..K in the order of `prompts`, with the axes of `image`.

    Raises
    ------
    InputError
        highdicom is not installed, or the image is no DICOM image that a segmentation can refer to.
    StorageError
        The disk refused.
    """
    need_highdicom()
    _check(image)
    segments = [
        _segment(n, prompt, PALETTE[(n - 1) % len(PALETTE)], "AUTOMATIC") for n, prompt in enumerate(prompts, 1)
    ]
    masks = [(labels == number).astype(np.uint8) for number in range(1, len(prompts) + 1)]
    result = _segmentation(image, masks, segments, "Masks of a model, not reviewed")
    write_atomically(path, result.save_as, make_folder=True)


def is_own_seg(path: Path) -> bool:
    """Tell whether a file is a DICOM segmentation that this program wrote."""
    try:
        return bool(read_header(path).get("ManufacturerModelName") == _PROGRAM)
    except Exception:  # noqa: BLE001 - pydicom fails in many ways on files of other kinds
        return False


def need_highdicom() -> None:
    """Raise InputError where highdicom is not installed."""
    need_library("highdicom", "dicom-seg", "DICOM segmentations take")


def _check(image: ImageData) -> None:
    if not image.origins:
        raise DatasetError(f"{image.path or image.name} is no DICOM scan; export its masks in another format.")


def _segmentation(
    image: ImageData,
    masks: Sequence[NDArray[np.uint8]],
    segments: list[Any],
    content: str,
    planes: Sequence[tuple[int, ...]] = (),
) -> Any:
    """Return highdicom's segmentation; of an image that is not turned, of these planes alone."""
    import highdicom

    sources, frames = _frames(image, masks, planes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that are not quite as the standard says
            result = highdicom.seg.Segmentation(
                sources,
                frames,
                highdicom.seg.SegmentationTypeValues.BINARY,
                segments,
                series_instance_uid=highdicom.UID(),
                series_number=1000,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=_PROGRAM,
                manufacturer_model_name=_PROGRAM,
                software_versions=importlib.metadata.version(_PROGRAM),
                device_serial_number="0",
                content_description=content,
                series_description=f"{_PROGRAM} masks",
                omit_empty_frames=bool(frames.any()),
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{image.path} has no header that a DICOM segmentation can refer to ({error}); export its masks in "
            "another format."
        ) from error
    # Prompts may be in any script, whatever that of the images is.
    result.decode()
    result.SpecificCharacterSet = "ISO_IR 192"
    return result


def _frames(
    image: ImageData, masks: Sequence[NDArray[np.uint8]], planes: Sequence[tuple[int, ...]]
) -> tuple[list[Dataset], NDArray[np.uint8]]:
    """Return the source images, and masks `(frames, H, W, segments)`: of a multi-frame image, all of its frames."""
    in_file = [to_file_axes(mask, image) for mask in masks]
    volume = np.stack([mask.reshape(-1, *mask.shape[-2:]) for mask in in_file], axis=-1)
    numbers = list(range(len(volume)))
    if planes and image.turn is None:
        lengths = in_file[0].shape[:-2]
        numbers = [int(np.ravel_multi_index(index, lengths)) if index else 0 for index in planes]
    origins = [image.origins[number] for number in numbers]
    headers = {path: _completed(read_header(path), image) for path in dict.fromkeys(path for path, _ in origins)}
    stored = [int(header.get("NumberOfFrames") or 1) for header in headers.values()]
    if max(stored) == 1:
        return list(headers.values()), volume[numbers]
    if len(headers) > 1:
        raise DatasetError(
            f"{image.path} is made of several multi-frame files, and a DICOM segmentation refers to one; export "
            "its masks in another format."
        )
    frames = np.zeros((stored[0], *volume.shape[1:]), np.uint8)
    frames[[frame for _, frame in origins]] = volume[numbers]
    return list(headers.values()), frames


def _completed(header: Dataset, image: ImageData) -> Dataset:
    """Return a header with what every image has to have, empty where it was left out.

    A segmentation has the sizes of its pixels only together with their thickness: of slices that is their distance.
    """
    for keyword in _OFTEN_LEFT_OUT:
        if keyword not in header:
            setattr(header, keyword, "")
    if header.get("PixelSpacing") and not header.get("SliceThickness"):
        if header.get("FrameOfReferenceUID"):
            distance = (image.spacing or {}).get("Z", (float(header.PixelSpacing[0]), ""))[0]
            header.SliceThickness = round(distance, 6)  # decimal strings of DICOM have 16 letters
        else:
            del header.PixelSpacing
    return header


def _code(prompt: str) -> str:
    """Return a code of at most 16 letters that no other prompt has: with a hash where its letters alone do not tell.

    Examples
    --------
    >>> _code("blood vessel"), _code("Ki-67+"), _code("Ki-67-")
    ('BLOOD_VESSEL', 'KI_67_EBCA5D', 'KI_67_3D863A')
    """
    slug = re.sub(r"[^A-Z0-9]+", "_", prompt.upper()).strip("_")
    if len(slug) <= _LONGEST_CODE and slug.replace("_", " ") == prompt.upper():
        return slug
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:6].upper()
    return f"{slug[: _LONGEST_CODE - 7].rstrip('_') or 'PROMPT'}_{digest}"


def segment_label(prompt: str) -> str:
    r"""Return a prompt as the label of a segment; what is cut off leaves a hash, so that no two are the same.

    Examples
    --------
    >>> segment_label("lung"), segment_label("a\\b")  # of which DICOM would make two values
    ('lung', 'a/b~c62016')
    """
    if len(prompt) <= _LONGEST_LABEL and "\\" not in prompt:
        return prompt
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:6]
    shown = prompt.replace("\\", "/")
    return f"{shown[: _LONGEST_LABEL - 7]}~{digest}"


def _segment(number: int, prompt: str, colour: str, made: Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"]) -> Any:
    """Describe one prompt in coded concepts."""
    import highdicom
    from pydicom.sr.codedict import codes

    category, kind = _CONCEPTS.get(prompt.casefold(), (_TISSUE, None))
    own = highdicom.sr.CodedConcept(_code(prompt), _SCHEME, segment_label(prompt))
    algorithm = highdicom.AlgorithmIdentificationSequence(
        _PROGRAM, family=codes.cid7162.ArtificialIntelligence, version=importlib.metadata.version(_PROGRAM)
    )
    segment = highdicom.seg.SegmentDescription(
        number,
        segment_label(prompt),
        getattr(codes.SCT, category),
        getattr(codes.SCT, kind) if kind else own,
        made,
        algorithm_identification=None if made == "MANUAL" else algorithm,
        display_color=highdicom.color.CIELabColor.from_string(colour),
    )
    if segment_label(prompt) != prompt:
        segment.SegmentDescription = prompt[:_LONGEST_DESCRIPTION]
    return segment
