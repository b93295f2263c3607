"""The overlapping tiles of a slide, and the mean of their maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_amvlm.imaging import Tile, blend_window, tile_grid
from napari_amvlm.slides.blocks import BlockIndex
from napari_amvlm.slides.rectangles import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class TileOutput(NamedTuple):
    """What the prompts gave in one tile: maps, float32 `(M, h, w)`, and presence logits `(P,)`.

    The first P maps are probabilities; where objects are wanted, P more are depths.
    """

    maps: NDArray[np.float32]
    presence: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes of the maps."""
        return self.maps.nbytes


class SlideTiles:
    """The overlapping tiles of a plane: those that one pass over all of it would take.

    Parameters
    ----------
    padded
        Height and width of the plane at working scale, with what the network needs beside.
    side, overlap
        Of a tile, pixels.
    """

    def __init__(self, padded: tuple[int, ...], side: int, overlap: int) -> None:
        self.side = side
        self.overlap = overlap
        self._rows = np.array([t.y for t in tile_grid((padded[0], 1), side, overlap)])
        self._columns = np.array([t.x for t in tile_grid((1, padded[1]), side, overlap)])
        self._size = (min(side, padded[0]), min(side, padded[1]))
        self.window = blend_window(*self._size, overlap)

    def rectangle(self, index: BlockIndex) -> Tile:
        """Return where a tile lies."""
        return Tile(int(self._rows[index.row]), int(self._columns[index.column]), *self._size)

    def meeting(self, region: Tile) -> list[BlockIndex]:
        """Return the tiles that share a pixel with `region`."""
        rows = np.nonzero((self._rows < region.y + region.height) & (self._rows + self._size[0] > region.y))[0]
        columns = np.nonzero((self._columns < region.x + region.width) & (self._columns + self._size[1] > region.x))[0]
        return [BlockIndex(int(row), int(column)) for row in rows for column in columns]


def blended(
    tiles: SlideTiles, outputs: Mapping[BlockIndex, TileOutput], area: Tile, glass: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean of overlapping tiles, weighted by their window.

    Parameters
    ----------
    outputs
        Those that were computed, at least one; all others show glass.
    area
        Pixels at working scale that are wanted.
    glass
        What each map is there, `(M,)`.

    Returns
    -------
    maps
        float32 `(M, h, w)`.
    presence
        Logits of the strongest tile, `(P,)`.
    """
    presence = np.max([output.presence for output in outputs.values()], axis=0)
    count = len(next(iter(outputs.values())).maps)
    total = np.zeros((count, area.height, area.width), np.float32)
    weight = np.zeros((area.height, area.width), np.float32)
    for index in tiles.meeting(area):
        to, of = common(tiles.rectangle(index), area)
        window = tiles.window[of]
        weight[to] += window
        maps = outputs[index].maps[(slice(None), *of)] if index in outputs else glass[:, None, None]
        total[(slice(None), *to)] += maps * window
    return total / weight, presence
