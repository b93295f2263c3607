"""Moves the border of a soft mask to the edges of its image: the guided filter (He et al., ECCV 2010)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EDGE = 0.02
"""Variance of the guide from which a window counts as one with an edge; the guide's own variance is 1."""

_STEEPNESS = 1.5
"""Between its two runs the mask is made steeper: tanh of so many times its value."""


class EdgeFilter:
    """A guided filter for many masks of one image.

    Parameters
    ----------
    guide
        Intensity, float32 `(H, W)`, of mean 0 and variance 1 over the image.
    radius
        Half the side of the filter's window, pixels.
    """

    def __init__(self, guide: NDArray[np.float32], radius: int) -> None:
        self._guide, self._side = guide, 2 * radius + 1
        self._centre = self._mean(guide)
        self._scale = 1 / (self._mean(guide * guide) - self._centre**2 + _EDGE)

    def __call__(self, mask: NDArray[np.float32], known: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return a mask whose border follows the edges of the image.

        Parameters
        ----------
        mask
            `(H, W)` in [-1, 1]: 1 is surely inside, -1 surely outside.
        known
            `(H, W)`: 1 and -1 where the mask is known, 0 elsewhere.

        Returns
        -------
        ndarray
            float32 `(H, W)` in [-1, 1].
        """
        once = self._filtered(np.where(known == 0, mask, known))
        steeper = np.tanh(_STEEPNESS * once)
        return np.clip(self._filtered(np.where(known == 0, steeper, known)), -1, 1)

    def _filtered(self, mask: NDArray[np.floating]) -> NDArray[np.float32]:
        soft = np.asarray(mask, np.float32)
        average = self._mean(soft)
        slope = (self._mean(self._guide * soft) - self._centre * average) * self._scale
        return self._mean(slope) * self._guide + self._mean(average - slope * self._centre)

    def _mean(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.asarray(ndimage.uniform_filter(values, self._side), np.float32)
