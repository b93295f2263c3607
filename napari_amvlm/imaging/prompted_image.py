"""The image that prompts are about: its pixels in [0, 1], and the key that it is known by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.values import is_gray, to_rgb01

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    from numpy.typing import NDArray


@dataclass
class PromptedImage:
    """An image as the network takes it.

    Attributes
    ----------
    key
        Identifies it: the same key means the same pixels.
    pixels
        float32 `(H, W, 3)` in [0, 1].
    gray
        Whether its channels are alike.
    """

    key: Hashable
    pixels: NDArray[np.float32]
    gray: bool

    @classmethod
    def read(
        cls, image: NDArray[np.generic], key: Hashable | None = None, limits: tuple[float, float] | None = None
    ) -> PromptedImage:
        """Return an image of any dtype, see `to_rgb01`; without a key it is one that was never seen before.

        Raises
        ------
        ImageError
            The image cannot be used.
        """
        pixels = to_rgb01(image, limits=limits)
        return cls(object() if key is None else key, pixels, is_gray(pixels))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def part(self, box: tuple[int, int, int, int]) -> PromptedImage:
        """Return a part (top, left, height, width) as an image of its own; all of it is the image itself.

        Raises
        ------
        ImageError
            The box leaves the image.
        """
        top, left, height, width = box
        rows, columns = self.shape
        if top < 0 or left < 0 or height < 1 or width < 1 or top + height > rows or left + width > columns:
            raise ImageError(
                f"Expected a box (top, left, height, width) inside the image of {rows}x{columns} pixels, but got {box}."
            )
        if (height, width) == (rows, columns):
            return self
        pixels = self.pixels[top : top + height, left : left + width]
        return PromptedImage((self.key, "part", box), pixels, self.gray)
