"""How much is computed at once, and less of it when memory runs short."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_amvlm.config import STRIDE

LEAST_TILE = 4 * STRIDE
"""Smallest side of a tile, pixels: a smaller one shows too little to recognise anything."""


@dataclass(frozen=True)
class TileLoad:
    """Tiles at once, and their side in pixels."""

    batch: int
    side: int

    def less(self) -> TileLoad | None:
        """Return half the batch, or if it is one, half the side; None if that is too small.

        Examples
        --------
        >>> TileLoad(2, 288).less(), TileLoad(1, 288).less(), TileLoad(1, 64).less()
        (TileLoad(batch=1, side=288), TileLoad(batch=1, side=144), None)
        """
        if self.batch > 1:
            return replace(self, batch=self.batch // 2)
        side = self.side // 2 // STRIDE * STRIDE
        return replace(self, side=side) if side >= LEAST_TILE else None

    def change_from(self, before: TileLoad) -> str:
        """Return a sentence about what changed from `before`.

        Examples
        --------
        >>> TileLoad(1, 288).change_from(TileLoad(2, 288))
        'Memory ran short; going on with 1 tile at once.'
        """
        if self.side != before.side:
            return f"Memory ran short; going on with tiles of {self.side}x{self.side} pixels."
        return f"Memory ran short; going on with {self.batch} {'tile' if self.batch == 1 else 'tiles'} at once."
