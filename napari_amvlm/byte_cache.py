"""A cache that is bounded by the bytes of its values."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Values by key; beyond a number of bytes the least recently used are dropped, but never the last one.

    Threads that share a cache hold a lock of their own.

    Parameters
    ----------
    limit
        Bytes that the values may take together.
    size
        Returns the bytes of a value; by default its `nbytes`.

    Attributes
    ----------
    nbytes
        Bytes that the values take now.
    """

    def __init__(self, limit: int, size: Callable[[V], int] = attrgetter("nbytes")) -> None:
        self._limit, self._size = limit, size
        self.clear()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: Hashable) -> V:
        value = self._values.pop(key)
        self._values[key] = value
        return value

    def get_or_make(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of a key; where there is none, make it and keep it."""
        if key not in self._values:
            self.put(key, make())
        return self[key]

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value as the last used one, and drop what is too much."""
        self.drop(key)
        self._values[key] = value
        self.nbytes += self._size(value)
        while self.nbytes > self._limit and len(self._values) > 1:
            self.drop(next(iter(self._values)))

    def drop(self, key: Hashable) -> None:
        """Forget a value, if it is there."""
        if key in self._values:
            self.nbytes -= self._size(self._values.pop(key))

    def clear(self) -> None:
        """Forget all values."""
        self._values: dict[Hashable, V] = {}
        self.nbytes = 0
