"""Arrays that are read from their file where they are looked at, and the errors that this may end in."""

from __future__ import annotations

import contextlib
import logging
import uuid
import warnings
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_amvlm.errors import AmvlmError, ImageError, printable
from napari_amvlm.libraries import need_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LEAST_CHUNK = 1024
"""Small tiles are read in groups of about this side, pixels: fewer pieces to keep count of."""

MAX_SMALLEST = 1 << 24
"""The lowest resolution of a pyramid has at most this many pixels in a plane."""

_DICOM_LOGGER = "pydicom.pixels.decoders.base"
_LOGGERS = (
    "tifffile",
    "PIL.TiffImagePlugin",
    "PIL.PngImagePlugin",
    "pydicom",
    _DICOM_LOGGER,
    "highdicom.image",
    "zarr",
)


class Sliceable(Protocol):
    """What is read by slices: a zarr array, a memory map, a series of files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along every axis."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""

    def __getitem__(self, key: Any, /) -> Any: ...


class _Guarded:
    """Reads from `source` and says which file is at fault when that fails."""

    def __init__(self, source: Sliceable, path: Path) -> None:
        self._source = source
        self._path = path
        self.shape = source.shape
        self.dtype = source.dtype
        self.ndim = len(source.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        with reading(self._path, quiet=False):
            return np.asarray(self._source[key])


def lazy(source: Sliceable, path: Path, chunks: Sequence[int]) -> Any:
    """Return a dask array over `source`, read in the given chunks; a failure to read becomes an `ImageError`."""
    import dask.array as da

    # A name of its own: dask would else read the data, to tell equal arrays from others.
    array = da.from_array(
        _Guarded(source, path),
        chunks=tuple(chunks),
        name=f"{path.name}-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        meta=np.empty((0,) * len(source.shape), source.dtype),
    )
    return array if source.dtype.isnative else array.astype(source.dtype.newbyteorder("="))


def grouped(chunk: int, length: int) -> int:
    """Return a multiple of `chunk` of about `LEAST_CHUNK` pixels, within `length`."""
    return max(1, min(chunk * -(-LEAST_CHUNK // max(chunk, 1)), length))


def with_small_levels(levels: Sequence[Any], y: int) -> list[Any]:
    """Add levels, every second pixel of the one before, until the last is quickly shown; `y` is the axis of rows."""
    every = list(levels)
    while every[-1].shape[y] * every[-1].shape[y + 1] > MAX_SMALLEST:
        every.append(every[-1][(*(slice(None),) * y, slice(None, None, 2), slice(None, None, 2))])
    return every


@contextlib.contextmanager
def reading(path: Path, *, quiet: bool = True) -> Iterator[None]:
    """Turn what decoders raise into an `ImageError` that names the file; if `quiet`, their remarks are not shown.

    Python's warning filters belong to all threads, so only what runs in one thread at a time may be quiet.
    """
    try:
        with _silence() if quiet else contextlib.nullcontext():
            yield
    except MemoryError as error:
        raise ImageError(f"{path} needs more memory than there is; cut it into smaller images.") from error
    except ImageError as error:
        # What a message quotes out of a file may hold line breaks and terminal commands.
        if (text := printable(str(error))) != str(error):
            raise ImageError(text) from error
        raise
    except AmvlmError:
        raise
    except EOFError as error:
        raise ImageError(f"{path} is cut off, it ends too early; copy it again.") from error
    except Exception as error:  # decoders have exceptions of their own, beside all of Python's
        reason = printable(str(error))[:300] or type(error).__name__
        raise ImageError(f"{path} is damaged and cannot be read ({reason}); save or copy it again.") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the decoders' remarks on damaged files off the screen: what matters of them becomes an `ImageError`."""

    def refuse(_record: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(refuse)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(refuse)


def need(module: str, path: Path, kind: str, extra: str) -> None:
    """Raise `ImageError` where the library for a kind of file is not installed."""
    need_library(module, extra, f"{path} is a {kind} file, which takes", error=ImageError)


def mapped(array: Any, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: np.dtype) -> Any:
    """Apply `function`, which keeps the shape, to a numpy array now or to a dask array piece by piece."""
    if isinstance(array, np.ndarray):
        return function(array)
    return array.map_blocks(function, dtype=dtype, meta=np.empty((0,) * array.ndim, dtype))
