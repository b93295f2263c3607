"""Which accepted objects are locked: all of them, but those that somebody unlocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import LabelsError
from napari_amvlm.project.ledger import Ledger, author, now
from napari_amvlm.project.mask_files import check_shape
from napari_amvlm.review import locked_pixels, set_locked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_amvlm.project.corrections import CorrectionTable
    from napari_amvlm.project.mask_files import BoolArray
    from napari_amvlm.project.records import CorrectionRecord, ImageRecord


class LockTable:
    """The locks of accepted objects: `project.locks`. A new correction is locked as a whole."""

    def __init__(self, ledger: Ledger, corrections: CorrectionTable) -> None:
        self._ledger = ledger
        self._corrections = corrections

    def unlocked(self, correction: CorrectionRecord) -> frozenset[int]:
        """Return the numbers of the unlocked objects of a correction."""
        rows = self._ledger.rows("SELECT object FROM unlocked_objects WHERE correction_id = ?", (correction.id,))
        return frozenset(row["object"] for row in rows)

    def set(self, correction: CorrectionRecord, objects: Iterable[int], locked: bool) -> frozenset[int]:
        """Lock or unlock objects of a correction, numbered as in `CorrectionTable.objects`; return the unlocked ones.

        Raises
        ------
        LabelsError
            A number is not above 0.
        """
        chosen = sorted({int(number) for number in objects})
        if chosen and chosen[0] < 1:
            raise LabelsError(f"{chosen[0]} is no object: choose numbers above 0.")
        unlocked = set_locked(self.unlocked(correction), chosen, locked)
        rows = [(correction.id, number, author(), now()) for number in chosen]
        with self._ledger.transaction() as connection:
            if locked:
                connection.executemany(
                    "DELETE FROM unlocked_objects WHERE correction_id = ? AND object = ?", [row[:2] for row in rows]
                )
            else:
                connection.executemany("INSERT OR IGNORE INTO unlocked_objects VALUES (?, ?, ?, ?)", rows)
        return unlocked

    def pixels(self, image: ImageRecord) -> BoolArray:
        """Return the pixels of an image that a model may not paint over, bool `(H, W)`: all its locked objects."""
        check_shape(self._ledger.path, image.shape)
        locked = np.zeros(image.shape, np.bool_)
        for correction in self._corrections.select(image.id):
            locked |= locked_pixels(self._corrections.objects(correction), self.unlocked(correction))
        return locked
