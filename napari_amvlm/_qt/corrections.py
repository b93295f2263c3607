"""What goes into the project, and how: run off the GUI thread, with everything taken beforehand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import CUT_FROM, layer_path, place_words
from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import read_image
from napari_amvlm.session.accepted import Accepted, read_accepted

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_amvlm.config import ScaleName
    from napari_amvlm.project import ImageRecord, Project, SlidePlace

DEFAULT_NAME = "corrections.amvlm"


@dataclass(frozen=True)
class ImageSource:
    """An image as it lies in a layer, the file or slide it came from, and its number in the project if it has one."""

    name: str
    data: np.ndarray
    path: Path | None
    image_id: int | None = None
    cut_from: SlidePlace | None = None

    @classmethod
    def of(cls, layer: Image, place: tuple[int, ...] = (), image_id: int | None = None) -> ImageSource:
        """Take what is needed of a checked layer; a slice of a stack is an image of its own, without a file."""
        name = f"{layer.name} {place_words(layer, place)}".rstrip()
        path = None if place else layer_path(layer)
        return cls(name, label_layers.pixels(layer, place), path, image_id, layer.metadata.get(CUT_FROM))


@dataclass(frozen=True)
class Acceptance:
    """A mask that a person accepted, and where it came from.

    `region`, bool (H, W), is the part that was accepted, None all of it; `objects`, (H, W), the numbers of objects that
    were told apart.  `scale` and `magnification` are None where they were chosen automatically.
    """

    source: ImageSource
    prompt: str
    mask: np.ndarray
    before: np.ndarray | None
    model: str | None
    threshold: float
    seconds: float
    region: np.ndarray | None = None
    objects: np.ndarray | None = None
    scale: ScaleName | None = None
    magnification: float | None = None


@dataclass(frozen=True)
class Stored:
    """What became of an acceptance in the project."""

    image: ImageRecord
    accepted: Accepted


def default_project(layer: Image | None) -> Path:
    """Return where a project is made when none was chosen: beside the image, else in the home folder."""
    path = layer.source.path if layer is not None else None
    if path is not None and Path(path).is_file() and os.access(Path(path).parent, os.W_OK):
        return Path(path).parent / DEFAULT_NAME
    return Path.home() / "napari-amvlm" / DEFAULT_NAME


def enter_image(project: Project, source: ImageSource) -> ImageRecord:
    """Enter an image: by its file where that holds the very pixels that are shown, else as a copy."""
    if source.image_id is not None and source.path is not None and not source.path.is_file():
        return project.image(source.image_id)  # the file was moved: it is the same image nevertheless
    if source.path is not None and source.path.is_file():
        try:
            same = np.array_equal(read_image(source.path).data, source.data)
        except ImageError:
            same = False
        if same:
            return project.add_image(source.path)
    return project.add_image(array=source.data, name=source.name, cut_from=source.cut_from)


def store_correction(project: Project, acceptance: Acceptance) -> Stored:
    """Store an accepted mask, and how the prompt was set; both are on the disk when this returns."""
    record = enter_image(project, acceptance.source)
    options: dict[str, Any] = {
        "before": acceptance.before,
        "model": acceptance.model,
        "threshold": acceptance.threshold,
        "seconds_spent": acceptance.seconds,
        "scale": acceptance.scale,
        "magnification": acceptance.magnification,
    }
    prompt, mask, region = acceptance.prompt, acceptance.mask, acceptance.region
    if region is None:
        correction = project.accept(record.id, prompt, mask, objects=acceptance.objects, **options)
    else:
        correction = project.accept_region(record.id, prompt, mask, region, **options)
    project.prompts.set_up(
        prompt, threshold=acceptance.threshold, scale=acceptance.scale, magnification=acceptance.magnification
    )
    return Stored(record, read_accepted(project, correction))


def find_image(project: Project, path: Path) -> ImageRecord | None:
    """Return what the project knows of an image file; None where it is not in the project."""
    place = Path(os.path.abspath(path))
    return next((record for record in project.images() if record.path == place), None)


def withdraw_correction(project: Project, source: ImageSource, prompt: str) -> None:
    """Withdraw what was accepted for an image and a prompt."""
    image_id = source.image_id if source.image_id is not None else enter_image(project, source).id
    project.reject(image_id, prompt)
