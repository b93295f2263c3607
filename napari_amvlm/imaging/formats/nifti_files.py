"""NIfTI files: planes and volumes, shown in the plane in which they were acquired."""

from __future__ import annotations

import gzip
import math
import struct
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.decoding import refuse_others
from napari_amvlm.imaging.formats.lazy import lazy, mapped, need, reading
from napari_amvlm.imaging.formats.limits import EAGER_BYTES, check_chunk, check_numbers, check_shape
from napari_amvlm.imaging.image_data import ImageData, Spacing, image_name, known, spacing
from napari_amvlm.imaging.planes import in_acquired_plane, in_plane, without_single_axes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging.planes import Plane

_MAGIC = {348: (344, (b"n+1\0",)), 540: (4, (b"n+2\0",))}
"""By header length: where the magic bytes are, and what they are in a single file."""

_MAX_PREFIX = 1 << 26
_MAX_RATIO = 1032
"""Deflate makes nothing smaller than by this factor."""
_MAX_UNPACKED = 1 << 32
_ROUNDED = 1e-4
"""By how much the square of a rotation's quaternion may be above 1: programs write it with few digits."""
_DISAGREES = 0.02
_NEAR, _FLAT = 1e-3, 1e-12
"""Affines that differ by less are those of one scan; those whose determinant is smaller give no volume."""
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


def is_packed(path: Path) -> bool:
    """Tell whether the content of a file is packed by gzip."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def nifti_start(path: Path) -> bytes:
    """Return the first 552 bytes of a file, unpacked where it is packed."""
    with gzip.open(path) if is_packed(path) else path.open("rb") as unpacked:
        return unpacked.read(552).ljust(552, b"\0")


def open_nifti(path: Path, plane: Plane = "acquired") -> list[ImageData]:
    """Describe the image in a NIfTI file (.nii or .nii.gz): a plane, a volume, or a volume at several times.

    The slices lie in `plane`, by default the two finest axes, turned as radiologists look at them by the file's sform
    or qform.  Without one, the axes are not mirrored and the side of the patient is not known.  Values are rescaled by
    the file's slope and intercept.

    Raises
    ------
    ImageError
        nibabel is not installed, the file is damaged, or it holds something else than real numbers or colours on up
        to 4 axes; or it does not say where a plane other than "acquired" is.
    """
    with reading(path):
        start = nifti_start(path)
        if not is_nifti(start):
            refuse_others(path, start)
            raise ImageError(
                f"{path}: expected a NIfTI file with header and image in one (.nii or .nii.gz), but it is none; "
                "convert it with a program that knows its format."
            )
        need("nibabel", path, "NIfTI", "nifti")
        image, note = _describe(path, start, plane), _disagreement(path, _header(start))
    if note:
        warnings.warn(note, stacklevel=2)
    return [image]


def read_nifti_header(path: Path) -> Any:
    """Return the header of a NIfTI file, as nibabel has it; the file may be packed, whatever it is called."""
    return _header(nifti_start(path))


def voxel_turn(header: Any, other: Any) -> NDArray[np.float64] | None:
    """Return how the axes of a volume become those of another one that has the same voxels; None where it has others.

    Parameters
    ----------
    header, other
        Headers of NIfTI files, see `read_nifti_header`.

    Returns
    -------
    ndarray or None
        What nibabel's `apply_orientation` takes, `(3, 2)`.
    """
    from nibabel import orientations

    affines = [one.get_best_affine() for one in (header, other)]
    if not all(np.isfinite(one).all() and abs(np.linalg.det(one)) > _FLAT for one in affines):
        return None
    lengths = [(*one.get_data_shape(), 1, 1)[:3] for one in (header, other)]
    times = [[n for n in one.get_data_shape()[3:] if n != 1] for one in (header, other)]
    start, end = (orientations.io_orientation(affine) for affine in affines)
    turn = orientations.ornt_transform(start, end)
    moved = affines[0] @ orientations.inv_ornt_aff(turn, lengths[0])
    turned = tuple(lengths[0][int(axis)] for axis in np.argsort(turn[:, 0]))
    same = (turned, times[0]) == (lengths[1], times[1]) and np.allclose(moved, affines[1], atol=_NEAR)
    return np.asarray(turn) if same else None


def _header(start: bytes) -> Any:
    import nibabel

    kind = nibabel.Nifti2Header if 540 in _header_lengths(start) else nibabel.Nifti1Header
    header: Any = kind(start[: kind.sizeof_hdr], check=False)  # type: ignore[no-untyped-call]
    header.quaternion_threshold = _ROUNDED
    _mend(header)
    return header


def _mend(header: Any) -> None:
    """Set what nibabel refuses as the library of the format reads it: signs of sizes, and numbers that are none."""
    sizes = header["pixdim"]
    sizes[0], sizes[1:4] = (-1 if sizes[0] < 0 else 1), np.abs(sizes[1:4])
    if not np.isfinite(header["scl_inter"]):
        header["scl_inter"] = 0
    times = header["dim"][4:]
    times[times < 1] = 1


def _describe(path: Path, start: bytes, plane: Plane) -> ImageData:
    header = _header(start)
    shape = tuple(int(length) for length in header.get_data_shape())
    dtype, rgb = _values(path, header.get_data_dtype())
    packed = is_packed(path)
    _check(path, header, shape, dtype, packed=packed)
    offset = int(header["vox_offset"])
    stored = _packed_voxels(path, offset, shape, dtype) if packed else np.memmap(path, dtype, "r", offset, shape, "F")
    volume = stored.reshape((*stored.shape, 1, 1)[:4] if stored.ndim < 4 else stored.shape[:4], order="F")
    image = ImageData(
        volume.transpose(3, 2, 1, 0),
        image_name(path),
        path,
        rgb,
        "TZYX",
        _distances(header),
        orientation=_orientation(header),
        window=_window(header),
    )
    image = in_acquired_plane(image, _slice_axis(header)) if plane == "acquired" else in_plane(image, plane)
    slope, intercept = header.get_slope_inter()
    whole = packed or stored.nbytes <= EAGER_BYTES
    data = _read(image.data, path, rgb=rgb, whole=whole, slope=slope, intercept=intercept)
    return without_single_axes(replace(image, data=data))


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
        _check_rest(path, file)
    if len(content) < count:
        raise ImageError(f"{path} is cut off, {len(content)} of {count} bytes are there; copy it again.")
    return np.frombuffer(content, dtype).reshape(shape, order="F")


def _check_rest(path: Path, file: gzip.GzipFile) -> None:
    """Read a packed file to its end, where the checksum of its content is compared.

    Bytes behind the end that are not packed say nothing of the voxels: copies may have them.
    """
    rest = 0
    try:
        while piece := file.read(1 << 20):
            rest += len(piece)
            if rest > _MAX_PREFIX:
                raise ImageError(f"{path} holds more than the voxels that its header names; save it again.")
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped file"):
            raise


def _orientation(header: Any) -> str:
    """Return the sides towards which the file's third, second and first axis grow, "" where it does not say."""
    import nibabel

    if not (int(header["sform_code"]) or int(header["qform_code"])):
        return ""
    affine = header.get_best_affine()
    codes: Any = nibabel.aff2axcodes(affine) if np.isfinite(affine).all() else (None,)
    return "" if None in codes else "".join(codes[::-1])


