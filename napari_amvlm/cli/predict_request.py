"""What `predict` is asked for, what became of a file, and how its results are called; for files of all kinds."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.exports.label_files import made_with
from napari_amvlm.exports.nifti_labels import nifti_made_with
from napari_amvlm.imaging.folder import prompt_folders
from napari_amvlm.imaging.image_data import distinct
from napari_amvlm.prediction import answer_text
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.errors import AmvlmError
    from napari_amvlm.imaging import ImageSource, Plane
    from napari_amvlm.imaging.turning import Views
    from napari_amvlm.predictor import Predictor

    Progress = Callable[[float, str], None]
    Remark = Callable[[str], None]

_LONGEST_NAME = 225
"""Bytes in the name of a result: file systems take 255, and a file that is being written has a longer name."""
_LEAST_STEM = 40
_NOT_IN_NAMES = r'[\x00-\x1f/\\:*?"<>|]'


@dataclass(frozen=True)
class Request:
    """What is wanted of every image; a magnification of None is that of its pixel size, or 1."""

    prompts: tuple[str, ...]
    output: Path
    threshold: float = 0.5
    scale: Literal["auto"] | ScaleName = "auto"
    magnification: float | None = None
    instances: bool = False
    probabilities: bool = False
    overwrite: bool = False
    slices: tuple[int, int] | None = None
    region: tuple[int, int, int, int] | None = None
    every_tile: bool = False
    views: Views = 1
    plane: Plane = "acquired"
    channel: str | None = None
    image: str | None = None
    text_model: str = ""
    dicom_seg: bool = False
    estimate: bool = False


@dataclass(frozen=True)
class ImageResult:
    """What was predicted in one image.

    Attributes
    ----------
    labels
        With the axes of the image, without colours.
    probabilities
        float16, with an axis of prompts before those; None where they are not wanted.
    objects
        Numbered objects for each prompt; empty where they are not wanted.
    answers
        What is said of each prompt (`answers`).
    """

    labels: NDArray[Any]
    probabilities: NDArray[np.float16] | None
    objects: list[NDArray[Any]]
    answers: list[str]


@dataclass(frozen=True)
class Outcome:
    """What became of one source: a line about each of its images, or the error, and remarks on the way."""

    path: Path
    lines: tuple[str, ...] = ()
    error: AmvlmError | None = None
    remarks: tuple[str, ...] = ()


def file_titles(titles: Sequence[str]) -> tuple[str, ...]:
    """Return the titles of images as parts of file names, no two alike."""
    return distinct([re.sub(_NOT_IN_NAMES, "_", title) for title in titles])


def output_files(source: ImageSource, request: Request, title: str = "") -> list[Path]:
    """Return the files that a plane or a stack gives, in the order in which they are written; labels come last.

    Parameters
    ----------
    title
        Of an image out of a file with several: what tells it from the others, see `file_titles`.
    """
    ending = ".nii.gz" if is_nifti(source.path) else ".tif"
    additions = []
    if request.probabilities:
        additions.append("_probability")
    if request.instances:
        additions.extend(f"_{slug}_instances" for slug in prompt_folders(request.prompts).values())
    additions.append("")
    stem = _stem(source, title, max(len(os.fsencode(addition + ending)) for addition in additions))
    return [request.output / f"{stem}{addition}{ending}" for addition in additions]


def seg_file(source: ImageSource, request: Request, title: str = "") -> Path | None:
    """Return the DICOM segmentation that an image gives; None where none is wanted, or it is no DICOM image."""
    is_dicom = (bool(source.files) and not source.numbered) or _kind(source.path) in ("dicom", "dicom folder")
    return request.output / f"{_stem(source, title, 4)}.dcm" if request.dicom_seg and is_dicom else None


def store_folder(source: ImageSource, request: Request, title: str = "") -> Path:
    """Return the folder that a slide gives; that of a NIfTI file has a name of its own, as its other results have."""
    ending = "_nii.zarr" if is_nifti(source.path) else ".zarr"
    return request.output / f"{_stem(source, title, len(ending))}{ending}"


def _stem(source: ImageSource, title: str, addition: int) -> str:
    """Return what results are called, short enough for `addition` more bytes; what is cut off leaves a hash."""
    stem = f"{source.name} {title}" if title else source.name
    encoded = os.fsencode(stem)
    most = max(_LEAST_STEM, _LONGEST_NAME - addition)
    if len(encoded) <= most:
        return stem
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: most - 9].decode(errors='ignore')}~{digest}"


def is_nifti(path: Path) -> bool:
    """Tell whether results go back into a NIfTI file; a file that cannot be opened is none."""
    return _kind(path) == "nifti"


def _kind(path: Path) -> str | None:
    from napari_amvlm.imaging import image_kind

    try:
        return image_kind(path)
    except ImageError:
        return None


def result_token(path: Path) -> str | None:
    """Return the token of the request that gave a file, None where this program did not write it."""
    return nifti_made_with(path) if path.name.endswith(".nii.gz") else made_with(path)


def numbered(objects: NDArray[Any]) -> NDArray[Any]:
    """Return numbered objects as uint16, or uint32 where there are too many of them."""
    return objects.astype(np.uint16 if objects.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32)


def answers(
    predictor: Predictor, presences: Iterable[tuple[str, float]], untaught_kinds: Mapping[str, str] | None = None
) -> list[str]:
    """Return for instance "nuclei present 0.97", or "heart not taught, nearest known: lungs (0.41)".

    Parameters
    ----------
    untaught_kinds
        By prompt, kinds of image of which it was not taught, where the image is of such a kind.
    """
    from napari_amvlm.models.text_prompted import answering

    def answer(prompt: str, presence: float) -> str:
        if kind := (untaught_kinds or {}).get(prompt):
            return f"{shortened(prompt)} {answer_text(presence, taught=False)} of {kind}"
        known = predictor.knows(prompt)
        nearest = None if known else predictor.nearest(prompt)
        other = answering(predictor.model.config, predictor.text_model, prompt)
        by = f" by {other.name}" if other is not None else ""
        said = f"{shortened(prompt)} {answer_text(presence, taught=known)}{by}"
        return said + (f", nearest known: {nearest}" if nearest else "")

    return [answer(prompt, presence) for prompt, presence in presences]


def model_token(predictor: Predictor) -> str:
    """Return what tells the served model, with the text model beside it, from others."""
    own = predictor.info.sha256 if predictor.info else "unnamed"
    return own if predictor.text_model is None else f"{own} with {predictor.text_model.source}"
