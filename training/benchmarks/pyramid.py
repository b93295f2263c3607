"""Slides made of real tissue: pieces of sample images, mirrored at their borders and turned at random.

The piece at a place is drawn from its row and column alone, so any rectangle of any level can be made without the rest,
and a slide of 64,000 pixels a side takes no room.
"""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import ImageData, read_folder, read_image
from training.benchmarks.prompt_latency import square_sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PIECE = 512
"""Side of a piece and of a stored tile, pixels."""

SMALLEST = 1024
"""Levels follow until one is about this large."""


def read_tissue(folder: Path) -> list[NDArray[np.uint8]]:
    """Return the 8-bit colour images of a data folder, each `(h, w, 3)`.

    Raises
    ------
    InputError
        There is none.
    """
    images = [read_image(pair.image).data for pair in read_folder(folder, masks="none").pairs]
    images = [image for image in images if image.dtype == np.uint8 and image.ndim == 3]
    if not images:
        raise InputError(f"{folder} holds no 8-bit colour image, of which a slide could be made; give another folder.")
    return images


class Mosaic:
    """A square slide of `side` pixels, made where it is looked at.

    Parameters
    ----------
    tissue
        Images `(h, w, 3)` to make it of.
    """

    def __init__(self, side: int, tissue: Sequence[NDArray[np.uint8]], *, seed: int = 0) -> None:
        self.side = side
        self.steps = [1]
        while side // self.steps[-1] > SMALLEST:
            self.steps.append(self.steps[-1] * 2)
        squares = [square_sample(image, PIECE) for image in tissue]
        # Every piece in every turn at every level: what is looked at is put together by copying alone.
        self._pieces = {
            step: [np.ascontiguousarray(np.rot90(s, k)[::step, ::step]) for s in squares for k in range(4)]
            for step in self.steps
            if step <= PIECE
        }
        count = -(-side // PIECE)
        self._drawn = np.random.default_rng(seed).integers(4 * len(squares), size=(count, count))

    def tile(self, row: int, column: int, step: int) -> NDArray[np.uint8]:
        """Return a tile of the level where every `step`-th pixel is kept, `(512, 512, 3)`; beyond the slide it is 0."""
        tile = np.zeros((PIECE, PIECE, 3), np.uint8)
        part, pieces = PIECE // step, self._pieces[step]
        last = len(self._drawn)
        for y, x in itertools.product(range(step), repeat=2):
            down, right = row * step + y, column * step + x
            if down < last and right < last:
                tile[y * part : (y + 1) * part, x * part : (x + 1) * part] = pieces[self._drawn[down, right]]
        return tile

    def tiles(self, step: int) -> Iterator[NDArray[np.uint8]]:
        """Yield all tiles of a level, row by row."""
        count = -(-self.side // (PIECE * step))
        for row, column in itertools.product(range(count), repeat=2):
            yield self.tile(row, column, step)

    def image(self) -> ImageData:
        """Return the slide with its levels, each of which is made where it is read."""
        import dask.array as da

        levels = [
            da.from_array(
                _Level(self, step),
                chunks=(PIECE, PIECE, 3),
                name=f"mosaic-{uuid.uuid4().hex}",
                asarray=False,
                fancy=False,
                meta=np.empty((0, 0, 0), np.uint8),
            )
            for step in self.steps
        ]
        return ImageData(levels[0], f"mosaic of {self.side}", None, True, smaller=tuple(levels[1:]))


class _Level:
    """One level of a mosaic, read by slices."""

    def __init__(self, mosaic: Mosaic, step: int) -> None:
        self._mosaic, self._step = mosaic, step
        length = -(-mosaic.side // step)
        self.shape, self.dtype, self.ndim = (length, length, 3), np.dtype(np.uint8), 3

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[np.uint8]:
        rows, columns = (range(*part.indices(length)) for part, length in zip(key, self.shape[:2], strict=False))
        down, across = np.array(rows), np.array(columns)
        pixels = np.empty((len(down), len(across), 3), np.uint8)
        for row in np.unique(down // PIECE):
            for column in np.unique(across // PIECE):
                ys, xs = np.nonzero(down // PIECE == row)[0], np.nonzero(across // PIECE == column)[0]
                tile = self._mosaic.tile(int(row), int(column), self._step)
                pixels[np.ix_(ys, xs)] = tile[np.ix_(down[ys] % PIECE, across[xs] % PIECE)]
        return pixels


def write_pyramid(path: Path, mosaic: Mosaic) -> None:
    """Write a mosaic as a tiled, pyramidal OME-TIFF with JPEG compression, without holding it in memory."""
    import tifffile

    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        for index, step in enumerate(mosaic.steps):
            length = -(-mosaic.side // step)
            options: dict[str, Any] = {"subifds": len(mosaic.steps) - 1} if index == 0 else {"subfiletype": 1}
            file.write(
                mosaic.tiles(step),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(PIECE, PIECE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 80},
                **options,
            )
