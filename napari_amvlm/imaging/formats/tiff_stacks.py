"""TIFF files of any number of axes and levels, read where they are looked at: slides, stacks, OME-TIFF."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError, IncompleteWarning
from napari_amvlm.imaging.formats.lazy import LEAST_CHUNK, grouped, lazy, mapped, reading, with_small_levels
from napari_amvlm.imaging.formats.limits import (
    EAGER_BYTES,
    MAX_AXES,
    MAX_CHUNK_BYTES,
    check_chunk,
    check_numbers,
    check_shape,
)
from napari_amvlm.imaging.formats.ome_sets import absence, open_tiff_file, present_planes
from napari_amvlm.imaging.formats.pillow_files import upright
from napari_amvlm.imaging.formats.tiff_files import (
    MINISWHITE,
    PALETTE,
    RGB,
    brighter,
    check_bits,
    check_first_page,
    ends_early,
    guard_frames,
    has_alpha,
    has_known_colours,
    image_series,
    palette,
    plain_bytes,
    show_glass,
    shows_colours,
)
from napari_amvlm.imaging.formats.tiff_spacing import tiff_channels, tiff_orientation, tiff_spacing
from napari_amvlm.imaging.image_data import ImageData, distinct, image_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


_PLAIN_KINDS = ("shaped", "generic", "uniform", "page")
"""Series of files that no program has rules of its own for."""


def open_tiff(path: Path, *, indices: bool = False) -> list[ImageData]:
    """Describe the images in a TIFF file; pixels stay in the file, but for small stacks.

    Several series of an OME-TIFF are several images.  Of a slide the label and the overview are left out, as are the
    thumbnails behind the first image of any other file.  Pages that halve in size, one after another, are a pyramid.
    With `indices`, values are as they are stored, see `decode_tiff`.

    Raises
    ------
    ImageError
        The file is damaged or cut off, or its colours, number format or size are beyond what can be read.
    """
    notes: list[str] = []
    with reading(path):
        # The file stays open as long as the arrays are in use.
        file = open_tiff_file(path)
        try:
            series = image_series(file)
            if not series:
                raise ImageError(f"{path} holds no image; check the file.")
            several = series[0].kind == "ome"
            count = len(series) if several else 1
            images = [_describe(file, path, series, index, notes, indices=indices) for index in range(count)]
        except BaseException:
            file.close()
            raise
    for note in dict.fromkeys(notes):
        warnings.warn(note, stacklevel=2)
    if len(images) > 1:
        titles = distinct([one.name or str(number) for number, one in enumerate(series, 1)])
        return [replace(image, name=f"{image.name} {title}") for image, title in zip(images, titles, strict=True)]
    return images


def tell_missing_pages(path: Path, *, one_image: bool = False) -> None:
    """Warn where a TIFF file was cut off between its pages, or has an image that is not read and may be meant.

    Parameters
    ----------
    one_image
        Whether one image is read of an OME-TIFF file too, and not all that it holds.
    """
    with reading(path):
        cut, other = ends_early(path), _other_image(path, one_image=one_image)
    if other:
        warnings.warn(
            f"{path} holds {other} image behind its first one, which alone is read; save the one that is meant as a "
            "file of its own.",
            stacklevel=2,
        )
    if cut:
        warnings.warn(
            f"{path} is cut off, it ends before its last page; only the pages before are there.",
            IncompleteWarning,
            stacklevel=2,
        )


def _other_image(path: Path, *, one_image: bool) -> str:
    """Return "a larger" or "another" where a page behind the first image has more pixels, or as many."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        every = image_series(file)
        first, *sizes = [one.keyframe.imagewidth * one.keyframe.imagelength for one in every] or [0]
        meant = one_image if file.is_ome else bool(every) and every[0].kind in _PLAIN_KINDS
        largest = max(sizes, default=0)
        return "" if not meant or largest < first else "a larger" if largest > first and not file.is_ome else "another"


def plane_spacing(path: Path) -> dict[str, Any]:
    """Return the spacing of the first image in a TIFF file."""
    import tifffile

    with reading(path), tifffile.TiffFile(path) as file:
        return tiff_spacing(file, image_series(file)[0], 0)


