"""One channel of an image, chosen by name or number, or all of them as one colour picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import mapped
from napari_amvlm.imaging.values import value_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_amvlm.imaging.image_data import ImageData

COMPOSITE = "composite"

_COLOURS = {2: ((0, 1, 0), (1, 0, 1)), 3: ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
_MORE = ((0, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1))
_SAMPLED = 1 << 20
"""Values of a channel from which black and white are taken."""


def choose_channel(image: ImageData, channel: str) -> ImageData:
    """Return the channel that is called `channel`, has this number, from 1, or the composite of all.

    Raises
    ------
    ImageError
        There is none; the message names those that there are.
    """
    titles = image.channel_titles
    if not titles:
        raise ImageError(f"{image.path or image.name} has no channels to choose from; leave out --channel.")
    if channel.strip().casefold() == COMPOSITE:
        return composite(image)
    names = [title.casefold() for title in titles]
    if channel.strip().casefold() in names:
        return image.of_channel(names.index(channel.strip().casefold()))
    if channel.strip().isdecimal() and 1 <= int(channel) <= len(titles):
        return image.of_channel(int(channel) - 1)
    listed = ", ".join(f"{number} {title}" for number, title in enumerate(titles, 1))
    raise ImageError(f"{image.path or image.name} has no channel {channel!r}; choose one of {listed}, or {COMPOSITE}.")


def composite(image: ImageData) -> ImageData:
    """Return all channels as one colour picture of 8 bits, each stretched by itself.

    Two channels are green and magenta, three are red, green and blue.
    """
    count = len(image.channel_titles)
    colours = _COLOURS.get(count) or [_MORE[number % len(_MORE)] for number in range(count)]
    parts = [image.of_channel(number) for number in range(count)]
    limits = [_limits(part) for part in parts]
    pictures = []
    for level in range(len(image.levels)):
        mixture: Any = sum(
            _stretched(part.levels[level], *ends)[..., None] * np.array(colour, np.float32)
            for part, ends, colour in zip(parts, limits, colours, strict=True)
        )
        pictures.append(mapped(mixture, _eight_bits, np.dtype(np.uint8)))
    first = parts[0]
    return replace(first, data=pictures[0], smaller=tuple(pictures[1:]), rgb=True, name=f"{image.name} {COMPOSITE}")


def _eight_bits(block: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray((255 * block.clip(0, 1)).round(), np.uint8)


def _limits(part: ImageData) -> tuple[float, float]:
    """Return the values of a channel that become black and white, from an even sample of its lowest resolution."""
    level = part.levels[-1]
    step = max(1, int(np.ceil((level.size / _SAMPLED) ** (1 / level.ndim))))
    sample = np.asarray(level[tuple(slice(None, None, step if n >= 16 * step else 1) for n in level.shape)])
    return value_limits(sample.reshape(-1, sample.shape[-1]), name=part.name)


def _stretched(level: Any, low: float, high: float) -> Any:
    def stretch(block: NDArray[Any]) -> NDArray[np.float32]:
        if low == high:
            return np.zeros(block.shape, np.float32)
        scaled = (block.astype(np.float64) - low) / (high - low)
        return np.asarray(np.nan_to_num(scaled.clip(0, 1)), np.float32)

    return mapped(level, stretch, np.dtype(np.float32))
