"""ROIs of ImageJ, read by roifile."""

import numpy as np
import pytest
from skimage.draw import polygon2mask

from napari_amvlm.errors import InputError
from napari_amvlm.exports import export_as

roifile = pytest.importorskip("roifile")


def test_every_object_is_a_roi_with_exactly_its_pixels(project, masks, tmp_path):
    export_as(project, "imagej", tmp_path / "out")

    rois = roifile.roiread(tmp_path / "out" / "chest.zip")
    found = {prompt: np.zeros((60, 48), bool) for prompt in masks}
    for roi in rois:
        for ring in roi.coordinates(multi=True):
            # Pixel corners are integers; skimage asks for centres, so that the outline is moved by half a pixel.
            found[roi.properties["prompt"]] |= polygon2mask((60, 48), ring[:, ::-1] - 0.5 - 1e-6)
    assert len(rois) == 4
    for prompt, mask in masks.items():
        np.testing.assert_array_equal(found[prompt], mask)
    assert {(roi.top, roi.left, roi.bottom, roi.right) for roi in rois} >= {(4, 4, 25, 25)}


def test_nothing_is_overwritten(project, tmp_path):
    export_as(project, "imagej", tmp_path / "out")

    with pytest.raises(InputError, match="nothing is overwritten"):
        export_as(project, "imagej", tmp_path / "out")
