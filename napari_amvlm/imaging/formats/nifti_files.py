"""NIfTI files, turned to one orientation: from feet to head, from front to back, from right to left of the patient."""

from __future__ import annotations

import gzip
import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import lazy, mapped, need, reading
from napari_amvlm.imaging.formats.limits import EAGER_BYTES, check_chunk, check_numbers, check_shape
from napari_amvlm.imaging.image_data import ImageData, Spacing, image_name, known, spacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ORIENTATION = "SPL"
"""What Z, Y and X grow towards: the order in which radiologists look at axial slices."""

_MAGIC = {348: (344, (b"n+1\0",)), 540: (4, (b"n+2\0",))}
"""By header length: where the magic bytes are, and what they are in a single file."""

_MAX_PREFIX = 1 << 26
_MAX_RATIO = 1032
"""Deflate makes nothing smaller than by this factor."""
_MAX_UNPACKED = 1 << 32
_UNITS = {1: "m", 2: "mm", 3: "um"}
_TIMES = {8: "s", 16: "ms"}


def is_nifti(start: bytes) -> bool:
    """Tell whether a file starts, once it is unpacked, like a NIfTI file with header and image in one."""
    for length, (place, magic) in _MAGIC.items():
        if length in _header_lengths(start):
            return start[place : place + 4] in magic
    return False


def _header_lengths(start: bytes) -> tuple[int, ...]:
    """Return the length of the header in either byte order."""
    return struct.unpack("<i", start[:4]) + struct.unpack(">i", start[:4])


