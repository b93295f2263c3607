"""Damaged masks over scans, and damaged ROIs: what cannot be used is told, never a crash or a write."""

import numpy as np
import pytest
from hypothesis import strategies as st

from napari_amvlm.exports import ExportOptions, export_as
from napari_amvlm.imaging import open_images
from napari_amvlm.imports import import_files
from napari_amvlm.project import Project
from tests.damaged import damages, few_or_many, try_cases
from tests.exports.scans import annotate, write_series, write_zarr

KINDS = ("nifti", "dicom-seg", "ome-zarr", "ome-zarr 0.5", "ome-tiff", "imagej")


def _scan(kind, folder):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 24, 20), np.int16)
    if kind in ("nifti", "ome-tiff"):
        import nibabel

        nibabel.save(nibabel.Nifti1Image(pixels.T, np.diag([-0.5, -0.5, 2.0, 1.0])), folder / "spine.nii.gz")
        return folder / "spine.nii.gz"
    if kind == "dicom-seg":
        return write_series(folder / "series")
    return write_zarr(folder / "a.zarr", pixels, "zyx", "0.5" if kind.endswith("0.5") else "0.4")


UNCHECKED = ("nifti", "dicom-seg", "ome-tiff")
"""Formats with parts that no checksum covers, the pixels or `classes.csv`: once changed, they hold something else."""


def _fuzz(kind, folder, cases):
    """Import what was exported, one file of it damaged each time; return how often something was left out."""
    (folder / "scans").mkdir()
    scan = _scan(kind, folder / "scans")
    with Project.create(folder / "p.amvlm") as project:
        annotate(project, open_images(scan)[0])
        zarr = kind.startswith("ome-zarr")
        root = scan if zarr else folder / "out"
        export_as(project, kind.split()[0], root, ExportOptions() if kind == "imagej" else ExportOptions(scans=(scan,)))
        where = root / "labels" if zarr else root
        files = [path for path in sorted(where.rglob("*")) if path.is_file()]
        given = files if kind in ("dicom-seg", "imagej") else [root]
        assert import_files(project, given, images=folder / "scans").problems == []
        intact = {(one.image_id, project.corrections.mask(one).tobytes()) for one in project.corrections.select()}
        told = 0

        def case(damage, number):
            nonlocal told
            path = files[number % len(files)]
            whole = path.read_bytes()
            path.write_bytes(damage(whole))
            report = import_files(project, given, images=folder / "scans")
            path.write_bytes(whole)
            told += bool(report.problems)
            # A changed name is entered as it is, with the masks that it has.
            entered = [project.corrections.get(one) for one in report.accepted]
            masks = {(one.image_id, project.corrections.mask(one).tobytes()) for one in entered}
            assert kind in UNCHECKED or masks <= intact
            assert all("\n" not in problem for problem in report.problems)

        try_cases(cases, case, damages(), st.integers(0, 1000))
    return told


@few_or_many(6, 1000)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_told_of(kind, tmp_path, cases):
    assert _fuzz(kind, tmp_path, cases) > cases // 10
