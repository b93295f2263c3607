"""The estimate of the magnification: it follows the size of structures, and says nothing where it cannot tell."""

import numpy as np
import pytest

from napari_amvlm._sample_data import sample_folder
from napari_amvlm.imaging import read_image, resize
from napari_amvlm.imaging.structure_size import estimated_magnification

TILES = sorted((sample_folder("nuclei") / "img").iterdir())


def _estimates(enlarged):
    """Return the estimates for the samples, enlarged so many times, as parts of the right ones."""
    found = []
    for path in TILES[:4:3]:
        tile = read_image(path).data
        size = (int(tile.shape[0] * enlarged), int(tile.shape[1] * enlarged))
        estimate = estimated_magnification(resize(tile, size).round().astype(np.uint8), 0.25)
        assert estimate is not None
        found.append(estimate * enlarged)
    return np.asarray(found)


@pytest.mark.parametrize("enlarged", [0.5, 2])
def test_tissue_that_is_enlarged_is_estimated_as_it_was(enlarged):
    native, again = _estimates(1), _estimates(enlarged)

    assert np.exp(np.abs(np.log(again / native))).max() < 1.2


@pytest.mark.parametrize(
    "pixels",
    [np.full((200, 200, 3), 240, np.uint8), np.zeros((200, 200), np.uint8), np.zeros((100, 200, 3), np.uint8)],
    ids=["even", "gray", "small"],
)
def test_an_image_that_does_not_tell_gives_none(pixels):
    assert estimated_magnification(pixels, 0.25) is None
