"""PNG, JPEG and TIFF files to the pixels of one image; memory is taken only once the size is known."""

from __future__ import annotations

import contextlib
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.pillow_files import LOSSY, decode_with_pillow
from napari_amvlm.imaging.tiff_files import decode_tiff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    EOFError,
    SyntaxError,
    AssertionError,
    struct.error,
    zlib.error,
)
"""What decoders are known to raise on damaged files."""


@dataclass(frozen=True)
class Decoded:
    """Pixels out of a file.

    Attributes
    ----------
    pixels
        `(H, W)` or `(H, W, 3)`, real numbers in native byte order; bool for 1-bit files.
    lossy
        Whether the file format changes values.
    """

    pixels: NDArray[Any]
    lossy: bool


def decode(path: Path, *, indices: bool) -> Decoded:
    """Decode the file at `path`; with `indices`, values are those that are stored, not those to be shown.

    Raises
    ------
    ImageError
        It cannot be decoded to one gray or RGB image.
    """
    start = _start(path)
    try:
        with _silence():
            pixels = decode_tiff(path, indices=indices) if start in _TIFF_STARTS else None
            lossy = start.startswith(LOSSY)
            if pixels is None:
                pixels = decode_with_pillow(path, indices=indices)
    except MemoryError as error:
        raise ImageError(f"{path} needs more memory than there is; cut it into smaller images.") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path} is damaged and cannot be read ({reason}); save or copy it again.") from error
    if (pixels.dtype != np.bool_ and not np.issubdtype(pixels.dtype, np.number)) or np.iscomplexobj(pixels):
        raise ImageError(f"{path}: expected real numbers as pixels, but got {pixels.dtype}; save it as gray or RGB.")
    return Decoded(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), lossy)


def _start(path: Path) -> bytes:
    """Return the first bytes of a file."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{path} cannot be opened ({reason}); check that it is there and may be read.") from error
    if not start:
        raise ImageError(f"{path} is empty; expected a PNG, JPEG or TIFF image.")
    return start


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the decoders' remarks on damaged files off the screen: what matters of them becomes an `ImageError`."""

    def refuse(_record: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in ("tifffile", "PIL.TiffImagePlugin", "PIL.PngImagePlugin")]
    for logger in loggers:
        logger.addFilter(refuse)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(refuse)
