"""Images of a large set, read when they are drawn and kept as 8-bit squares in a cache of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.byte_cache import ByteCache
from napari_amvlm.imaging import binary_mask, read_image
from napari_amvlm.imaging.scale import stretched, stretched_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImagePair

CACHE_BYTES = 256 << 20
"""For the pixels and masks of all images of a run together; a run of the model that ships stays below 2 GB with it."""

Cache = ByteCache[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class StoredImage:
    """An image file as a square of `side` pixels."""

    pair: ImagePair
    side: int
    cache: Cache

    @property
    def shape(self) -> tuple[int, ...]:
        """`(side, side, 3)`."""
        return self.side, self.side, 3

    def bytes(self) -> NDArray[np.uint8]:
        """Return uint8 `(side, side, 3)`."""
        return self.cache.get_or_make(self.pair.image, self._read)

    def read(self) -> NDArray[np.float32]:
        """Return float32 `(side, side, 3)` in [0, 1]."""
        return self.bytes().astype(np.float32) / np.float32(255)

    def _read(self) -> NDArray[np.uint8]:
        pixels = stretched(self.pair.pixels(), self.side)
        return (pixels * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class StoredMasks(Mapping[str, "NDArray[np.bool_]"]):
    """The masks of an image file by prompt, bool `(side, side)`; `values_of` has the mask value of each prompt."""

    pair: ImagePair
    side: int
    values_of: Mapping[str, int | None]
    cache: Cache

    def __getitem__(self, prompt: str) -> NDArray[np.bool_]:
        mask = self.pair.required_mask()
        labels = self.cache.get_or_make(mask, self._read)
        return binary_mask(labels, self.values_of[prompt])

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_of)

    def __len__(self) -> int:
        return len(self.values_of)

    def _read(self) -> NDArray[Any]:
        return stretched_labels(self.pair.labels(read_image(self.pair.image).data.shape), self.side)