def is_stack(path: Path) -> bool:
    """Tell whether a TIFF file is more than a plane of gray or colours at one resolution that fits into memory."""
    with reading(path), open_tiff_file(path) as file:
        check_first_page(path, file)
        every = image_series(file)
        series = every[0]
        if any(page is None or page.parent is not file for page in series.pages):
            return True
        lengths = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if n != 1}
        named = file.is_imagej or bool(tiff_channels(file, series, 0))
        colours = shows_colours(series, named=named) or (lengths.get("S") == 2 and has_alpha(series.keyframe))
        planes = set(lengths) <= set("YX") or (set(lengths) <= set("YXSC") and colours)
        several = series.kind == "ome" and len(every) > 1
        return several or not planes or len(_levels(every, 0)) > 1 or series.nbytes > EAGER_BYTES


def _describe(file: Any, path: Path, every: Sequence[Any], index: int, notes: list[str], *, indices: bool) -> ImageData:
    series = every[index]
    page = series.keyframe
    _check(path, series, page)
    arrays = [_level(path, level) for level in _levels(every, index)]
    kept = present_planes(series)
    if kept:
        notes.append(absence(path, file, series, kept))
        arrays = [_without_absent(array, series.axes, kept) for array in arrays]
    channels = tiff_channels(file, series, index)
    colours = shows_colours(series, named=file.is_imagej or bool(channels))
    arranged = [_arranged(array, series, path, colours=colours, indices=indices) for array in arrays]
    axes, rgb = arranged[0][1], arranged[0][2]
    rows = axes.index("Y")
    levels = with_small_levels([upright(array, tiff_orientation(page), rows) for array, _, _ in arranged], rows)
    if len(levels) == 1 and series.nbytes <= EAGER_BYTES:
        levels = [np.ascontiguousarray(levels[0].compute(scheduler="synchronous"))]
    else:
        _probe(levels[-1])
    return ImageData(
        data=levels[0],
        name=image_name(path),
        path=path,
        rgb=rgb,
        axes=axes,
        spacing=tiff_spacing(file, series, index),
        smaller=tuple(levels[1:]),
        channels=_kept_channels(channels, kept) if "C" in axes else (),
    )


def _without_absent(array: Any, axes: str, kept: Mapping[str, NDArray[np.intp]]) -> Any:
    """Return the planes that are there; a plane that is not would be read as zeros."""
    for number, axis in enumerate(axes):
        if axis in kept:
            array = array[(slice(None),) * number + (kept[axis],)]
    return array


def _kept_channels(channels: tuple[str, ...], kept: Mapping[str, NDArray[np.intp]]) -> tuple[str, ...]:
    return tuple(channels[index] for index in kept["C"]) if channels and "C" in kept else channels


def _check(path: Path, series: Any, page: Any) -> None:
    """Refuse what cannot be read, by the header alone."""
    lengths = dict(zip(series.axes, series.shape, strict=True))
    if len(lengths) != len(series.axes) or not {"Y", "X"} <= set(lengths):
        raise ImageError(f"{path}: expected an image, but its axes are {series.axes} {series.shape}; save one image.")
    check_shape(path, series.shape, (lengths["Y"], lengths["X"]))
    check_numbers(path, np.dtype(series.dtype))
    if not has_known_colours(page):
        raise ImageError(
            f"{path}: expected gray, RGB or a palette in a common compression, but got {page.photometric!r} in "
            f"{page.compression!r}; save it as RGB, compressed with deflate or JPEG."
        )
    check_bits(path, page)
    stored = path.stat().st_size
    own = sum(one.parent is page.parent for one in every_page(series))
    if len(page.dataoffsets) < math.prod(page.chunked) or own * plain_bytes(page) > _size_of(page, path):
        raise ImageError(f"{path} is cut off, {stored} bytes cannot hold all of its pixels; copy or save it again.")
    ends = np.add(np.asarray(page.dataoffsets, np.float64), np.asarray(page.databytecounts, np.float64))
    if ends.size and ends.max() > _size_of(page, path):
        raise ImageError(f"{path} is cut off, it ends before its last tile; copy it again.")


def _size_of(page: Any, path: Path) -> int:
    """Return the size of the file that a page lies in, which may be another one of a set."""
    return int((path.parent / page.parent.filename).stat().st_size)


def every_page(series: Any) -> Sequence[Any]:
    """Return the pages that a series lists; those of a single block of values are one."""
    return [page for page in series.pages if page is not None] if series.dataoffset is None else [series.keyframe]


