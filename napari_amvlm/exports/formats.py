"""Every format that masks are exported to, with what it writes and which options it knows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from napari_amvlm.errors import InputError
from napari_amvlm.exports.coco import Segmentation, export_coco
from napari_amvlm.exports.dicom_seg import export_dicom_seg
from napari_amvlm.exports.geojson import export_geojson
from napari_amvlm.exports.imagej import export_imagej
from napari_amvlm.exports.labels import export_labels
from napari_amvlm.exports.ome_zarr import export_ome_zarr
from napari_amvlm.exports.scan_labels import export_scan_labels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_amvlm.project import Project

FormatName = Literal["coco", "geojson", "tiff", "png", "nifti", "ome-tiff", "dicom-seg", "ome-zarr", "imagej"]


@dataclass(frozen=True)
class ExportOptions:
    """What can be asked of some formats.

    Attributes
    ----------
    images, objects
        Write the images, the numbers of objects too.
    scans
        Files and folders of the scans that the project's images are parts of.
    """

    images: bool = False
    objects: bool = False
    segmentation: Segmentation | None = None
    scans: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes
    ----------
    write
        Writes the masks of a project to a path; returns what a reader of them should know, see `export_coco`.
    file
        What its file is called by default; empty where it is a folder.
    options
        The fields of `ExportOptions` that it knows.
    """

    title: str
    write: Callable[[Project, Path, ExportOptions], list[str]]
    file: str = ""
    options: tuple[str, ...] = ()


FORMATS: dict[FormatName, ExportFormat] = {
    "coco": ExportFormat(
        "COCO file, every object",
        lambda project, path, o: export_coco(project, path, segmentation=o.segmentation or "rle"),
        "masks.json",
        ("segmentation",),
    ),
    "geojson": ExportFormat("GeoJSON for QuPath", lambda project, path, _: export_geojson(project, path)),
    "tiff": ExportFormat(
        "Label images as TIFF",
        lambda project, path, o: export_labels(project, path, "tiff", images=o.images, objects=o.objects),
        options=("images", "objects"),
    ),
    "png": ExportFormat(
        "Label images as PNG",
        lambda project, path, o: export_labels(project, path, "png", images=o.images, objects=o.objects),
        options=("images", "objects"),
    ),
    "nifti": ExportFormat(
        "NIfTI over the scans",
        lambda project, path, o: export_scan_labels(project, path, "nifti", scans=o.scans, objects=o.objects),
        options=("scans", "objects"),
    ),
    "ome-tiff": ExportFormat(
        "OME-TIFF with levels",
        lambda project, path, o: export_scan_labels(project, path, "ome-tiff", scans=o.scans, objects=o.objects),
        options=("scans", "objects"),
    ),
    "dicom-seg": ExportFormat(
        "DICOM segmentations",
        lambda project, path, o: export_dicom_seg(project, path, o.scans),
        options=("scans",),
    ),
    "ome-zarr": ExportFormat(
        "Labels in OME-Zarr images",
        lambda project, path, o: export_ome_zarr(project, path, o.scans),
        options=("scans",),
    ),
    "imagej": ExportFormat("ROIs for ImageJ", lambda project, path, _: export_imagej(project, path)),
}


def export_as(project: Project, kind: FormatName, path: Path, options: ExportOptions | None = None) -> list[str]:
    """Write the accepted masks of a project in one format; return what a reader of them should know.

    Raises
    ------
    InputError
        The format does not know an option, or `path` is a folder where it writes a file, or the other way round.
    DatasetError, ProjectError, StorageError
        See `export_coco`.
    """
    options, form = options or ExportOptions(), FORMATS[kind]
    for field in fields(options):
        if getattr(options, field.name) and field.name not in form.options:
            knowing = " or ".join(name for name, other in FORMATS.items() if field.name in other.options)
            raise InputError(f"--{field.name} goes with --format {knowing}, not with {kind}; leave it out.")
    if form.file and path.is_dir():
        raise InputError(f"{path} is a folder, but {kind} is one file; give for instance -o {path / form.file}.")
    if not form.file and path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, but {kind} needs a folder; give another -o.")
    return form.write(project, path, options)
