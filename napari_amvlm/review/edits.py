"""Which pixels a person changed since the model last drew. Numpy only."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

_REMEMBERED = 32
"""States of a layer that are recognised."""


class EditTracker:
    """Tells which pixels of a labels layer a person changed since the model last wrote to it.

    The layer is compared with what the model wrote; a state that the layer was in before (the person pressed
    Ctrl+Z) is recognised, so that an undone result does not count as a correction.
    """

    def __init__(self, data: np.ndarray) -> None:
        self._states: dict[tuple[int, int], np.ndarray | None] = {}
        self._written: np.ndarray = np.zeros_like(data)
        self._edited: np.ndarray | None = None
        self.note_written(data, self.edited(data))

    def edited(self, data: np.ndarray) -> np.ndarray:
        """Return the pixels, bool (H, W), that a person changed."""
        key = digest(data)
        if key in self._states:
            known = self._states[key]
            return np.zeros(data.shape, bool) if known is None else known.copy()
        changed: np.ndarray = data != self._written
        if self._edited is not None:
            changed |= self._edited
        return changed

    def release(self, data: np.ndarray, where: np.ndarray) -> None:
        """Call the pixels `where`, bool (H, W), the model's from now on, though a person drew them."""
        self.note_written(data, self.edited(data) & ~where)

    def note_written(self, data: np.ndarray, edited: np.ndarray) -> None:
        """Remember the state after the model wrote; `edited` marks the person's own pixels in it."""
        self._written = data.copy()
        self.note_before(data, edited)

    def note_before(self, data: np.ndarray, edited: np.ndarray) -> None:
        """Remember the state before the model writes: undo may bring it back."""
        if self._edited is None or not np.array_equal(edited, self._edited):
            # states with the same edits share one array
            self._edited = edited if edited.any() else None
        self._remember(data)

    def _remember(self, data: np.ndarray) -> None:
        key = digest(data)
        self._states.pop(key, None)
        self._states[key] = self._edited
        if len(self._states) > _REMEMBERED:
            del self._states[next(iter(self._states))]


def changes(data: np.ndarray, proposed: np.ndarray, *keep: np.ndarray | None) -> tuple[tuple[Any, ...], np.ndarray]:
    """Return the indices at which `data` must change to become `proposed`, and the values there.

    Pixels marked in any of `keep` (finished objects, a person's corrections) are left alone.
    """
    change: np.ndarray = data != proposed
    for mask in keep:
        if mask is not None:
            change &= ~mask
    indices = np.nonzero(change)
    return indices, proposed[indices]


def digest(data: np.ndarray) -> tuple[int, int]:
    """Return what tells one state of a plane from others."""
    raw = data.tobytes()
    return zlib.crc32(raw), zlib.adler32(raw)
