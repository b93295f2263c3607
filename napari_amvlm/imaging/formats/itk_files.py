"""NRRD and MetaImage files (.nrrd, .nhdr, .mha, .mhd), as 3D Slicer and ITK write them."""

from __future__ import annotations

import math
import re
import zlib
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import need, reading
from napari_amvlm.imaging.formats.limits import check_numbers, check_shape
from napari_amvlm.imaging.image_data import MICROMETERS, ImageData, image_name, known, spacing
from napari_amvlm.imaging.planes import in_acquired_plane, in_plane, without_single_axes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_amvlm.imaging.planes import Plane

ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
NRRD_START = b"NRRD000"
_META_START = re.compile(rb"^\s*(ObjectType\s*=\s*Image|NDims\s*=|Comment\s*=)", re.MULTILINE)

_HEADER_BYTES = 1 << 16
_MOST_BYTES = 1 << 32
_MAX_RATIO = 1032
"""gzip makes nothing smaller than by this factor; bzip2 is not far from it where all is equal."""
_LENGTHS = {2: "YX", 3: "ZYX", 4: "TZYX"}
_SIDES = ("RL", "AP", "IS")
"""What the axes of the patient grow away from, and towards, in the coordinates of ITK."""
_DATA_FILE = re.compile(r"^\s*(?:ElementDataFile\s*=|data ?file\s*:)\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_NRRD_BODY = re.compile(r"\r?\n\r?\n")
_META_BODY = re.compile(r"^\s*ElementDataFile\s*=[^\n]*\n", re.MULTILINE)
"""What stands before the voxels, where they lie in the file itself."""
_PACKED = re.compile(r"^\s*(?:CompressedData\s*=\s*True|encoding\s*:\s*(?:gzip|gz))\s*$", re.MULTILINE | re.IGNORECASE)
_SKIPPED = re.compile(r"^line skip\s*:\s*[1-9]", re.MULTILINE)
_UNITS = re.compile(r"^\s*(?:(?:space )?units\s*:|DistanceUnits\s*=)(.*)$", re.MULTILINE)
_PIECE = 1 << 22
_LISTED = re.compile(r"^kinds\s*:.*\blist\b", re.MULTILINE | re.IGNORECASE)
"""What NRRD calls values of a voxel that are no colours, as the layers of a segmentation."""
_DIRECTIONS = re.compile(
    r"^\s*(?:TransformMatrix|Orientation|Rotation)\s*=|^\s*space\s*:\s*(?:right|left|[RL][AP]S)",
    re.MULTILINE | re.IGNORECASE,
)


def is_itk(start: bytes) -> bool:
    """Tell whether a file begins as NRRD, or with the header of a MetaImage."""
    return start.startswith(NRRD_START) or bool(b"=" in start[:64] and _META_START.match(start.lstrip()[:64]))


def open_itk(path: Path, plane: Plane = "acquired") -> list[ImageData]:
    """Describe the image in a NRRD or MetaImage file: a plane, a volume, or a volume at several times.

    Three or four values of 8 bits in a voxel are colours, but for those that NRRD calls a list; others are channels.
    Slices lie as those of NIfTI files do (`open_nifti`).

    Raises
    ------
    ImageError
        SimpleITK is not installed, the file is damaged, its pixels lie in a file outside its folder or in many, or it
        holds something else than real numbers on 2 to 4 axes.
    """
    with reading(path):
        need("SimpleITK", path, "NRRD or MetaImage", "itk")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES).decode("latin-1")
        image = _described(path, header)
        if "Z" in image.axes:
            chosen = in_acquired_plane(image) if plane == "acquired" else in_plane(image, plane)
            return [without_single_axes(chosen)]
        return [in_plane(image, plane)]


