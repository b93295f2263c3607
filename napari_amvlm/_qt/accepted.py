"""What of an image is on the disk already: accepted masks, read in a thread and kept with the image.  Knows no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import ProjectError
from napari_amvlm.review import PixelState, locked_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm.project import CorrectionRecord, Project


@dataclass(frozen=True)
class Accepted:
    """One prompt's accepted mask.

    Attributes
    ----------
    correction
        Its id in the ledger.
    states
        uint8 (H, W), values of `napari_amvlm.review.PixelState`.
    objects
        (H, W), numbers of its objects as the ledger counts them.
    unlocked
        Objects that a model may paint over.
    separate
        Whether a person told the objects apart; else they are the connected pieces.
    """

    correction: int
    states: np.ndarray
    objects: np.ndarray
    unlocked: frozenset[int] = frozenset()
    separate: bool = False

    def locked(self) -> np.ndarray:
        """Return the pixels of all locked objects, bool (H, W)."""
        return locked_pixels(self.objects, self.unlocked)

    def settled(self) -> np.ndarray:
        """Return what the model may not propose anew for this prompt: all that was reviewed, but unlocked objects."""
        return np.asarray((self.states != PixelState.NEVER) & ~np.isin(self.objects, list(self.unlocked)))

    def is_whole(self) -> bool:
        """Tell whether all of the image was reviewed."""
        return bool((self.states != PixelState.NEVER).all())


def read_accepted(project: Project, correction: CorrectionRecord) -> Accepted:
    """Read one accepted mask.

    Raises
    ------
    ProjectError
        A file of it is gone or was changed.
    """
    return Accepted(
        correction.id,
        project.load_states(correction),
        np.asarray(project.load_objects(correction)),
        project.locks.unlocked(correction),
        correction.objects_file is not None,
    )


def accepted_on(project: Project, image_id: int, on_problem: Callable[[str], None]) -> dict[str, Accepted]:
    """Return the accepted masks of an image by prompt; one that cannot be read is told of and left out."""
    found: dict[str, Accepted] = {}
    for correction in project.corrections(image_id):
        try:
            found[correction.prompt] = read_accepted(project, correction)
        except ProjectError as error:
            on_problem(str(error))
    return found


def summary(accepted: Accepted | None) -> tuple[float, int]:
    """Return the share of pixels that was reviewed, and how many were corrected."""
    if accepted is None:
        return 0.0, 0
    reviewed = float((accepted.states != PixelState.NEVER).mean())
    return reviewed, int(np.count_nonzero(accepted.states == PixelState.CORRECTED))
