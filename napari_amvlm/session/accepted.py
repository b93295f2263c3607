"""The accepted masks of an image, read in a thread and kept with the image. Knows no Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    states
        uint8 (H, W), values of `napari_amvlm.review.PixelState`.
    objects
        (H, W), numbers of its objects as the ledger counts them.
    unlocked
        Objects that a model may paint over.
    separate
        Whether a person told the objects apart; else they are the connected pieces.
    locks_before
        Where a person took the prompt up again, `unlocked` as it was: the model may then paint over everything but
        objects that are locked anew.
    """

    correction: int
    states: np.ndarray
    objects: np.ndarray
    unlocked: frozenset[int] = frozenset()
    separate: bool = False
    locks_before: frozenset[int] | None = None

    def opened(self, on: bool) -> Accepted:
        """Return this taken up again, or finished with the locks that it had."""
        if on == (self.locks_before is not None):
            return self
        if self.locks_before is not None:
            return replace(self, unlocked=self.locks_before, locks_before=None)
        every = frozenset(int(number) for number in np.unique(self.objects[self.objects > 0]))
        return replace(self, unlocked=every, locks_before=self.unlocked)

    def locked(self) -> np.ndarray:
        """Return the pixels of all locked objects, bool (H, W)."""
        return locked_pixels(self.objects, self.unlocked)

    def settled(self) -> np.ndarray:
        """Return what the model may not propose anew for this prompt: all that was reviewed, but unlocked objects."""
        if self.locks_before is not None:
            return self.locked()
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
        project.corrections.states(correction),
        np.asarray(project.corrections.objects(correction)),
        project.locks.unlocked(correction),
        correction.objects_file is not None,
    )


def accepted_on(project: Project, image_id: int, on_problem: Callable[[str], None]) -> dict[str, Accepted]:
    """Return the accepted masks of an image by prompt; one that cannot be read is reported and left out."""
    masks: dict[str, Accepted] = {}
    for correction in project.corrections.select(image_id):
        try:
            masks[correction.prompt] = read_accepted(project, correction)
        except ProjectError as error:
            on_problem(str(error))
    return masks


def summary(accepted: Accepted | None) -> tuple[float, int]:
    """Return the share of pixels that was reviewed, and how many were corrected."""
    if accepted is None:
        return 0.0, 0
    reviewed = float((accepted.states != PixelState.NEVER).mean())
    return reviewed, int(np.count_nonzero(accepted.states == PixelState.CORRECTED))
