"""What `predict` is asked for, what became of a file, and how its results are called; for files of all kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.exports.label_files import file_slug, made_with
from napari_amvlm.exports.nifti_labels import nifti_made_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.errors import AmvlmError
    from napari_amvlm.imaging import Plane
    from napari_amvlm.imaging.turning import Views
    from napari_amvlm.predictor import Predictor

    Progress = Callable[[float, str], None]
    Remark = Callable[[str], None]

PRESENT = 0.5


@dataclass(frozen=True)
class Request:
    """What is wanted of every image."""

    prompts: tuple[str, ...]
    output: Path
    threshold: float = 0.5
    scale: Literal["auto"] | ScaleName = "auto"
    magnification: float = 1.0
    instances: bool = False
    probabilities: bool = False
    overwrite: bool = False
    slices: tuple[int, int] | None = None
    region: tuple[int, int, int, int] | None = None
    every_tile: bool = False
    views: Views = 1
    plane: Plane = "acquired"


@dataclass(frozen=True)
class Outcome:
    """What became of one file: the line that tells about it, or the error, and remarks on the way."""

    path: Path
    line: str = ""
    error: AmvlmError | None = None
    remarks: tuple[str, ...] = ()


def output_files(image: Path, request: Request) -> list[Path]:
    """Return the files that a plane or a stack gives, in the order in which they are written; labels come last."""
    from napari_amvlm.imaging import image_name

    stem, ending = image_name(image), ".nii.gz" if is_nifti(image) else ".tif"
    names = []
    if request.probabilities:
        names.append(f"{stem}_probability")
    if request.instances:
        names.extend(f"{stem}_{file_slug(prompt)}_instances" for prompt in request.prompts)
    names.append(stem)
    return [request.output / f"{name}{ending}" for name in names]


def is_nifti(image: Path) -> bool:
    """Tell whether results go back into a NIfTI file; a file that cannot be opened is none."""
    from napari_amvlm.imaging import image_kind

    try:
        return image_kind(image) == "nifti"
    except ImageError:
        return False


def result_token(path: Path) -> str | None:
    """Return the token of the request that gave a file, None where this program did not write it."""
    return nifti_made_with(path) if path.name.endswith(".nii.gz") else made_with(path)


def store_folder(image: Path, request: Request) -> Path:
    """Return the folder that a slide gives."""
    from napari_amvlm.imaging import image_name

    return request.output / f"{image_name(image)}.zarr"


def numbered(objects: NDArray[Any]) -> NDArray[Any]:
    """Return numbered objects as uint16, or uint32 where there are too many of them."""
    return objects.astype(np.uint16 if objects.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32)


def presence_text(prompt: str, presence: float) -> str:
    """Return for instance "nuclei present 0.97"."""
    return f"{prompt} {'present' if presence >= PRESENT else 'absent'} {presence:.2f}"


def model_token(predictor: Predictor) -> str:
    """Return what tells the served model from others."""
    return predictor.info.sha256 if predictor.info else "unnamed"
