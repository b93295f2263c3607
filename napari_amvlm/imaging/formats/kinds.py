"""What kind of image a file or folder is, by its content."""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import TYPE_CHECKING, Literal

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats import czi_files
from napari_amvlm.imaging.formats.decoding import PLAIN_STARTS, TIFF_STARTS, check_is_file
from napari_amvlm.imaging.formats.dicom_files import MAX_FILES
from napari_amvlm.imaging.formats.itk_files import ITK_ENDINGS, is_itk
from napari_amvlm.imaging.formats.nifti_files import is_nifti, nifti_start
from napari_amvlm.imaging.formats.ome_zarr import is_zarr
from napari_amvlm.imaging.formats.openslide_files import ENDINGS, is_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["plain", "tiff", "dicom", "dicom folder", "nifti", "zarr", "slide", "czi", "itk"]

_DICOM_STARTS = (b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02")
"""Groups 8 and 2, either of which comes first in files that have no preamble."""
_FIRST_KINDS = (b"UL", b"CS", b"UI", b"OB", b"SH", b"LO", b"DA")
_LONGEST_FIRST = 256
"""The first element of a file is a length, a name or a number: it has no more bytes than this."""
_TIFF_ENDINGS = (".tif", ".tiff", ".btf", ".svs")
_ENDINGS = (".png", ".jpg", ".jpeg", *_TIFF_ENDINGS, ".dcm", ".nii", ".nii.gz", ".czi", *ITK_ENDINGS, *ENDINGS)
_GZIP = b"\x1f\x8b"


def image_kind(path: Path) -> Kind | None:
    """Return the kind of image at `path`, None where it is none that can be read; nothing is decoded.

    Raises
    ------
    ImageError
        It cannot be opened.
    """
    if path.is_dir():
        if is_zarr(path):
            return "zarr"
        return "dicom folder" if next(dicom_files(path), None) is not None else None
    start = _start(path)
    if start.startswith(czi_files.START):
        return "czi"
    if is_slide(path):
        return "slide"
    # A DICOM file may carry the start of a TIFF file in its preamble, so that both kinds of program can read it.
    ending = path.suffix.lower()
    if start[128:132] == b"DICM" and ending not in _TIFF_ENDINGS:
        return "dicom"
    if start[:4] in TIFF_STARTS:
        return "tiff"
    if start.startswith(PLAIN_STARTS):
        return "plain"
    if (ending == ".dcm" and start[:2] in _DICOM_STARTS) or _starts_with_dicom_group(start):
        return "dicom"
    if is_itk(start):
        return "itk"
    if is_nifti(start) or (start.startswith(_GZIP) and _packed_nifti(path)):
        return "nifti"
    return None


def _starts_with_dicom_group(start: bytes) -> bool:
    """Tell whether a file without a preamble begins with a short element of group 2 or 8."""
    group, element, length = struct.unpack("<HHI", start[:8])
    if group not in (2, 8) or not 0 <= element <= 0x100:
        return False
    explicit = start[4:6] in _FIRST_KINDS
    return bool(explicit or (group == 8 and 0 < length <= _LONGEST_FIRST and length % 2 == 0))


def has_image_ending(path: Path) -> bool:
    """Tell whether a file is called like an image, in small or capital letters."""
    return path.name.lower().endswith(_ENDINGS)


def dicom_files(folder: Path) -> Iterator[Path]:
    """Yield the DICOM files that lie in a folder itself, hidden ones and tables of contents left out."""
    for path in itertools.islice(folder.iterdir(), MAX_FILES):
        if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
            continue
        if image_kind(path) == "dicom":
            yield path


def _start(path: Path) -> bytes:
    check_is_file(path)
    try:
        with path.open("rb") as file:
            return file.read(552).ljust(552, b"\0")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{path} cannot be opened ({reason}); check that it is there and may be read.") from error


def _packed_nifti(path: Path) -> bool:
    try:
        return is_nifti(nifti_start(path))
    except (OSError, EOFError, zlib.error):
        return False
