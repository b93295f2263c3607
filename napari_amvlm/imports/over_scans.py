"""Which files hold masks over whole scans or outlines of ImageJ, told by their content or name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import is_zarr
from napari_amvlm.imports.dicom_seg import is_dicom_seg, read_dicom_seg
from napari_amvlm.imports.imagej import read_rois
from napari_amvlm.imports.nifti import is_called_nifti, read_nifti_labels
from napari_amvlm.imports.ome_tiff import is_called_ome_tiff, read_ome_tiff_labels
from napari_amvlm.imports.ome_zarr import read_zarr_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_amvlm.imports.imported_masks import ImportedMasks
    from napari_amvlm.imports.scan_masks import ScanMasks, Scans


def read_over_scans(
    path: Path, prompt: str | None, scans: Scans, on_problem: Callable[[str], None]
) -> Iterator[ImportedMasks] | None:
    """Return the masks of NIfTI, OME-TIFF, OME-Zarr, DICOM-SEG and ImageJ's ROIs; None for every other file.

    Parameters
    ----------
    path
        A file, an OME-Zarr folder, or a folder whose `labelcol/` holds NIfTI or OME-TIFF files.
    prompt
        What masks without a class of their own show.
    on_problem
        Called with a sentence for what is left out.
    """
    if path.is_file() and path.suffix.lower() in (".roi", ".zip") and not _is_other_archive(path):
        return iter([read_rois(path, prompt)])
    found = _scan_masks(path, prompt, scans, on_problem)
    return (
        None if found is None else (part for origin, masks in found for part in scans.masks(origin, masks, on_problem))
    )


def _scan_masks(
    path: Path, prompt: str | None, scans: Scans, on_problem: Callable[[str], None]
) -> Iterator[tuple[Path, ScanMasks]] | None:
    if is_zarr(path):
        return ((path, masks) for masks in read_zarr_labels(path, prompt, on_problem))
    if path.is_file() and is_called_nifti(path):
        return ((path, read_nifti_labels(path, prompt, scans)) for _ in range(1))
    if path.is_file() and is_dicom_seg(path):
        return ((path, masks) for masks in read_dicom_seg(path, prompt, scans, on_problem))
    if path.is_file() and is_called_ome_tiff(path):
        return ((path, read_ome_tiff_labels(path, prompt, scans)) for _ in range(1))
    labels = path / "labelcol"
    files = sorted(labels.iterdir()) if labels.is_dir() else []
    volumes = [file for file in files if is_called_nifti(file) or is_called_ome_tiff(file)]
    return _volumes(volumes, prompt, scans, on_problem) if volumes else None


def _volumes(
    files: list[Path], prompt: str | None, scans: Scans, on_problem: Callable[[str], None]
) -> Iterator[tuple[Path, ScanMasks]]:
    """Yield the volumes of a folder; one that cannot be used is reported, and the others are read."""
    for file in files:
        try:
            read = read_nifti_labels if is_called_nifti(file) else read_ome_tiff_labels
            yield file, read(file, prompt, scans)
        except InputError as error:
            on_problem(str(error))


def _is_other_archive(path: Path) -> bool:
    """Tell whether an archive holds no ROI but files of another kind, which another reader may know."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as packed:
            names = packed.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return False
    return bool(names) and not any(name.lower().endswith(".roi") for name in names)