def pixels_elsewhere(path: Path) -> bool:
    """Tell whether the pixels of a NRRD or MetaImage file lie in a file beside it."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    return is_itk(header) and _data_file(path, header.decode("latin-1")) != path


def _described(path: Path, header: str) -> ImageData:
    import SimpleITK

    nrrd = header.startswith(NRRD_START.decode())
    voxels = _data_file(path, header)
    stored = voxels.stat().st_size
    file = SimpleITK.ImageFileReader()
    file.SetImageIO("NrrdImageIO" if nrrd else "MetaImageIO")
    file.SetFileName(str(path))
    file.ReadImageInformation()
    shape, components = tuple(int(n) for n in file.GetSize()[::-1]), int(file.GetNumberOfComponents())
    _check(path, shape, components, stored, SimpleITK.GetPixelIDValueAsString(file.GetPixelID()))
    unpacked = _packed_bytes(path, voxels, header)
    pixels = np.asarray(SimpleITK.GetArrayFromImage(file.Execute()))
    if unpacked is not None and unpacked < pixels.nbytes:
        raise ImageError(f"{path} is cut off, {unpacked} of {pixels.nbytes} bytes are there; copy it again.")
    check_numbers(path, pixels.dtype)
    rgb = components in (3, 4) and pixels.dtype == np.uint8 and not _LISTED.search(header)
    axes = _LENGTHS[len(shape)]
    sizes = dict(zip(axes[::-1], file.GetSpacing(), strict=True))
    if components > 1 and not rgb:
        place = max(axes.find("Z"), 0)
        pixels, axes = np.moveaxis(pixels, -1, place), f"{axes[:place]}C{axes[place:]}"
    length = _length_unit(header)
    distances = {axis: spacing(abs(size), "s" if axis == "T" else length) for axis, size in sizes.items()}
    # Without directions, a size of 1 says as little as a place of 0.
    if not _DIRECTIONS.search(header) and all(size == 1 for size in sizes.values()):
        distances = {}
    return ImageData(
        pixels[..., :3] if rgb else pixels,
        image_name(path),
        path,
        rgb,
        axes,
        known(distances),
        orientation=_orientation(file.GetDirection(), len(shape)) if _DIRECTIONS.search(header) else "",
    )


def _length_unit(header: str) -> str:
    """Return the unit of the axes in space, millimeters where the header names none; "" where it names several."""
    named = {unit for match in _UNITS.finditer(header) for unit in re.findall(r"[^\s\"]+", match[1]) if unit != "?"}
    lengths = {unit for unit in named if (spacing(1, unit) or ("", "meter"))[1] in MICROMETERS}  # and not of time
    return lengths.pop() if len(lengths) == 1 else "" if lengths else "mm"


def _data_file(path: Path, header: str) -> Path:
    """Return the file that the pixels lie in: the file itself, or one beside it.

    Raises
    ------
    ImageError
        It is somewhere else, there are many, or it is not there.
    """
    match = _DATA_FILE.search(header.split("\n\n")[0])
    name = match[1].removeprefix("./") if match else "LOCAL"
    if name.upper() == "LOCAL":
        return path
    if name.upper().startswith("LIST") or "%" in name:
        raise ImageError(f"{path}: expected all pixels in one file, but its header names many; save it as one file.")
    if name in ("", ".", "..") or re.search(r"[/\\:\0]", name):
        raise ImageError(f"{path}: expected its pixels in a file beside it, but its header names {name!r}; move it.")
    if not (path.parent / name).is_file():
        raise ImageError(f"{path} is incomplete, its pixels lie in {name}, which is not there; copy it too.")
    return path.parent / name


def _check(path: Path, shape: Sequence[int], components: int, stored: int, kind: str) -> None:
    """Refuse what the file cannot hold, before memory is taken."""
    if len(shape) not in _LENGTHS:
        raise ImageError(f"{path}: expected 2 to 4 axes, but got {len(shape)}; save one of its volumes.")
    check_shape(path, shape, (sorted(shape)[-1], sorted(shape)[-2]))
    if "complex" in kind or "label map" in kind:
        raise ImageError(f"{path}: expected real numbers as pixels, but got {kind}; convert it first.")
    bits = next((int(number) for number in re.findall(r"(\d+)-bit", kind)), 8)
    needed = math.prod(shape) * components * bits // 8
    if needed > min(_MOST_BYTES, stored * _MAX_RATIO):
        raise ImageError(
            f"{path}: {stored} bytes cannot hold {shape} voxels, or they would fill more than {_MOST_BYTES >> 20} MB; "
            "copy it again, or save it as .nii."
        )


def _packed_bytes(path: Path, stored: Path, header: str) -> int | None:
    """Unpack voxels to the end of their stream, and return how many bytes they are; None where they are not packed.

    SimpleITK returns wrong voxels where a stream is damaged or too short.

    Raises
    ------
    ImageError
        The stream is cut off.
    zlib.error
        It is damaged.
    """
    body = (_NRRD_BODY if header.startswith(NRRD_START.decode()) else _META_BODY).search(header)
    fields = header[: body.start()] if body else header
    if not _PACKED.search(fields) or _SKIPPED.search(fields):
        return None
    stream, count = zlib.decompressobj(zlib.MAX_WBITS | 32), 0  # of either kind, zlib or gzip
    with stored.open("rb") as file:
        file.seek(body.end() if body and stored == path else 0)
        while not stream.eof:
            piece = stream.unconsumed_tail or file.read(_PIECE)
            if not piece:
                raise ImageError(f"{path} is cut off, its packed voxels have no end; copy it again.")
            count += len(stream.decompress(piece, _PIECE))
    return count


def _orientation(direction: Sequence[float], axes: int) -> str:
    """Return the sides towards which Z, Y and X grow; "" for planes and where it is not clear."""
    if axes < len("ZYX"):
        return ""
    matrix = np.asarray(direction, np.float64).reshape(axes, axes)[:3, :3]
    main = np.abs(matrix).argmax(axis=0)
    if sorted(main) != [0, 1, 2] or not np.isfinite(matrix).all():
        return ""
    return "".join(_SIDES[row][int(matrix[row, column] > 0)] for column, row in enumerate(main))[::-1]
