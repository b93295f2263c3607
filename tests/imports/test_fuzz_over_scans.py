"""Damaged masks over scans, and damaged ROIs: what cannot be used is told, never a crash or a write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import strategies as st

from napari_amvlm.exports import ExportOptions, export_as
from napari_amvlm.imaging import open_images
from napari_amvlm.imports import import_files
from napari_amvlm.project import Project
from tests.damaged import damages, try_cases
from tests.exports.scans import annotate, write_series, write_zarr

if TYPE_CHECKING:
    from napari_amvlm.exports import FormatName

KINDS: tuple[FormatName, ...] = ("nifti", "dicom-seg", "ome-zarr", "imagej")


def _scan(kind, folder):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 24, 20), np.int16)
    if kind == "nifti":
        import nibabel

        nibabel.save(nibabel.Nifti1Image(pixels.T, np.diag([-0.5, -0.5, 2.0, 1.0])), folder / "spine.nii.gz")
        return folder / "spine.nii.gz"
    return (
        write_series(folder / "series") if kind == "dicom-seg" else write_zarr(folder / "a.zarr", pixels, "zyx", "0.4")
    )


UNCHECKED = ("nifti", "dicom-seg")
"""Formats with parts that no checksum covers, the pixels or `classes.csv`: once changed, they hold something else."""


def _fuzz(kind, folder, cases):
    """Import what was exported, one file of it damaged each time; return how often something was left out."""
    (folder / "scans").mkdir()
    scan = _scan(kind, folder / "scans")
    with Project.create(folder / "p.amvlm") as project:
        annotate(project, open_images(scan)[0])
        root = scan if kind == "ome-zarr" else folder / "out"
        export_as(project, kind, root, ExportOptions() if kind == "imagej" else ExportOptions(scans=(scan,)))
        where = root / "labels" if kind == "ome-zarr" else root
        files = [path for path in sorted(where.rglob("*")) if path.is_file()]
        given = [root] if kind in ("nifti", "ome-zarr") else files
        assert import_files(project, given, images=folder / "scans").problems == []
        told = 0

        def case(damage, number):
            nonlocal told
            path = files[number % len(files)]
            whole = path.read_bytes()
            path.write_bytes(damage(whole))
            report = import_files(project, given, images=folder / "scans")
            path.write_bytes(whole)
            told += bool(report.problems)
            assert kind in UNCHECKED or report.accepted == []
            assert all("\n" not in problem for problem in report.problems)

        drawn = damages()
        try_cases(cases, case, drawn, st.integers(0, 1000))
    return told


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_told_of(kind, tmp_path):
    assert _fuzz(kind, tmp_path, 6) > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_told_of(kind, tmp_path):
    assert _fuzz(kind, tmp_path, 1000) > 100
