"""Label values of a slide as a viewer shows them: from stored probabilities and thresholds, at several resolutions."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.byte_cache import ByteCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_amvlm.imaging import Tile
    from napari_amvlm.slides.store import SlideStore

KEPT_BYTES = 64 << 20
"""What chunks that were read last may take."""

_Key = tuple[str, int, int, int, int]


@dataclass(frozen=True)
class ShownPrompt:
    """One prompt of a store, and how it is shown.

    Attributes
    ----------
    value
        Label value, 1 to 255.
    threshold
        Pixels with at least this probability are shown.
    """

    store: SlideStore
    row: int
    value: int
    threshold: float


class ShownSlide:
    """Label images of a slide, composed where they are looked at; safe between threads.

    Nothing is written when a threshold moves or a prompt comes: the levels are arrays that read the probabilities of
    the requested part.  A pixel has the value of the prompt whose probability is greatest among those that
    reach their threshold.

    Parameters
    ----------
    store
        The first store; all others must be of the same slide and block.
    kept_bytes
        What chunks that were read last may take.

    Attributes
    ----------
    levels
        One array for each resolution, the full one first.
    """

    def __init__(self, store: SlideStore, kept_bytes: int = KEPT_BYTES) -> None:
        self._side = store.request.block
        self._prompts: tuple[ShownPrompt, ...] = ()
        self._cache: ByteCache[NDArray[np.uint8]] = ByteCache(kept_bytes)
        self._changes = 0
        self._lock = threading.Lock()
        self.levels = [ShownLevel(self, index, level.shape) for index, level in enumerate(store.levels)]

    def show(self, prompts: Sequence[ShownPrompt]) -> None:
        """Show these prompts from now on."""
        self._prompts = tuple(prompts)

    def renew(self, store: SlideStore, area: Tile, rows: Sequence[int] | None = None) -> None:
        """Read a part of a store anew, because it was written; what lies there is kept, ready to be shown.

        Parameters
        ----------
        rows
            Prompts of the store, by their place there; by default all.
        """
        side = self._side
        for level in range(len(self.levels)):
            row, column = area.y // 2**level // side, area.x // 2**level // side
            for prompt in range(len(store.request.prompts)) if rows is None else rows:
                key = (str(store.path), prompt, level, row, column)
                with self._lock:
                    self._changes += 1
                    self._cache.drop(key)
                self._chunk(store, key)

    def composed(self, level: int, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        """Return label values of a part of a level, `(bottom - top, right - left)`."""
        labels = np.zeros((bottom - top, right - left), np.uint8)
        best = np.zeros_like(labels)
        for prompt in self._prompts:
            values = self._probability(prompt, level, top, left, bottom, right)
            # 0 means not computed yet, or surely background
            least = max(1, math.ceil(prompt.threshold * 255))
            wins = (values >= least) & (values > best)
            np.copyto(labels, np.uint8(prompt.value), where=wins)
            np.copyto(best, values, where=wins)
        return labels

    def probability(self, prompt: ShownPrompt, area: Tile) -> NDArray[np.float32]:
        """Return the probabilities of a prompt in a part of the slide, float32 `(h, w)`."""
        bottom, right = area.y + area.height, area.x + area.width
        values = self._probability(prompt, 0, area.y, area.x, bottom, right)
        return values.astype(np.float32) / np.float32(255)

    def _probability(
        self, prompt: ShownPrompt, level: int, top: int, left: int, bottom: int, right: int
    ) -> NDArray[np.uint8]:
        values = np.zeros((max(0, bottom - top), max(0, right - left)), np.uint8)
        side = self._side
        for row in range(top // side, -(-bottom // side)):
            for column in range(left // side, -(-right // side)):
                chunk = self._chunk(prompt.store, (str(prompt.store.path), prompt.row, level, row, column))
                y, x = row * side, column * side
                first, begin = max(y, top), max(x, left)
                last, end = min(y + chunk.shape[0], bottom), min(x + chunk.shape[1], right)
                part = chunk[first - y : last - y, begin - x : end - x]
                values[first - top : last - top, begin - left : end - left] = part
        return values

    def _chunk(self, store: SlideStore, key: _Key) -> NDArray[np.uint8]:
        with self._lock:
            if key in self._cache:
                return self._cache[key]
            changes = self._changes
        _, prompt, level, row, column = key
        y, x = row * self._side, column * self._side
        array = store.probabilities[level]
        chunk = np.asarray(array[prompt, y : y + self._side, x : x + self._side], dtype=np.uint8)
        with self._lock:
            # what was written while this was read may be newer than it
            if changes == self._changes:
                self._cache.put(key, chunk)
        return chunk


class ShownLevel:
    """One resolution of a `ShownSlide`: what a viewer takes for an array of label values, uint8 `(H, W)`."""

    def __init__(self, slide: ShownSlide, level: int, shape: tuple[int, ...]) -> None:
        self._slide = slide
        self._level = level
        self.shape = (int(shape[0]), int(shape[1]))
        self.dtype = np.dtype(np.uint8)
        self.ndim = 2
        self.size = self.shape[0] * self.shape[1]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        keys = key if isinstance(key, tuple) else (key,)
        keys = (*keys, *(slice(None),) * (2 - len(keys)))
        spans = [_span(one, length) for one, length in zip(keys, self.shape, strict=True)]
        (top, bottom), (left, right) = (_ends(span) for span in spans)
        values = self._slide.composed(self._level, top, left, bottom, right)
        inside = tuple(
            one.start - low if isinstance(key, (int, np.integer)) else slice(one.start - low, None, one.step)
            for key, one, low in zip(keys, spans, (top, left), strict=True)
        )
        return np.asarray(values[inside])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of it, which only a small level is fit for."""
        values = self[:, :]
        return values if dtype is None else values.astype(dtype)


def _span(key: Any, length: int) -> range:
    """Return the pixels along an axis that an index or a slice with a positive step means."""
    if isinstance(key, (int, np.integer)):
        position = int(key) + (length if key < 0 else 0)
        if not 0 <= position < length:
            raise IndexError(f"index {key} is out of bounds for an axis of {length} pixels")
        return range(position, position + 1)
    chosen: range = range(length)[key]
    if chosen.step < 0:
        raise IndexError("an axis can only be gone through forwards")
    return chosen


def _ends(span: range) -> tuple[int, int]:
    return (span[0], span[-1] + 1) if len(span) else (0, 0)
