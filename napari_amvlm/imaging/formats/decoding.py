"""PNG, JPEG and TIFF files to the pixels of one image; memory is taken only once the size is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import reading
from napari_amvlm.imaging.formats.limits import check_numbers
from napari_amvlm.imaging.formats.pillow_files import LOSSY, decode_with_pillow
from napari_amvlm.imaging.formats.tiff_files import decode_tiff

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_COMPANION_START = b"\0\x05\x16\x07"
_OTHERS = {
    b"\x1f\x8b": ("is packed by gzip", "unpack it"),
    b"BZh": ("is packed by bzip2", "unpack it"),
    b"\xfd7zXZ": ("is packed by xz", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("is packed by zstd", "unpack it"),
    b"PK\x03\x04": ("is a zip archive", "unpack it"),
    b"%PDF": ("is a PDF document", "save its image as a file of its own"),
    b"<!doctype html": ("is a web page, as a download that failed leaves it", "download it again"),
    b"<html": ("is a web page, as a download that failed leaves it", "download it again"),
    b"version https://git-lfs": (
        "is the pointer that Git LFS keeps in place of a file",
        "get the file by git lfs pull",
    ),
}
"""What files are that are called like images, by how they start in small letters, and what helps."""
_START = 64
PLAIN_STARTS = (b"\x89PNG", b"\xff\xd8\xff")
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


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
    with reading(path):
        pixels = decode_tiff(path, indices=indices) if start[:4] in TIFF_STARTS else None
        if pixels is None:
            pixels = decode_with_pillow(path, indices=indices)
    check_numbers(path, pixels.dtype)
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return Decoded(native, start.startswith(LOSSY))


def refuse_others(path: Path, start: bytes) -> None:
    """Raise `ImageError` for a file that starts like one of another kind, by what it is."""
    if start.startswith(_COMPANION_START):
        raise ImageError(
            f"{path} holds what a Mac keeps beside the file called {path.name.removeprefix('._')}, not an image; "
            "give that file."
        )
    if not path.stat().st_size:
        raise ImageError(f"{path} is empty; copy or save it again.")
    text = start.lstrip().lower()
    for known, (what, mend) in _OTHERS.items():
        if start.startswith(known) or text.startswith(known):
            raise ImageError(f"{path} {what}, not an image; {mend}.")
    if path.suffix.lower() in (".hdr", ".img") and not start.startswith((*TIFF_STARTS, *PLAIN_STARTS)):
        raise ImageError(f"{path} is a half of an image in two files, .hdr and .img; convert both to one .nii file.")


def check_is_file(path: Path) -> None:
    """Raise `ImageError` for a pipe or a device, from which reading might never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ImageError(f"{path} is a pipe or a device, not a file; give an image file.")


def _start(path: Path) -> bytes:
    """Return the first bytes of a file."""
    check_is_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{path} cannot be opened ({reason}); check that it is there and may be read.") from error
    refuse_others(path, start)
    return start
