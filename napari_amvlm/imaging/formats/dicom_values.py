"""DICOM pixels to values: the file's rescaling, its palette, and grays that rise with brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.imaging.formats.dicom_headers import first_number, image_window, read_header

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset


_RLE = "1.2.840.10008.1.2.5"


@dataclass(frozen=True)
class Rescaling:
    """How stored values of one frame become those that are meant: `slope * stored + intercept`, then `mirror - it`.

    Attributes
    ----------
    slope, intercept
        The file's rescaling, for instance to Hounsfield units.
    mirror
        The sum of the least and the greatest value, for images in which 0 is white (MONOCHROME1), so that values rise
        with brightness; None for all others.
    table
        Header with a lookup table that takes the place of slope and intercept, None without one.
    dtype
        Type of the result: that of the file where nothing is changed, an integer type where all numbers are whole.
    window
        What is shown as black and as white, of the result.
    """

    slope: float
    intercept: float
    mirror: float | None
    table: Dataset | None
    dtype: np.dtype
    window: tuple[float, float] | None

    def apply(self, stored: NDArray[Any], dtype: np.dtype) -> NDArray[Any]:
        """Return the values meant, as `dtype`."""
        if self.table is not None:
            from pydicom.pixels.processing import apply_modality_lut

            values = np.asarray(apply_modality_lut(stored, self.table))
        elif self.slope == 1 and self.intercept == 0:
            values = stored
        else:
            values = stored.astype(np.float64) * self.slope + self.intercept
        if self.mirror is not None:
            values = self.mirror - values.astype(np.float64)
        return values.astype(dtype, copy=False)


def rescaling(header: Dataset, stored: np.dtype) -> Rescaling:
    """Return the rescaling of a frame whose pixels are of type `stored`."""
    table = header if header.get("ModalityLUTSequence") else None
    slope = first_number(header.get("RescaleSlope")) or first_number(header.get("DoseGridScaling")) or 1.0
    intercept = first_number(header.get("RescaleIntercept")) or 0.0
    least, greatest = _range(header, stored, table)
    inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
    mirror = slope * (least + greatest) + 2 * intercept if inverted else None
    window = image_window(header)
    if window is not None and mirror is not None:
        window = (mirror - window[1], mirror - window[0])
    changed = (slope, intercept, mirror, table) != (1, 0, None, None)
    dtype = _result(stored, slope, intercept, mirror) if changed else stored
    if table is not None:
        dtype = np.dtype(np.uint8 if greatest < 256 else np.uint16)
    return Rescaling(slope, intercept, mirror, table, dtype, window)


def stored_type(header: Dataset) -> np.dtype:
    """Return the type of the pixels in a file."""
    if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
        return np.dtype(np.float32 if "FloatPixelData" in header else np.float64)
    signed = "i" if int(header.get("PixelRepresentation") or 0) else "u"
    return np.dtype(f"{signed}{max(1, int(header.get('BitsAllocated') or 8) // 8)}")


def decode_frame(path: Path, index: int, frames: int, header: Dataset | None = None) -> NDArray[Any]:
    """Return the pixels of one frame, `(H, W)` or `(H, W, 3)`, as stored, but for palettes and YBR, which become RGB.

    `header`, if given, is that of the file with its pixels; it saves reading them again.
    """
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    from napari_amvlm.imaging.formats.dicom_codecs import add_decoders, chosen_plugin

    add_decoders()
    alone = header is None and frames > 1  # out of the file: pydicom then reads this frame alone
    source = header if header is not None else read_header(path, pixels=not alone)
    high = _lies_high(source)
    options: dict[str, Any] = {"correct_unused_bits": False} if high else {}
    pixels = pixel_array(
        path if alone else source,
        index=index if frames > 1 else None,
        decoding_plugin=chosen_plugin(source.file_meta.TransferSyntaxUID),
        **options,
    )
    if high:
        pixels = _lowered(pixels, int(source.BitsStored), int(source.HighBit))
    if source.get("PhotometricInterpretation") == "PALETTE COLOR":
        pixels = np.asarray(apply_color_lut(pixels, source))
        high = pixels.dtype.itemsize == 2 and not _is_low_palette(source)
        pixels = (pixels >> 8 if high else pixels).astype(np.uint8)
    return pixels[..., :3] if pixels.ndim == 3 else pixels


def _is_low_palette(header: Dataset) -> bool:
    """Tell whether colours of 8 bits lie in the low bytes of a palette's words, as some writers have them."""
    names = (f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue"))
    tables = [np.frombuffer(header.get(name) or b"", "<u2") for name in names]
    return all(len(table) for table in tables) and max(int(table.max()) for table in tables) < 1 << 8


def _lies_high(header: Dataset) -> bool:
    """Tell whether values may lie above the lowest bits of their words; compressions but RLE put them there anyhow."""
    syntax = header.file_meta.TransferSyntaxUID
    as_stored = not syntax.is_encapsulated or syntax == _RLE
    return as_stored and int(header.get("HighBit") or 0) >= int(header.get("BitsStored") or 64)


def _lowered(words: NDArray[Any], stored: int, high: int) -> NDArray[Any]:
    """Return the values of `stored` bits, the highest of which is bit `high` of each word.

    Some writers name the highest bit of the word whatever they store: where bits below are set, and the values are
    whole without those above, they lie low.
    """
    word = 8 * words.dtype.itemsize
    low = np.right_shift(np.left_shift(words, word - stored), word - stored)
    if (words & ((1 << (high + 1 - stored)) - 1)).any() and np.array_equal(low, words):
        return words
    return np.asarray(np.right_shift(np.left_shift(words, word - 1 - high), word - stored))


def _range(header: Dataset, stored: np.dtype, table: Dataset | None) -> tuple[float, float]:
    """Return the least and the greatest value that pixels may have before they are rescaled."""
    if table is not None:
        return 0.0, 2.0 ** int(list(table.ModalityLUTSequence[0].LUTDescriptor)[2]) - 1
    if stored.kind == "f":
        return 0.0, 1.0
    bits = int(header.get("BitsStored") or 8 * stored.itemsize)
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if stored.kind == "i" else (0.0, 2.0**bits - 1)


def _result(stored: np.dtype, slope: float, intercept: float, mirror: float | None) -> np.dtype:
    """Return the smallest integer type that holds every result, float32 where results are not whole.

    Whole results beyond 32 bits are float64, which keeps them.
    """
    if stored.kind == "f" or not (slope.is_integer() and intercept.is_integer()):
        return np.dtype(np.float32)
    limits = np.iinfo(stored)
    ends = [slope * float(end) + intercept for end in (limits.min, limits.max)]
    if mirror is not None:
        ends = [mirror - end for end in ends]
    for candidate in (np.uint8, np.int8, np.uint16, np.int16, np.int32):
        if np.iinfo(candidate).min <= min(ends) and max(ends) <= np.iinfo(candidate).max:
            return np.dtype(candidate)
    return np.dtype(np.float64)
