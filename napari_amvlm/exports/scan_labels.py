"""Label images in a scan's own space: NIfTI with its affine and axes, OME-TIFF with its levels and pixel size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.errors import DatasetError, InputError
from napari_amvlm.exports.annotated import project_prompts
from napari_amvlm.exports.label_files import write_classes, write_image_table
from napari_amvlm.exports.labels import overlap_note
from napari_amvlm.exports.nifti_labels import write_nifti
from napari_amvlm.exports.scans import annotated_scans
from napari_amvlm.files import write_atomically
from napari_amvlm.imaging.folder import prompt_folders
from napari_amvlm.imaging.formats.nifti_files import is_nifti, nifti_start, read_nifti_header
from napari_amvlm.imaging.image_data import MICROMETERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.exports.scans import AnnotatedScan, LabelMap
    from napari_amvlm.imaging import ImageData
    from napari_amvlm.project import Project

ScanKind = Literal["nifti", "ome-tiff"]
_TILE = 512
_OME_AXES = frozenset("TZYX")


def export_scan_labels(
    project: Project, root: Path, kind: ScanKind, *, scans: Sequence[Path] = (), objects: bool = False
) -> list[str]:
    """Write label images over the scans that accepted images are parts of, in the layout of `export_labels`.

    Parameters
    ----------
    root
        Folder to write to, new or empty: `labelcol/` with values 1..K, `masks/PROMPT/`, `reviewed/`, `classes.csv`.
    kind
        "nifti" (.nii.gz) for scans that are NIfTI files; "ome-tiff" for any, with levels for large planes.
    scans
        Files and folders of scans, see `annotated_scans`.
    objects
        Write the numbers of objects to `objects/PROMPT/` too.

    Returns
    -------
    list of str
        What a reader should know about single images.

    Raises
    ------
    DatasetError, InputError
        Nothing was accepted, no scan fits, or the folder holds files.
    StorageError
        The disk refused.
    """
    prompts = project_prompts(project)
    require_empty(root)
    folders = prompt_folders(prompts)
    rule, order = project.prompts.overlap_rule(), project.prompts.overlap_order()
    check, write, ending = (
        (_check_nifti, _write_nifti, "nii.gz") if kind == "nifti" else (_check_ome, _write_ome, "ome.tif")
    )
    notes: list[str] = []
    table: list[tuple[str, str, str]] = []
    for scan in annotated_scans(project, scans, notes, check, single=kind == "ome-tiff"):
        for folder, labels in _maps(scan, folders, objects=objects):
            write(root / folder / f"{scan.stem}.{ending}", labels, scan.image)
        write(root / "labelcol" / f"{scan.stem}.{ending}", scan.labels(prompts, rule, order), scan.image)
        table.append((scan.stem, scan.image.name, scan.file_hash))
        if scan.disputed:
            notes.append(overlap_note(scan.stem, scan.disputed, rule))
    write_classes(root / "classes.csv", prompts)
    write_image_table(root / "images.csv", table)
    return notes


def require_empty(root: Path) -> None:
    """Raise InputError where a folder holds files: nothing is overwritten."""
    if root.is_dir() and any(root.iterdir()):
        raise InputError(f"{root} holds files already; give a new or an empty folder, so that nothing is overwritten.")


def _maps(scan: AnnotatedScan, folders: dict[str, str], *, objects: bool) -> Iterator[tuple[str, LabelMap]]:
    """Yield all maps but the merged one, and the folders that they go to."""
    reviewed = scan.reviewed()
    if reviewed is not None:
        yield "reviewed", reviewed
    for prompt in scan.prompts:
        yield f"masks/{folders[prompt]}", scan.mask(prompt, 255)
        if objects:
            yield f"objects/{folders[prompt]}", scan.objects(prompt)


def _check_nifti(image: ImageData) -> None:
    if image.path is None or not image.path.is_file() or not is_nifti(nifti_start(image.path)):
        raise DatasetError(f"{image.path or image.name} is no NIfTI file; export its masks in another format.")
    affine = read_nifti_header(image.path).get_best_affine()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
        raise DatasetError(
            f"{image.path} has an affine that is zero or gives no volume, so nobody knows where its voxels lie; repair "
            "its header, or export its masks as TIFF."
        )


def _write_nifti(path: Path, labels: LabelMap, image: ImageData) -> None:
    write_nifti(path, labels.whole(), image)


def _check_ome(image: ImageData) -> None:
    axes = image.axes.replace("C", "")
    if not set(axes) <= _OME_AXES:
        raise DatasetError(f"{image.path or image.name} has the axes {axes}, and OME-TIFF knows T, Z, Y and X alone.")


def _write_ome(path: Path, labels: LabelMap, image: ImageData) -> None:
    """Write a tiled OME-TIFF; every level has half the side of the one before, until one tile holds it."""
    import tifffile

    sizes = [labels.shape[-2:]]
    while max(sizes[-1]) > _TILE:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    lead = labels.shape[:-2]
    options: dict[str, Any] = {"tile": (_TILE, _TILE), "compression": "zlib", "photometric": "minisblack"}

    def write(temporary: Path) -> None:
        with tifffile.TiffWriter(temporary, ome=True, bigtiff=int(np.prod(labels.shape)) > 1 << 30) as file:
            for level, size in enumerate(sizes):
                first = (
                    {"subifds": len(sizes) - 1, "metadata": _ome_metadata(image)} if level == 0 else {"subfiletype": 1}
                )
                file.write(
                    _tiles(labels, lead, size, 1 << level),
                    shape=(*lead, *size),
                    dtype=labels.dtype,
                    **options,
                    **first,
                )

    write_atomically(path, write, make_folder=True)


def _tiles(labels: LabelMap, lead: tuple[int, ...], size: tuple[int, ...], step: int) -> Iterator[NDArray[Any]]:
    side = _TILE * step
    for index in np.ndindex(lead):
        for y in range(0, size[0], _TILE):
            for x in range(0, size[1], _TILE):
                yield labels.block(index, y * step, x * step, side, side, step)


def _ome_metadata(image: ImageData) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": image.axes.replace("C", "")}
    for axis in "ZYX":
        length, unit = (image.spacing or {}).get(axis, (0.0, ""))
        if axis in image.axes and unit in MICROMETERS:
            metadata |= {f"PhysicalSize{axis}": length * MICROMETERS[unit], f"PhysicalSize{axis}Unit": "µm"}
    return metadata
