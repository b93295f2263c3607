"""TIFF files: the image of the first series, whatever the order of its axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.frame_headers import frame_shape, is_untransformed
from napari_amvlm.imaging.formats.limits import check_size
from napari_amvlm.imaging.formats.pillow_files import FAX, check_compression, check_opaque, gray_if_equal, upright
from napari_amvlm.imaging.formats.tiff_spacing import tiff_channels, tiff_orientation

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UNCOMPRESSED = 1
MINISWHITE, MINISBLACK, RGB, PALETTE = 0, 1, 2, 3
_YCBCR = 6
_APERIO_YCBCR = 33003
_TO_RGB = (6, 7, _APERIO_YCBCR, 33005, 34712)
"""Compressions (JPEG and JPEG 2000) whose decoder, or `guard_frames`, turns YCbCr into RGB."""
_OF_YCBCR = np.array([[1, 1, 1], [0, -0.344136, 1.772], [1.402, -0.714136, 0]], np.float32)
"""RGB in the columns, of Y, Cb and Cr without its offset in the rows (JFIF 1.02)."""
_FRAMELESS = (1, 5, 8, 32773, 32946, 50000, *FAX)
"""Compressions that decode to as many bytes as the page says, and no more."""
_FLOAT = 3
"""Value of the tag SampleFormat for real numbers."""
_OVERSIZE = 4
"""Frames may be larger than their tile by this factor: writers fill them up."""
_ALPHA = (1, 2)
"""Values of the tag ExtraSamples that stand for alpha."""


def decode_tiff(path: Path, *, indices: bool) -> NDArray[Any] | None:
    """Return the pixels of a TIFF file; None if its compression or its colours are another decoder's business.

    Of a pyramid the full resolution is taken; further series (thumbnails, labels) are left out.  With `indices`,
    values are as they are stored: those of a palette stay indices, and where 0 is white they are not inverted, for
    common writers of masks store True and 255 so.

    Raises
    ------
    ImageError
        A stack, 2 channels or more than 4, too many pixels, or a file that is cut off.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        check_first_page(path, file)
        series = image_series(file)[0]
        page = series.keyframe
        lengths = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if n != 1 or axis in "YX"}
        if "Y" not in lengths or "X" not in lengths:
            raise ImageError(
                f"{path}: expected an image, but its axes are {series.axes} {series.shape}; save one image."
            )
        check_size(path, lengths["Y"], lengths["X"])
        if not has_known_colours(page) or int(page.compression) in FAX:
            check_compression(path, page.compression)
            return None
        check_bits(path, page)
        channels = _channels(lengths, series, path, named=file.is_imagej or bool(tiff_channels(file, series, 0)))
        stored = path.stat().st_size
        if len(page.dataoffsets) < math.prod(page.chunked) or plain_bytes(page) > stored:
            raise ImageError(f"{path} is cut off, {stored} bytes cannot hold all of its pixels; copy or save it again.")
        guard_frames(page)
        if not indices:
            show_glass(page)
        try:
            pixels = np.asarray(series.asarray())
        except ValueError as error:
            if "imagecodecs" in str(error) and (page.photometric != MINISWHITE or page.bitspersample <= 8):
                return None
            raise
        pixels = pixels.reshape(tuple(lengths.values()))
        order = [*lengths].index
        pixels = pixels.transpose([order("Y"), order("X"), *(order(axis) for axis in lengths if axis not in "YX")])
        if indices and channels and has_alpha(page):
            check_opaque(path, pixels[..., :channels], pixels[..., channels])
        values = _values(pixels[..., :channels] if channels else pixels, page, indices=indices)
        return np.ascontiguousarray(upright(values, tiff_orientation(page)))


def check_first_page(path: Path, file: Any) -> None:
    """Raise `ImageError` where a file ends before the page that its header names."""
    if not len(file.pages):
        raise ImageError(f"{path} is cut off, it ends before its first page; copy it again.")


def image_series(file: Any) -> list[Any]:
    """Return the series of a file from its first image on; some writers put a thumbnail before it."""
    every = list(file.series)
    reduced = [one.kind != "ome" and bool(one.keyframe.is_reduced) for one in every]
    return _stacked(file, every[reduced.index(False) :] if False in reduced else every)


def _stacked(file: Any, every: list[Any]) -> list[Any]:
    """Return one series for planes that tifffile wrote one by one, which it takes for images of their own."""
    import tifffile

    alike = {(one.kind, one.axes, one.shape, one.keyframe.hash) for one in every}
    if len(every) < 2 or len(alike) > 1 or every[0].kind != "shaped" or not set(every[0].axes) <= set("YXS"):
        return every
    pages, first = [page for one in every for page in one.pages], every[0]
    axes, shape = f"Q{first.axes}", (len(pages), *first.shape)
    return [tifffile.TiffPageSeries(pages, shape, first.dtype, axes, parent=file, kind=first.kind)]


