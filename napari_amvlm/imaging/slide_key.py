"""A name for what a slide shows, read in no time: it tells which images were cut out of one slide."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

_PATCHES = 3
_SIDE = 64


def slide_key(data: Any) -> str | None:
    """Return a hash of nine small patches of a slide at full resolution.

    It is the same whatever the slide is called, wherever it lies, and whether it was read lazily; alpha is not looked
    at.

    Parameters
    ----------
    data
        `(H, W)`, `(H, W, 3)` or `(H, W, 4)`: a numpy, dask or zarr array; only the patches are read.

    Returns
    -------
    str or None
        64 hexadecimal digits; None where all patches are blank, as of many an image of fluorescence.
    """
    height, width = (int(side) for side in data.shape[:2])
    digest = hashlib.sha256(f"{np.dtype(data.dtype).newbyteorder('=').str} {height} {width} ".encode())
    blank = True
    for row in _starts(height):
        for column in _starts(width):
            patch = np.asarray(data[row : row + _SIDE, column : column + _SIDE])[..., :3 if data.ndim == 3 else None]
            blank &= bool((patch == patch[:1, :1]).all())
            digest.update(np.ascontiguousarray(patch).astype(patch.dtype.newbyteorder("="), copy=False).tobytes())
    return None if blank else digest.hexdigest()


def _starts(length: int) -> list[int]:
    """Return where the patches of a side begin: in the middle of each third."""
    return [max(0, length * (2 * i + 1) // (2 * _PATCHES) - _SIDE // 2) for i in range(_PATCHES)]