def _slice_axis(header: Any) -> str | None:
    """Return the letter of the axis that the header names as that of the slices."""
    number = int(header["dim_info"]) >> 4 & 3
    return "XYZ"[number - 1] if number else None


def _disagreement(path: Path, header: Any) -> str:
    """Return a sentence where the sizes of voxels are others than those of the directions; "" where they agree."""
    import nibabel

    if not int(header["sform_code"]):
        return ""
    count = min(3, int(header["dim"][0]))
    sizes, affine = np.abs(np.array(header.get_zooms()[:count], np.float64)), header.get_best_affine()
    along = nibabel.affines.voxel_sizes(affine)[:count]
    if not (sizes > 0).all() or not (along > 0).all() or np.allclose(sizes, along, rtol=_DISAGREES):
        return ""
    one, other = (" x ".join(f"{size:.4g}" for size in three) for three in (sizes, along))
    return (
        f"{path} says two sizes of its voxels, {one} (pixdim, which are used) and {other} (sform); correct the one "
        "that is wrong."
    )


def _distances(header: Any) -> dict[str, Spacing]:
    sizes = [abs(float(size)) for size in header.get_zooms()] + [1.0] * 4
    units = int(header["xyzt_units"])
    # Files without a unit are in millimeters: the format comes from programs that knew no other.
    length = _UNITS.get(units & 7, "mm")
    time = spacing(sizes[3], _TIMES.get(units & 56))
    if time is not None and time[1] == "millisecond":
        time = (time[0] / 1000, "second")
    return known({axis: spacing(size, length) for axis, size in zip("XYZ", sizes, strict=False)} | {"T": time})


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


def _window(header: Any) -> tuple[float, float] | None:
    """Return what the file says is to be shown as black and as white."""
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None