def ends_early(path: Path) -> bool:
    """Tell whether the last page that can be found names another one, which is not there."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        place = file.pages.next_page_offset
        if place is None:
            return False
        file.filehandle.seek(place)
        return any(file.filehandle.read(file.tiff.offsetsize))


def plain_bytes(page: Any) -> int:
    """Return how many bytes an uncompressed page takes in its file, whose rows may be packed; 0 if compressed."""
    if int(page.compression) != UNCOMPRESSED or page.is_tiled:
        return 0
    samples = page.samplesperpixel if int(page.planarconfig) == 1 else 1
    row = -(-page.imagewidth * samples * page.bitspersample // 8)
    return int(row * page.imagelength * page.imagedepth * page.samplesperpixel // samples)


def guard_frames(page: Any) -> None:
    """Have `page` refuse JPEG and JPEG 2000 tiles that are larger than it says: they would fill the memory.

    JPEG 2000 that holds YCbCr, as Aperio's 33003 does, becomes RGB: a decoder knows no colours of a bare frame.
    """
    if int(page.compression) not in _TO_RGB:
        return
    decode, largest = page.decode, _OVERSIZE * math.prod(page.chunks)
    ycbcr = int(page.compression) == _APERIO_YCBCR or int(page.photometric) == _YCBCR

    def checked(data: bytes | None, *place: Any, **options: Any) -> Any:
        shape = frame_shape(data) if data is not None else None
        if data is not None and (shape is None or not 0 < math.prod(shape) <= largest):
            raise ValueError(f"a tile of {shape}, where {page.chunks} was announced")
        pixels, *where = decode(data, *place, **options)
        if data is not None and ycbcr and pixels.shape[-1] == 3 and pixels.dtype == np.uint8 and is_untransformed(data):
            pixels = _rgb(pixels)
        return pixels, *where

    page.decode = checked


def show_glass(page: Any) -> None:
    """Have tiles of colours that are not stored read as white: slides leave out what was not scanned."""
    if int(page.photometric) in (RGB, _YCBCR) and page.dtype == np.uint8 and not page.nodata:
        page.nodata = 255


def _rgb(ycbcr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    values = ycbcr.astype(np.float32) - np.array((0, 128, 128), np.float32)
    return np.asarray(np.rint(values @ _OF_YCBCR).clip(0, 255), np.uint8)


def has_known_colours(page: Any) -> bool:
    """Tell whether a page's values are gray, RGB or a palette's once they are decoded, in a known compression."""
    colours = int(page.photometric)
    known = colours in (MINISWHITE, MINISBLACK, RGB, PALETTE)
    known = known or (colours == _YCBCR and int(page.compression) in _TO_RGB)
    return known and int(page.compression) in (*_FRAMELESS, *_TO_RGB)


def check_bits(path: Path, page: Any) -> None:
    """Raise `ImageError` for whole numbers of 17 to 31 bits, which tifffile decodes wrongly in some byte orders."""
    if 16 < int(page.bitspersample) < 32 and int(page.sampleformat) != _FLOAT:
        raise ImageError(
            f"{path}: expected at most 16, 32 or 64 bits in a value, but got {page.bitspersample}; save it with 32."
        )


def has_alpha(page: Any) -> bool:
    """Tell whether the first value behind gray or colours is how opaque a pixel is."""
    return bool(page.extrasamples) and int(page.extrasamples[0]) in _ALPHA


def shows_colours(series: Any, *, named: bool) -> bool:
    """Tell whether the three values of a pixel are red, green and blue, and not channels.

    Values that lie together are colours where the file says so, and where they are three of 8 bits. Planes of 8 bits
    are colours where nothing names them as channels.

    Parameters
    ----------
    named
        Whether the file names its channels, as ImageJ's hyperstacks do.
    """
    lengths = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if n != 1}
    eight_bits = np.dtype(series.dtype) == np.uint8
    if "S" in lengths:
        return (eight_bits and lengths["S"] == 3) or int(series.keyframe.photometric) not in (MINISWHITE, MINISBLACK)
    return lengths.get("C") == 3 and set(lengths) == set("CYX") and eight_bits and not named


def _channels(lengths: dict[str, int], series: Any, path: Path, *, named: bool) -> int:
    """Return how many values of a pixel to keep, 0 for an image without an axis for them."""
    page = series.keyframe
    others = [axis for axis in lengths if axis not in "YX"]
    if not others:
        return 0
    size = "x".join(f"{axis}{n}" for axis, n in lengths.items())
    if len(others) > 1 or others[0] not in "SC":
        raise ImageError(f"{path}: expected one image, but it is a stack, {size}; save the plane you mean as a file.")
    count = lengths[others[0]]
    if count == 2 and has_alpha(page):
        return 1
    if (count == 3 or (others[0] == "S" and count == 4)) and shows_colours(series, named=named):
        return 3
    raise ImageError(
        f"{path}: expected gray or RGB, but it has {count} channels, {size}; choose one of them in napari or with "
        "predict --channel, or save it as a file of its own."
    )


def _values(pixels: NDArray[Any], page: Any, *, indices: bool) -> NDArray[Any]:
    """Return gray values that rise with brightness, or colours, as the file's photometric interpretation has them."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    photometric = int(page.photometric)
    if photometric == PALETTE:
        if indices:
            return pixels
        return gray_if_equal(palette(page)[pixels])
    if page.bitspersample == 1:
        pixels = pixels.astype(np.bool_)
    if photometric != MINISWHITE or indices:
        return pixels
    return brighter(pixels, page.bitspersample)


def palette(page: Any) -> NDArray[np.uint8]:
    """Return the colours of a page's palette, `(N, 3)`."""
    colours = np.asarray(page.colormap).T
    return np.asarray(colours >> 8 if colours.max() > 255 else colours, np.uint8)


def brighter(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return values that rise with brightness for values of `bits` bits that fall with it."""
    if np.issubdtype(pixels.dtype, np.unsignedinteger):
        return np.asarray(np.subtract(2**bits - 1, pixels, dtype=pixels.dtype))
    exact = pixels.dtype == np.bool_ or np.issubdtype(pixels.dtype, np.integer)
    return np.asarray(np.invert(pixels) if exact else np.negative(pixels))
