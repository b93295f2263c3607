"""The tiles of a slide, and what was found in those that several blocks share."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import Tile, blend_window, tile_grid
from napari_amvlm.slides.rectangles import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Place = tuple[int, int]


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

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._rows) * len(self._columns)

    def rectangle(self, place: Place) -> Tile:
        """Return where the tile in a row and column lies."""
        return Tile(int(self._rows[place[0]]), int(self._columns[place[1]]), *self._size)

    def meeting(self, region: Tile) -> list[Place]:
        """Return rows and columns of the tiles that share a pixel with `region`."""
        rows = np.nonzero((self._rows < region.y + region.height) & (self._rows + self._size[0] > region.y))[0]
        columns = np.nonzero((self._columns < region.x + region.width) & (self._columns + self._size[1] > region.x))[0]
        return [(int(row), int(column)) for row in rows for column in columns]


class TileCache:
    """Keeps what was found in tiles, the latest ones, up to a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._bytes = 0
        self._found: OrderedDict[Place, tuple[NDArray[np.float32], NDArray[np.float32]]] = OrderedDict()

    def __contains__(self, place: Place) -> bool:
        return place in self._found

    def put(self, place: Place, probability: NDArray[np.float32], presence: NDArray[np.float32]) -> None:
        """Keep the maps `(P, h, w)` and the presence logits `(P,)` of a tile."""
        self.forget(place)
        maps = np.ascontiguousarray(probability)
        self._found[place] = (maps, presence)
        self._bytes += maps.nbytes

    def get(self, place: Place) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what was put."""
        self._found.move_to_end(place)
        return self._found[place]

    def forget(self, place: Place) -> None:
        """Drop a tile that nothing needs any more."""
        if place in self._found:
            self._bytes -= self._found.pop(place)[0].nbytes

    def trim(self) -> None:
        """Drop the oldest tiles until the rest fits."""
        while self._bytes > self.most_bytes:
            self._bytes -= self._found.popitem(last=False)[1][0].nbytes


def blended(
    tiles: SlideTiles, found: Mapping[Place, tuple[NDArray[np.float32], NDArray[np.float32]]], area: Tile
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean of what was found in overlapping tiles, weighted by their window.

    Parameters
    ----------
    tiles
        Where they lie.
    found
        Maps and presence logits of those that were computed, at least one, as a `TileCache` gives them; in all others
        nothing was found.
    area
        Pixels at working scale that are wanted.

    Returns
    -------
    probability
        float32 `(P, h, w)`.
    presence
        Logits of the strongest tile, `(P,)`.
    """
    presence = np.max([logits for _, logits in found.values()], axis=0)
    total = np.zeros((len(presence), area.height, area.width), np.float32)
    weight = np.zeros((area.height, area.width), np.float32)
    for place in tiles.meeting(area):
        to, of = common(tiles.rectangle(place), area)
        window = tiles.window[of]
        weight[to] += window
        if place in found:
            total[(slice(None), *to)] += found[place][0][(slice(None), *of)] * window
    return total / weight, presence
