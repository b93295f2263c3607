"""Label volumes as NIfTI, in the space of the scan they belong to."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.files import write_atomically
from napari_amvlm.imaging.formats.nifti_files import read_nifti_header
from napari_amvlm.imaging.planes import to_file_axes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData

_PROGRAM = "napari-amvlm "


def write_nifti(path: Path, array: NDArray[Any], image: ImageData, *, made_with: str = "") -> None:
    """Write labels over the voxels of a scan: with its affine, units and order of axes.

    Parameters
    ----------
    path
        A `.nii.gz` file.
    array
        With the axes of `image`, or with one more before them, which becomes NIfTI's fifth. float16 becomes float32.
    image
        What was read from the scan, a NIfTI file.
    made_with
        Up to 64 letters that are kept in the header, see `nifti_made_with`.

    Raises
    ------
    StorageError
        The disk refused the write.
    """
    import nibabel

    if image.path is None:  # an image that was read from a file always has one
        raise ValueError("the image has no file")
    source = read_nifti_header(image.path)
    several = array.ndim > len(image.axes)
    planes = list(array) if several else [array]
    volumes = [to_file_axes(plane, image) for plane in planes]
    stored = np.stack([v[None] if v.ndim == 3 else v for v in volumes]).T if several else volumes[0].T
    stored = stored.astype(np.float32) if stored.dtype == np.float16 else stored
    if not several:
        stored = stored.reshape(source.get_data_shape())
    source.set_data_dtype(stored.dtype)
    source.set_slope_inter(1, 0)
    source["cal_min"] = source["cal_max"] = 0
    source["descrip"] = (_PROGRAM + made_with).encode()
    kind: Any = nibabel.Nifti2Image if isinstance(source, nibabel.Nifti2Header) else nibabel.Nifti1Image
    result = kind(stored, None, source)
    write_atomically(path, lambda temporary: temporary.write_bytes(_packed(result)), make_folder=True)


def nifti_made_with(path: Path) -> str | None:
    """Return the `made_with` that `write_nifti` stored in a file, None where another program wrote it."""
    try:
        text = bytes(read_nifti_header(path)["descrip"].item()).decode("latin-1")
    except (OSError, EOFError, ValueError, zlib.error):
        return None
    return text.removeprefix(_PROGRAM) if text.startswith(_PROGRAM) else None


def _packed(image: Any) -> bytes:
    # Without the time of writing, so that the same labels give the same file.
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)
