"""Frozen records: what a person answers, and the rows of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_amvlm.imaging import Tile

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_amvlm.config import ScaleName

CorrectionState = Literal["current", "superseded", "withdrawn"]
RunState = Literal["running", "finished", "stopped", "failed", "interrupted"]
QueueStatus = Literal["new", "predicted", "in work", "accepted", "skipped"]


@dataclass(frozen=True)
class SlidePlace:
    """Where on a slide an image was cut out.

    Attributes
    ----------
    slide
        Which slide: its `napari_amvlm.imaging.slide_key`.
    y, x
        The upper left corner of the image on the slide, pixels at full resolution.
    """

    slide: str
    y: int
    x: int


@dataclass(frozen=True)
class ImageRecord:
    """One image of a project.

    Attributes
    ----------
    path
        Where the image was last seen; inside the project folder when `stored`.
    shape
        Height and width in pixels.
    sha256
        Hash of the file's bytes (`source` "file") or of the pixels (`source` "array").
    held_out
        True: scores models and is never learnt from.
    """

    id: int
    name: str
    path: Path
    shape: tuple[int, int]
    sha256: str
    source: Literal["file", "array"]
    stored: bool
    held_out: bool


@dataclass(frozen=True)
class Answer:
    """What a person accepted for one prompt on one image, from the dock to the ledger.

    Attributes
    ----------
    mask
        `(H, W)`, bool (or integer, where not 0 is True).
    objects
        Object numbers `(H, W)`, 0 is background, that cover just the mask; None makes each connected part an object.
    region
        bool `(H, W)`: only what lies in it was accepted, and outside it the stored answer stays. None is all of the
        image. A region is accepted without `objects` and `reviewed`.
    reviewed
        Pixels that the person looked at, bool `(H, W)`; None is all of them.
    before
        The mask that the model had proposed, bool `(H, W)`; None where there was none.
    model, threshold
        What the proposal came from; the threshold in [0, 1].
    scale, magnification
        The working scale; None where it was chosen automatically.
    origin
        The file that the mask was imported from.
    """

    mask: npt.ArrayLike
    objects: npt.ArrayLike | None = None
    region: npt.ArrayLike | None = None
    reviewed: npt.ArrayLike | None = None
    before: npt.ArrayLike | None = None
    model: str | None = None
    threshold: float | None = None
    seconds_spent: float = 0.0
    scale: ScaleName | None = None
    magnification: float | None = None
    origin: str | None = None


@dataclass(frozen=True)
class CorrectionRecord:
    """One accepted mask for one prompt on one image; its files lie below the project folder.

    Attributes
    ----------
    before_file
        The mask that the model had proposed, None when there was none.
    reviewed_file
        The pixels that a person looked at, None when it was all of them.
    states_file
        The state of every pixel (`PixelState`); None where it follows from the other three.
    objects_file
        Object numbers, None where the objects are the connected pieces of the mask.
    scale, magnification
        The working scale that a person chose by hand, None where it was chosen automatically.
    origin
        The file it was imported from, None where it was accepted by hand.
    accepted_at, ended_at
        UTC, ISO 8601; `ended_at` is when it was superseded or withdrawn.
    """

    id: int
    image_id: int
    prompt: str
    state: CorrectionState
    mask_file: str
    mask_sha256: str
    before_file: str | None
    before_sha256: str | None
    reviewed_file: str | None
    reviewed_sha256: str | None
    model: str | None
    threshold: float | None
    author: str
    accepted_at: str
    ended_at: str | None
    seconds_spent: float
    states_file: str | None
    states_sha256: str | None
    objects_file: str | None
    objects_sha256: str | None
    scale: ScaleName | None
    magnification: float | None
    origin: str | None


@dataclass(frozen=True)
class DraftRecord:
    """What was painted for one prompt on one image and not accepted yet; its files lie below the project folder.

    Attributes
    ----------
    base
        The id of the accepted correction that was painted over; None where nothing was accepted.
    kept_at
        UTC, ISO 8601.
    """

    image_id: int
    prompt: str
    base: int | None
    mask_file: str
    mask_sha256: str
    objects_file: str | None
    objects_sha256: str | None
    reviewed_file: str | None
    reviewed_sha256: str | None
    before_file: str | None
    before_sha256: str | None
    model: str | None
    threshold: float | None
    seconds_spent: float
    scale: ScaleName | None
    magnification: float | None
    kept_at: str


@dataclass(frozen=True)
class PromptStyle:
    """How a prompt looks on every image of a project.

    Attributes
    ----------
    value
        Its label value, from 1 on; no other prompt of the project has it.
    colour
        `#rrggbb`.
    separate_objects
        Whether its objects are told apart: each has a number, and can be locked.
    """

    value: int
    colour: str
    separate_objects: bool = False


@dataclass(frozen=True)
class PromptRecord:
    """A prompt that was used in the project, and how a person set it; None where that was left to the program.

    Attributes
    ----------
    priority
        Its place among the prompts, 0 wins overlaps; None loses to those that have one.
    threshold
        In [0, 1].
    """

    id: int
    text: str
    style: PromptStyle
    priority: int | None
    threshold: float | None
    scale: ScaleName | None
    magnification: float | None


class Region(Tile):
    """A rectangle of an image that is a queue item of its own."""


@dataclass(frozen=True)
class QueueItem:
    """An image, or a region of one, in the queue.

    Attributes
    ----------
    region
        None is the whole image.
    position
        Its place in the order that was stored last; None where it came later.
    """

    id: int
    image_id: int
    name: str
    region: Region | None
    status: QueueStatus
    position: int | None
    held_out: bool


@dataclass(frozen=True)
class ResumeState:
    """Where a person was when the project was closed.

    Attributes
    ----------
    image_id, item_id
        The image, and the queue item where there was one.
    camera_centre, camera_zoom
        What was seen: the middle of the view, and screen pixels per unit; of a plane in its own pixels, of a stack in
        world coordinates.
    camera_angles
        Of a view in three dimensions, degrees.
    step
        The slice of a stack that was shown.
    prompt, threshold
        The prompt that was being worked on, and its threshold in [0, 1].
    """

    image_id: int | None = None
    item_id: int | None = None
    camera_centre: tuple[float, ...] | None = None
    camera_zoom: float | None = None
    camera_angles: tuple[float, ...] | None = None
    step: tuple[int, ...] | None = None
    prompt: str | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class ImageScore:
    """Dice of one prompt on one held-out image before and after a run.

    Attributes
    ----------
    before, after
        Dice in [0, 1]; None was not measured.
    prompt
        Empty where a run of an older version has the mean over prompts only.
    correction_id
        The accepted mask that the image was scored with; None for a run of an older version.
    corrected
        Whether a person corrected that mask. One that was accepted as the model drew it judges nothing.
    """

    image_id: int
    name: str
    before: float | None
    after: float | None
    prompt: str = ""
    correction_id: int | None = None
    corrected: bool = True

    @property
    def counts(self) -> bool:
        """Return whether it says anything about the model after the run."""
        return self.corrected and self.before is not None and self.after is not None


@dataclass(frozen=True)
class Serving:
    """When a model began to serve; `model_id` None is the installed model."""

    id: int
    model_id: int | None
    served_at: str


@dataclass(frozen=True)
class ModelRecord:
    """One model that was learnt in the project; `path` is its safetensors file."""

    id: int
    name: str
    path: Path
    sha256: str
    parent: str | None
    licence: str
    scores: dict[str, float]
    created_at: str
    discarded: bool = False


@dataclass(frozen=True)
class RunRecord:
    """One fine-tuning run: what it started from, its resolved configuration, and how it ended."""

    id: int
    state: RunState
    parent: str | None
    config: dict[str, object]
    result: dict[str, object]
    message: str | None
    model_id: int | None
    started_at: str
    ended_at: str | None


@dataclass(frozen=True)
class ProjectCounts:
    """Numbers of images.

    Attributes
    ----------
    accepted
        With a current correction; held-out ones included.
    unlabelled
        Without a current correction, and not held out.
    """

    images: int
    accepted: int
    held_out: int
    unlabelled: int
