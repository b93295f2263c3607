"""What a project tells about its images, corrections, models and runs: frozen rows of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

CorrectionState = Literal["current", "superseded", "withdrawn"]
RunState = Literal["running", "finished", "stopped", "failed", "interrupted"]


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
class CorrectionRecord:
    """One accepted mask for one prompt on one image; its files lie below the project folder.

    Attributes
    ----------
    before_file
        The mask that the model had proposed, None when there was none.
    reviewed_file
        The pixels that a person looked at, None when it was all of them.
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
    held_out
        Accepted ones that score models.
    unlabelled
        Without a current correction, and not held out.
    """

    images: int
    accepted: int
    held_out: int
    unlabelled: int
