"""A name for what a slide shows, read in no time: it tells which images were cut out of one slide."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

_GRIDS = (3, 9, 27)
_SIDE = 64


def slide_key(data: Any) -> str | None:
    """Return a hash of small patches of a slide at full resolution, nine, or more where all of these are blank.

    It is the same whatever the slide is called, wherever it lies, and whether it was read lazily; alpha is not looked
    at.

    Parameters
    ----------
    data
        `(H, W)`, `(H, W, 3)` or `(H, W, 4)`: a numpy, dask or zarr array; only the patches are read.

    Returns
    -------
    str or None
        64 hexadecimal digits; None where all patches of a grid of 27 by 27 are blank.
    """
    height, width = (int(side) for side in data.shape[:2])
    digest = hashlib.sha256(f"{np.dtype(data.dtype).newbyteorder('=').str} {height} {width} ".encode())
    for patches in _GRIDS:
        blank = True
        for row in _starts(height, patches):
            for column in _starts(width, patches):
                patch = np.asarray(data[row : row + _SIDE, column : column + _SIDE])
                patch = patch[..., : 3 if data.ndim == 3 else None]
                blank &= bool((patch == patch[:1, :1]).all())
                digest.update(np.ascontiguousarray(patch, patch.dtype.newbyteorder("=")).tobytes())
        if not blank:
            return digest.hexdigest()
    return None


def _starts(length: int, patches: int) -> list[int]:
    """Return where the patches of a side begin: in the middle of each of its parts."""
    return [max(0, length * (2 * i + 1) // (2 * patches) - _SIDE // 2) for i in range(patches)]
