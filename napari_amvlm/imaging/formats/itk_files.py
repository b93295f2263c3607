"""NRRD and MetaImage files (.nrrd, .nhdr, .mha, .mhd), as 3D Slicer and ITK write them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import need, reading
from napari_amvlm.imaging.formats.limits import check_numbers, check_shape
from napari_amvlm.imaging.image_data import ImageData, image_name, known, spacing
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
_DIRECTIONS = re.compile(
    r"^\s*(?:TransformMatrix|Orientation|Rotation)\s*=|^\s*space\s*:\s*(?:right|left|[RL][AP]S)",
    re.MULTILINE | re.IGNORECASE,
)


def is_itk(start: bytes) -> bool:
    """Tell whether a file begins as NRRD, or with the header of a MetaImage."""
    return start.startswith(NRRD_START) or bool(b"=" in start[:64] and _META_START.match(start.lstrip()[:64]))


def open_itk(path: Path, plane: Plane = "acquired") -> list[ImageData]:
    """Describe the image in a NRRD or MetaImage file: a plane, a volume, or a volume at several times.

    Slices lie as those of NIfTI files do (`open_nifti`).

    Raises
    ------
    ImageError
        SimpleITK is not installed, the file is damaged, its pixels lie in a file outside its folder or in many, or it
        holds something else than real numbers or 8-bit colours on 2 to 4 axes.
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


def _described(path: Path, header: str) -> ImageData:
    import SimpleITK

    nrrd = header.startswith(NRRD_START.decode())
    stored = _data_file(path, header).stat().st_size
    file = SimpleITK.ImageFileReader()
    file.SetImageIO("NrrdImageIO" if nrrd else "MetaImageIO")
    file.SetFileName(str(path))
    file.ReadImageInformation()
    shape, components = tuple(int(n) for n in file.GetSize()[::-1]), int(file.GetNumberOfComponents())
    _check(path, shape, components, stored, SimpleITK.GetPixelIDValueAsString(file.GetPixelID()))
    pixels = np.asarray(SimpleITK.GetArrayFromImage(file.Execute()))
    check_numbers(path, pixels.dtype)
    rgb = components > 1
    if rgb and (components not in (3, 4) or pixels.dtype != np.uint8):
        raise ImageError(f"{path}: expected one value or 8-bit colours, but got {components} values; save one of them.")
    sizes = dict(zip(_LENGTHS[len(shape)][::-1], file.GetSpacing(), strict=True))
    distances = {axis: spacing(abs(size), "s" if axis == "T" else "mm") for axis, size in sizes.items()}
    # Without directions, a size of 1 says as little as a place of 0.
    if not _DIRECTIONS.search(header) and all(size == 1 for size in sizes.values()):
        distances = {}
    return ImageData(
        pixels[..., :3] if rgb else pixels,
        image_name(path),
        path,
        rgb,
        _LENGTHS[len(shape)],
        known(distances),
        orientation=_orientation(file.GetDirection(), len(shape)) if _DIRECTIONS.search(header) else "",
    )


def _data_file(path: Path, header: str) -> Path:
    """Return the file that the pixels lie in: the file itself, or one beside it.

    Raises
    ------
    ImageError
        It is somewhere else, there are many, or it is not there.
    """
    match = _DATA_FILE.search(header.split("\n\n")[0])
    name = match[1] if match else "LOCAL"
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


def _orientation(direction: Sequence[float], axes: int) -> str:
    """Return the sides towards which Z, Y and X grow; "" for planes and where it is not clear."""
    if axes < len("ZYX"):
        return ""
    matrix = np.asarray(direction, np.float64).reshape(axes, axes)[:3, :3]
    main = np.abs(matrix).argmax(axis=0)
    if sorted(main) != [0, 1, 2] or not np.isfinite(matrix).all():
        return ""
    return "".join(_SIDES[row][int(matrix[row, column] > 0)] for column, row in enumerate(main))[::-1]
