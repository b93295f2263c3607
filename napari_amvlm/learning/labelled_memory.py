"""Memory for labelled images: those that have no room are read again whenever they are drawn or scored."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_amvlm.learning.data import LabelledImage

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

Read = Callable[[], LabelledImage]


class LabelledMemory:
    """Keeps labelled images while there is room; of the others the one that was asked last.

    Parameters
    ----------
    limit
        Bytes of all that are kept.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._last = functools.lru_cache(maxsize=1)(_read)

    def kept(self, image: LabelledImage, read: Read) -> LabelledImage:
        """Return an image that was just read; where it has no room, one that asks `read` for its pixels and masks."""
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            return image
        again = functools.partial(self._last, read)
        seen = [prompt for prompt in image.masks if image.reviewed_for(prompt) is not None]
        return replace(
            image,
            image=_Pixels(image.image.shape, again),
            masks=_Arrays(image.masks, lambda prompt: again().masks[prompt]),
            reviewed=_Arrays(seen, lambda prompt: again().reviewed_for(prompt)) if seen else None,
            objects=_Arrays(image.objects, lambda prompt: again().objects[prompt]),
            shows=frozenset(prompt for prompt in image.masks if image.shown(prompt).any()),
        )


def _read(read: Read) -> LabelledImage:
    return read()


@dataclass(frozen=True)
class _Pixels:
    shape: tuple[int, ...]
    again: Read

    def read(self) -> NDArray[np.float32]:
        return self.again().pixels()


class _Arrays(Mapping[str, NDArray[Any]]):
    """Arrays of some prompts, `(H, W)`, read when they are asked for."""

    def __init__(self, prompts: Iterable[str], read: Callable[[str], NDArray[Any] | None]) -> None:
        self._prompts, self._read = tuple(prompts), read

    def __getitem__(self, prompt: str) -> NDArray[Any]:
        found = self._read(prompt) if prompt in self._prompts else None
        if found is None:
            raise KeyError(prompt)
        return found

    def __contains__(self, prompt: object) -> bool:
        return prompt in self._prompts

    def __iter__(self) -> Iterator[str]:
        return iter(self._prompts)

    def __len__(self) -> int:
        return len(self._prompts)