def nifti_start(path: Path) -> bytes:
    """Return the first 552 bytes of a file, unpacked where it is packed."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as unpacked:
        return unpacked.read(552).ljust(552, b"\0")


def open_nifti(path: Path) -> list[ImageData]:
    """Describe the image in a NIfTI file (.nii or .nii.gz): a plane, a volume, or a volume at several times.

    The axes are turned and mirrored to `ORIENTATION`, by the file's sform or qform; without one they are kept as they
    are stored and the side of the patient is not known.  Values are rescaled by the file's slope and intercept.

    Raises
    ------
    ImageError
        nibabel is not installed, the file is damaged, or it holds something else than real numbers or colours on up
        to 4 axes.
    """
    with reading(path):
        start = nifti_start(path)
        if not is_nifti(start):
            raise ImageError(
                f"{path}: expected a NIfTI file with header and image in one (.nii or .nii.gz), but it is none; "
                "convert it with a program that knows its format."
            )
        need("nibabel", path, "NIfTI", "nifti")
        return [_describe(path, start)]


def _describe(path: Path, start: bytes) -> ImageData:
    import nibabel

    kind = nibabel.Nifti2Header if 540 in _header_lengths(start) else nibabel.Nifti1Header
    header: Any = kind(start[: kind.sizeof_hdr], check=False)  # type: ignore[no-untyped-call]
    shape = tuple(int(length) for length in header.get_data_shape())
    dtype, rgb = _values(path, header.get_data_dtype())
    packed = path.name.lower().endswith(".gz")
    _check(path, header, shape, dtype, packed=packed)
    offset = int(header["vox_offset"])
    stored = _packed_voxels(path, offset, shape, dtype) if packed else np.memmap(path, dtype, "r", offset, shape, "F")
    affine = header.get_best_affine() if int(header["sform_code"]) or int(header["qform_code"]) else None
    turned, spatial, orientation = _turned(stored, affine)
    sizes = [abs(float(size)) for size in header.get_zooms()] + [1.0] * 4
    distances = _distances(header, sizes, spatial)
    slope, intercept = header.get_slope_inter()
    whole = packed or stored.nbytes <= EAGER_BYTES
    data = _read(turned, path, rgb=rgb, whole=whole, slope=slope, intercept=intercept)
    image = ImageData(
        data, image_name(path), path, rgb, "TZYX", distances, orientation=orientation, window=_window(header)
    )
    return _flat(image)


def _values(path: Path, dtype: np.dtype) -> tuple[np.dtype, bool]:
    """Return the type of a voxel as a number or as three colours."""
    if dtype.names is None:
        check_numbers(path, dtype)
        return dtype, False
    if len(dtype.names) in (3, 4) and dtype.itemsize == len(dtype.names):
        return dtype, True
    raise ImageError(f"{path}: expected real numbers or RGB colours, but got {dtype}; convert it first.")


def _check(path: Path, header: Any, shape: tuple[int, ...], dtype: np.dtype, *, packed: bool) -> None:
    """Refuse what the file cannot hold."""
    if not 2 <= len(shape) <= 4 and (len(shape) < 2 or math.prod(shape[4:]) != 1):
        raise ImageError(
            f"{path}: expected a plane, a volume or a volume at several times, but its shape is {shape}; "
            "save one of its components."
        )
    check_shape(path, shape, (max(shape), sorted(shape)[-2]))
    offset = float(header["vox_offset"])
    if not int(header.sizeof_hdr) <= offset <= _MAX_PREFIX:
        raise ImageError(f"{path} is damaged, its voxels start at byte {offset:.0f}; save or copy it again.")
    size, needed = path.stat().st_size, int(offset) + math.prod(shape) * dtype.itemsize
    if needed > size * (_MAX_RATIO if packed else 1):
        raise ImageError(f"{path} is cut off, {size} bytes cannot hold {shape} voxels; copy it again.")
    if packed and needed > _MAX_UNPACKED:
        raise ImageError(
            f"{path}: expected at most {_MAX_UNPACKED >> 20} MB in a packed file, but it has {needed >> 20} MB; unpack "
            "it to a .nii file, of which only what is looked at is read."
        )


def _packed_voxels(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> NDArray[Any]:
    """Return the voxels of a packed file."""
    count = math.prod(shape) * dtype.itemsize
    with gzip.open(path) as file:
        file.read(offset)
        content = file.read(count)
    if len(content) < count:
        raise ImageError(f"{path} is cut off, {len(content)} of {count} bytes are there; copy it again.")
    return np.frombuffer(content, dtype).reshape(shape, order="F")


def _turned(stored: NDArray[Any], affine: NDArray[Any] | None) -> tuple[NDArray[Any], list[int], str]:
    """Return the voxels as TZYX, for each of Z, Y and X the axis it was stored as, and the orientation."""
    from nibabel import orientations

    volume = stored.reshape((*stored.shape, 1, 1)[:4] if stored.ndim < 4 else stored.shape[:4], order="F")
    spatial, orientation = [2, 1, 0], ""
    if affine is not None and np.isfinite(affine).all():
        found = orientations.io_orientation(affine)
        if np.isfinite(found).all():
            wanted = orientations.axcodes2ornt(("L", "P", "S"))
            turn = orientations.ornt_transform(found, wanted)
            volume = orientations.apply_orientation(volume, turn)
            spatial = [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in (2, 1, 0)]
            orientation = ORIENTATION
    return volume.transpose(3, 2, 1, 0), spatial, orientation


def _distances(header: Any, sizes: list[float], spatial: list[int]) -> dict[str, Spacing]:
    units = int(header["xyzt_units"])
    # Files without a unit are in millimeters: the format comes from programs that knew no other.
    length = _UNITS.get(units & 7, "mm")
    found = {axis: spacing(sizes[place], length) for axis, place in zip("ZYX", spatial, strict=True)}
    time = spacing(sizes[3], _TIMES.get(units & 56))
    if time is not None and time[1] == "millisecond":
        time = (time[0] / 1000, "second")
    return known(found | {"T": time})


def _read(
    volume: NDArray[Any], path: Path, *, rgb: bool, whole: bool, slope: float | None, intercept: float | None
) -> Any:
    """Return the voxels rescaled: at once, or where they are looked at."""
    if rgb:
        names = volume.dtype.names or ()
        return np.stack([volume[name] for name in names[:3]], axis=-1)
    # Both are None where the header says that values are as they are stored.
    factor, offset = 1.0 if slope is None else slope, intercept or 0.0
    changed = (factor, offset) != (1.0, 0.0)

    def rescaled(block: NDArray[Any]) -> NDArray[Any]:
        return np.asarray((block.astype(np.float64) * factor + offset).astype(np.float32))

    native = volume.dtype.newbyteorder("=")
    if whole:
        values = np.ascontiguousarray(volume, native)
        return rescaled(values) if changed else values
    chunks = (1, 1, *volume.shape[2:])
    check_chunk(path, chunks, volume.dtype)
    array = lazy(volume, path, chunks)
    return mapped(array, rescaled, np.dtype(np.float32)) if changed else array


def _flat(image: ImageData) -> ImageData:
    """Drop a single time, and the axis along which a single slice lies."""
    if image.data.shape[0] == 1:
        image = replace(image, data=image.data[0], axes="ZYX")
    lengths = dict(zip(image.axes, image.data.shape, strict=False))
    single = next((axis for axis in "ZYX" if lengths[axis] == 1), None)
    if single is None:
        return image
    place = image.axes.index(single)
    data = image.data[(slice(None),) * place + (0,)]
    kept = [axis for axis in "ZYX" if axis != single]
    letters = dict(zip("ZYX", image.orientation, strict=False))
    orientation = "".join(letters.get(axis, "") for axis in kept)
    if kept[0] == "Z" and orientation:
        # Upright, as such slices are looked at: the head is above.
        data = data[(slice(None),) * image.axes.index("Z") + (slice(None, None, -1),)]
        orientation = "I" + orientation[1:]
    given = dict(image.spacing or {})
    distances = {new: given[old] for new, old in zip("YX", kept, strict=True) if old in given}
    distances |= {"T": given["T"]} if "T" in given else {}
    return replace(image, data=data, axes=image.axes.replace("ZYX", "YX"), spacing=distances, orientation=orientation)


def _window(header: Any) -> tuple[float, float] | None:
    """Return what the file says is to be shown as black and as white."""
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None
