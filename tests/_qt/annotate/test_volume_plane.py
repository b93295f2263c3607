"""The plane of a volume in the Annotate dock, and the mask in the axes of its file."""

import numpy as np
import pytest

from napari_amvlm._reader import read_layers
from napari_amvlm.exports import ExportOptions, export_as
from napari_amvlm.project import Project

nibabel = pytest.importorskip("nibabel")

VOXELS = np.random.default_rng(3).integers(0, 900, (32, 40, 24)).astype(np.int16)
"""Axial slices with axes towards the patient's left, back and head."""


def _volume(bench, path):
    nibabel.save(nibabel.Nifti1Image(VOXELS, np.diag([-0.5, -0.5, 2.0, 1.0])), path)
    ((data, options, _),) = read_layers(str(path))
    bench.viewer.add_image(data, **options)


def _choose(bench, plane):
    """Choose a plane as a person does."""
    box = bench.annotate.panel.plane
    box.setCurrentText(plane)
    box.activated.emit(box.currentIndex())
    bench.idle()


def test_a_volume_is_shown_in_another_plane_and_back(bench, tmp_path):
    hidden = bench.annotate.panel.plane.isHidden()
    _volume(bench, tmp_path / "scan.nii")
    first = bench.annotate.panel.plane.currentText()

    _choose(bench, "coronal")
    coronal = bench.annotate.current_image.images.current()
    _choose(bench, "axial")

    assert (hidden, first) == (True, "axial")
    assert (coronal.name, coronal.data.shape) == ("scan coronal", (40, 24, 32))
    np.testing.assert_allclose(coronal.scale, (0.5, 2.0, 0.5))
    assert not coronal.visible
    assert bench.annotate.current_image.images.current() is bench.viewer.layers["scan"]
    assert [layer.name for layer in bench.viewer.layers] == ["slide", "scan", "scan coronal"]


def test_a_mask_of_a_coronal_slice_returns_in_the_axes_of_its_file(bench, tmp_path):
    _volume(bench, tmp_path / "scan.nii")
    _choose(bench, "coronal")
    bench.viewer.dims.set_current_step(0, 7)
    bench.run("nuclei")
    bench.layer().data[7, 3:9, 5:20] = 1
    mask = np.asarray(bench.layer().data[7] > 0)
    bench.annotate.accept()
    bench.idle()
    with Project.open(bench.workspace.view.root, read_only=True) as project:
        export_as(project, "nifti", tmp_path / "out", ExportOptions(scans=(tmp_path / "scan.nii",)))

    found = nibabel.load(tmp_path / "out" / "masks" / "nuclei" / "scan.nii.gz")

    wanted = np.zeros(VOXELS.shape, bool)
    wanted[:, 7, :] = mask[::-1].T  # rows run from head to feet
    np.testing.assert_array_equal(np.asarray(found.dataobj) > 0, wanted)
    np.testing.assert_array_equal(found.affine, nibabel.load(tmp_path / "scan.nii").affine)
