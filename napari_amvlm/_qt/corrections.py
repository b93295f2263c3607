"""What goes into the project, and how: run off the GUI thread, with everything taken beforehand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import CUT_FROM, layer_path, layer_shape, place_words
from napari_amvlm.errors import ImageError, ProjectError
from napari_amvlm.files import sha256_of_file
from napari_amvlm.imaging import read_image
from napari_amvlm.imaging.formats.itk_files import pixels_elsewhere
from napari_amvlm.imaging.turning import turned
from napari_amvlm.session.accepted import Accepted, read_accepted

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_amvlm.project import Answer, ImageRecord, Project, SlidePlace

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
class Stored:
    """What the project holds after an Accept."""

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
        return project.images.get(source.image_id)  # the file was moved: it is the same image nevertheless
    if source.path is not None and source.path.is_file():
        try:
            same = np.array_equal(read_image(source.path).data, source.data, equal_nan=True)
        except ImageError:
            same = False
        if same:
            return project.images.add_file(source.path)
    return project.images.add_array(source.data, name=source.name, cut_from=source.cut_from)


def store_correction(project: Project, source: ImageSource, prompt: str, answer: Answer) -> Stored:
    """Store an answer, and how the prompt was set; both are on the disk when this returns."""
    record = enter_image(project, source)
    correction = project.corrections.accept(record.id, prompt, answer)
    project.prompts.set_up(prompt, threshold=answer.threshold, scale=answer.scale, magnification=answer.magnification)
    return Stored(record, read_accepted(project, correction))


def find_image(project: Project, path: Path) -> ImageRecord | None:
    """Return what the project knows of an image file; None where it is not in the project.

    Raises
    ------
    ProjectError
        The file was changed since it was added: what was accepted is of another image.
    """
    place = Path(os.path.abspath(path))
    records = [record for record in project.images.all() if record.path == place]
    if not place.is_file():
        return records[0] if records else None  # it was moved while it is open
    if not records and pixels_elsewhere(place):
        return project.images.find_array(read_image(place).data)
    digest = sha256_of_file(place) if records else ""
    known = next((record for record in records if record.source == "array" or record.sha256 == digest), None)
    if records and known is None:
        raise ProjectError(
            f"{place} was changed since it was added to the project, so what was accepted is not shown: restore it, or "
            "accept masks of it as of a new image."
        )
    return known


def image_id_of(project: Project, source: ImageSource) -> int:
    """Return the number of an image in a project, entered first where it has none."""
    return source.image_id if source.image_id is not None else enter_image(project, source).id


def lies_as_stored(layer: Image, record: ImageRecord, path: Path) -> bool:
    """Tell whether a plane is shown in the orientation in which the project knows its file.

    Readers of other programs leave pixels as they are stored where the file says to turn or mirror them.
    """
    if layer_shape(layer) != record.shape:
        return False
    try:
        shown, stored = label_layers.pixels(layer), read_image(path).data
    except ImageError:  # it was moved while it is open
        return True
    turns = (np.array_equal(shown, turned(stored, view)) for view in range(1, 8))
    return np.array_equal(shown, stored) or not any(turns)


def withdraw_correction(project: Project, source: ImageSource, prompt: str) -> None:
    """Withdraw what was accepted for an image and a prompt."""
    project.corrections.reject(image_id_of(project, source), prompt)


def undo_decision(project: Project, source: ImageSource, prompt: str) -> Accepted | None:
    """Let an image and a prompt be as they were before the last Accept or Reject; return what is accepted then."""
    correction = project.corrections.undo(image_id_of(project, source), prompt)
    return None if correction is None else read_accepted(project, correction)