def _levels(every: Sequence[Any], index: int) -> list[Any]:
    """Return the resolutions of a series: its own, or the single-page series behind it that halve in size."""
    series = every[index]
    levels = list(series.levels)
    if len(levels) > 1 or index > 0 or series.kind not in _PLAIN_KINDS:
        return levels
    for smaller in every[1:]:
        last = levels[-1]
        same = smaller.axes == last.axes and smaller.dtype == last.dtype and len(smaller.levels) == 1
        if not same or not all(_halved(a, n, m) for a, n, m in zip(last.axes, last.shape, smaller.shape, strict=True)):
            break
        levels.append(smaller)
    return levels


def _halved(axis: str, length: int, smaller: int) -> bool:
    return abs(smaller - length / 2) <= 1 if axis in "YX" else smaller == length


def _level(path: Path, level: Any) -> Any:
    """Return a dask array over one resolution of a series, with the axes as they are stored."""
    import zarr

    if level.keyframe.nbytes > MAX_CHUNK_BYTES and level.dataoffset is not None:
        stored = np.dtype(level.parent.byteorder + level.dtype.char)
        source: Any = np.memmap(path, stored, "r", level.dataoffset, level.shape)
        whole = {"Y": LEAST_CHUNK, "X": LEAST_CHUNK, "S": MAX_AXES}
        chunks = tuple(min(n, whole.get(axis, 1)) for axis, n in zip(level.axes, level.shape, strict=True))
        return lazy(source, path, chunks)
    guard_frames(level.keyframe)
    show_glass(level.keyframe)
    source = zarr.open_array(level.aszarr(level=0), mode="r")
    check_chunk(path, source.chunks, source.dtype)
    chunks = tuple(
        grouped(chunk, n) if axis in "YX" else chunk
        for axis, chunk, n in zip(level.axes, source.chunks, source.shape, strict=True)
    )
    return lazy(source, path, chunks)


def _arranged(array: Any, series: Any, path: Path, *, colours: bool, indices: bool) -> tuple[Any, str, bool]:
    """Return the array with its axes in the order (others)TCZYX and colours last, its axes, and whether it has colours.

    Axes of length 1 are dropped, but for Y and X.
    """
    page = series.keyframe
    stored = series.axes
    samples = dict(zip(stored, array.shape, strict=True)).get("S", 1)
    if samples == 2 and has_alpha(page):
        array = array[tuple(slice(0, 1) if axis == "S" else slice(None) for axis in stored)]
    elif samples > 1 and not colours and "C" not in stored:
        stored = stored.replace("S", "C")
    elif samples > 1 and not (colours and (samples == 3 or int(page.photometric) == RGB)):
        raise ImageError(
            f"{path}: expected 1 (gray), 3 (RGB) or 4 (RGBA) values in a pixel, but got {samples}; save its channels "
            "as planes."
        )
    keep = [axis for axis, n in zip(stored, array.shape, strict=True) if n != 1 or axis in "YX"]
    array = array[tuple(slice(None) if axis in keep else 0 for axis in stored)]
    order = sorted(keep, key=lambda axis: "TCZYXS".find(axis))
    array = array.transpose([keep.index(axis) for axis in order])
    axes = "".join(order)
    if axes.endswith("S"):
        return array[..., :3], axes[:-1], True
    if indices and "S" not in axes and not (axes == "CYX" and colours):
        return array, axes, False
    if int(page.photometric) == PALETTE:
        return _painted(array, page), axes, True
    if axes == "CYX" and colours:
        return brighter_lazily(array, page).transpose(1, 2, 0), "YX", True
    return brighter_lazily(array, page), axes, False


def brighter_lazily(array: Any, page: Any) -> Any:
    """Return gray values that rise with brightness; 1-bit values are 0 and 255."""
    if page.bitspersample == 1:
        array = mapped(array, lambda block: block.astype(np.bool_) * np.uint8(255), np.dtype(np.uint8))
        return 255 - array if int(page.photometric) == MINISWHITE else array
    if int(page.photometric) != MINISWHITE:
        return array
    return mapped(array, lambda block: brighter(block, page.bitspersample), array.dtype)


def _painted(array: Any, page: Any) -> Any:
    """Return the colours of a palette, a new last axis of 3."""
    colours = palette(page)
    return array.map_blocks(
        lambda block: colours[block],
        dtype=np.uint8,
        new_axis=array.ndim,
        chunks=(*array.chunks, (3,)),
        meta=np.empty((0,) * (array.ndim + 1), np.uint8),
    )


def _probe(level: Any) -> None:
    """Read one piece, so that a compression that cannot be decoded is known at once."""
    level[tuple(slice(0, 1) for _ in level.shape)].compute(scheduler="synchronous")
