"""From a stored probability to the objects that the model proposes.  Numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.review.locks import visible_objects
from napari_amvlm.review.objects import keep_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    Splitter = Callable[..., np.ndarray]

_LEAST = 1e-6


def propose(
    probability: np.ndarray,
    threshold: float,
    *,
    blocked: np.ndarray | None = None,
    split: Splitter | None = None,
    before: np.ndarray | None = None,
) -> np.ndarray:
    """Return what the model proposes for one prompt.

    Parameters
    ----------
    probability : (H, W)
        In [0, 1].
    threshold : float
        Pixels with at least this probability are proposed.
    blocked : bool (H, W), optional
        What a person has settled: it is not proposed anew, and no object that lies mostly below it.
    split : callable, optional
        `split(probability, threshold)` gives objects `(H, W)`, 1 and up.
    before : (H, W), optional
        Numbers of the objects that are shown, which new ones keep; see `keep_numbers`.

    Returns
    -------
    ndarray
        int32 `(H, W)`: 0 and 1; with `split` the numbers of objects.
    """
    if split is None:
        mask = np.asarray(probability >= np.float32(threshold))
        return np.asarray(mask if blocked is None else mask & ~blocked).astype(np.int32)
    objects = split(np.maximum(probability, np.float32(_LEAST)), max(threshold, _LEAST))
    if blocked is not None:
        objects = visible_objects(objects, blocked)
    return objects if before is None else keep_numbers(objects, before)
