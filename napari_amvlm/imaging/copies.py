"""Which images are copies of others: the same pixels in another file, even where its format loses a little of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging.scale import resize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_SIDE = 32
_ALIKE = 0.02
"""Largest difference of copies when both are made so small: JPEG moves it by 0.01, neighbouring slices by 0.06."""


class Copies:
    """Finds copies of some images.

    Parameters
    ----------
    images
        Names and images, float32 `(H, W, 3)` in [0, 1].
    """

    def __init__(self, images: Iterable[tuple[str, NDArray[np.float32]]] = ()) -> None:
        self._known: dict[tuple[int, ...], list[tuple[str, NDArray[np.float32]]]] = {}
        for name, image in images:
            self.add(name, image)

    def add(self, name: str, image: NDArray[np.float32]) -> None:
        """Find copies of this image too."""
        self._known.setdefault(image.shape, []).append((name, _small(image)))

    def original(self, image: NDArray[np.float32]) -> str | None:
        """Return the name of the image that this one is a copy of; None where there is none."""
        known = self._known.get(image.shape)
        if known is None:
            return None
        small = _small(image)
        return next((name for name, other in known if np.abs(other - small).max() < _ALIKE), None)


def _small(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return resize(image, (_SIDE, _SIDE))
