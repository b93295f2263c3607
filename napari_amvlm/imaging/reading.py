"""Image and mask files to arrays, and to descriptions of what is too large or has too many axes to be one array."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError, LabelsError
from napari_amvlm.imaging.formats.czi_files import open_czi
from napari_amvlm.imaging.formats.decoding import decode
from napari_amvlm.imaging.formats.dicom_files import open_dicom, open_dicom_series
from napari_amvlm.imaging.formats.itk_files import ITK_ENDINGS, open_itk
from napari_amvlm.imaging.formats.kinds import dicom_files, image_kind
from napari_amvlm.imaging.formats.limits import check_size
from napari_amvlm.imaging.formats.nifti_files import open_nifti
from napari_amvlm.imaging.formats.ome_zarr import open_ome_zarr
from napari_amvlm.imaging.formats.openslide_files import open_slide
from napari_amvlm.imaging.formats.pillow_files import photo_spacing
from napari_amvlm.imaging.formats.tiff_stacks import is_stack, open_tiff, plane_spacing, tell_missing_pages
from napari_amvlm.imaging.image_data import ImageData, image_name
from napari_amvlm.imaging.planes import in_plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_amvlm.imaging.formats.kinds import Kind
    from napari_amvlm.imaging.image_data import Spacing
    from napari_amvlm.imaging.planes import Plane


_BRIGHT = 128
"""From this value on a pixel of a mask in JPEG is foreground."""


def read_image(path: str | Path) -> ImageData:
    """Read one plane into memory: PNG, JPEG, TIFF, DICOM, NIfTI or OME-Zarr, gray or RGB, of any number format.

    Alpha is dropped, and palettes become colours.  Of a pyramid the full resolution is read.

    Raises
    ------
    ImageError
        The file is not there, unreadable, of another kind, cut off, larger than 400 million pixels, a stack, or has 2
        channels.
    """
    file = Path(path)
    kind = image_kind(file) or _named(file)
    if kind in (None, "plain", "tiff"):
        pixels = decode(file, indices=False).pixels
        if kind == "tiff":
            tell_missing_pages(file, one_image=True)
        if pixels.dtype == np.bool_:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        distances = plane_spacing(file) if kind == "tiff" else photo_spacing(file)
        return ImageData(pixels, image_name(file), file, pixels.ndim == 3, spacing=distances)
    images = open_images(file)
    if len(images) > 1:
        raise ImageError(f"{file}: expected one image, but it holds {len(images)}; give the file of the one you mean.")
    image = images[0]
    if image.axes != "YX":
        raise ImageError(
            f"{file}: expected one image, but it is a stack, {image.size}; open it in napari, or save the plane you "
            "mean as a file of its own."
        )
    check_size(file, *image.data.shape[:2])
    return replace(image, data=np.asarray(image.data), smaller=())


def file_spacing(path: Path) -> dict[str, Spacing]:
    """Return the pixel size in the header of a PNG, JPEG or TIFF file; empty where it has none, or is another file."""
    try:
        kind = image_kind(path)
        if kind == "tiff":
            return plane_spacing(path)
    except ImageError:
        return {}
    return photo_spacing(path) if kind == "plain" else {}


def open_images(path: str | Path, plane: Plane = "acquired") -> list[ImageData]:
    """Describe every image in a file or folder; what is large stays there until it is looked at.

    See `docs/formats.md` for what is read, and how axes, windows, pixel size and orientation are taken.

    Parameters
    ----------
    path
        A PNG, JPEG, TIFF (OME-TIFF, SVS), DICOM or NIfTI file, an OME-Zarr folder, or a folder of DICOM files.
    plane
        In which plane the slices of a volume lie; another one than "acquired" needs a file that says how the volume
        lies in the patient.

    Raises
    ------
    ImageError
        It cannot be read; the message says what was expected, what came, and what to do.
    """
    file = Path(path)
    kind = image_kind(file) or _named(file)
    if kind in ("nifti", "itk"):
        return open_nifti(file, plane) if kind == "nifti" else open_itk(file, plane)
    return [in_plane(image, plane) for image in _open(file, kind)]


def _open(path: Path, kind: Kind | None) -> list[ImageData]:
    """Describe the images of any file that is not cut in planes where it is read."""
    if kind == "zarr":
        return open_ome_zarr(path)
    if kind == "dicom folder":
        return open_dicom_series(dicom_files(path), path)
    if kind == "dicom":
        return open_dicom(path)
    if kind == "slide":
        return open_slide(path)
    if kind == "czi":
        return open_czi(path)
    if kind == "tiff" and is_stack(path):
        tell_missing_pages(path)
        return open_tiff(path)
    if kind is None and path.is_dir():
        raise ImageError(f"{path}: expected an OME-Zarr image or a folder of DICOM files, but it is neither.")
    return [read_image(path)]


def _named(path: Path) -> Kind | None:
    """Return what a file is by its name, for those whose content may be too damaged to tell."""
    ending = "" if path.is_dir() else path.name.lower()
    if ending.endswith(ITK_ENDINGS):
        return "itk"
    return "dicom" if ending.endswith(".dcm") else "nifti" if ending.endswith((".nii", ".nii.gz")) else None


def read_mask(path: str | Path, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Read label values, `(H, W)`, of an integer type.

    Values are taken as they are stored: palette files give their indices, 1-bit files 0 and 1, and TIFF files in which
    0 is shown as white are not inverted.  A colour file must have equal channels.  JPEG blurs
    values, so in it 128 and above is 255, all else 0.

    Parameters
    ----------
    shape
        Height and width that the mask must have, pixels; None accepts any.

    Raises
    ------
    ImageError
        The file cannot be read.
    LabelsError
        Another shape, a colour picture, values that are not whole numbers, or a JPEG that is dark everywhere.
    """
    file = Path(path)
    decoded = decode(file, indices=True)
    labels = decoded.pixels
    if labels.ndim == 3:
        if not (labels == labels[..., :1]).all():
            raise LabelsError(
                f"{file}: expected a mask with one value per pixel, but it is a colour picture; save it as gray."
            )
        labels = np.ascontiguousarray(labels[..., 0])
    if shape is not None and labels.shape != tuple(shape[:2]):
        height, width = labels.shape
        raise LabelsError(
            f"{file}: expected a mask of {shape[0]}x{shape[1]} pixels like its image, but got {height}x{width}; "
            "give the mask that belongs to the image."
        )
    if decoded.lossy:
        if 0 < (highest := int(labels.max(initial=0))) < _BRIGHT:
            raise LabelsError(
                f"{file}: expected a mask of 0 and 255, for JPEG keeps no other values, but its highest is {highest}; "
                "save the mask as PNG."
            )
        return np.where(labels >= _BRIGHT, np.uint8(255), np.uint8(0))
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    return _whole_numbers(labels, file)


