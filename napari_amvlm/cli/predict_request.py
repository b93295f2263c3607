"""What `predict` is asked for, what became of a file, and how its results are called; for files of all kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.exports.label_files import file_slug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.errors import AmvlmError
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

    stem = image_name(image)
    names = []
    if request.probabilities:
        names.append(f"{stem}_probability.tif")
    if request.instances:
        names.extend(f"{stem}_{file_slug(prompt)}_instances.tif" for prompt in request.prompts)
    names.append(f"{stem}.tif")
    return [request.output / name for name in names]


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