def open_labels(path: str | Path) -> ImageData:
    """Describe the label image in a file: a plane, a volume, or one with levels, with values as in `read_mask`.

    Raises
    ------
    ImageError
        The file cannot be read, or holds several images.
    LabelsError
        It is a colour picture, or a plane whose values are not whole numbers.
    """
    file = Path(path)
    kind = image_kind(file)
    if kind == "plain" or (kind == "tiff" and not is_stack(file)):
        return ImageData(read_mask(file), image_name(file), file, rgb=False, spacing=file_spacing(file))
    if kind == "tiff":
        tell_missing_pages(file)
    opened = open_tiff(file, indices=True) if kind == "tiff" else open_images(file)
    if len(opened) > 1:
        raise ImageError(f"{file}: expected one image, but it holds {len(opened)}; save the one that is meant alone.")
    if opened[0].rgb:
        raise LabelsError(
            f"{file}: expected a mask with one value per pixel, but it is a colour picture; save it as gray."
        )
    return opened[0]


def read_reviewed(path: Path | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Read which pixels somebody looked at, `(H, W)`: those above 0; without a file None, which means all.

    Parameters
    ----------
    path
        As in `read_mask`, for instance `ImagePair.reviewed`.
    shape
        Height and width that it must have, pixels.

    Raises
    ------
    ImageError, LabelsError
        As in `read_mask`.
    """
    return None if path is None else np.asarray(read_mask(path, shape) > 0)


def _whole_numbers(labels: NDArray[Any], file: Path) -> NDArray[Any]:
    """Return labels of an integer type."""
    if np.issubdtype(labels.dtype, np.integer):
        return labels
    limit = np.iinfo(np.int32).max
    if not (np.isfinite(labels).all() and (np.abs(labels) <= limit).all() and (labels == np.rint(labels)).all()):
        raise LabelsError(
            f"{file}: expected whole numbers as label values, but got {labels.dtype} values with fractions or beyond "
            f"{limit}; save labels as integers, or a probability map after a threshold."
        )
    return labels.astype(np.int32)
