"""Turning and mirroring: eight different views, each of which leads back."""

import numpy as np
import pytest

from napari_amvlm.imaging.turning import names_position, turned, turned_back


@pytest.mark.parametrize("view", range(8))
@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3)])
def test_every_view_leads_back(view, shape):
    image = np.arange(np.prod(shape)).reshape(shape)

    assert np.array_equal(turned_back(turned(image, view), view), image)


def test_all_eight_differ_and_the_first_is_the_image_itself():
    image = np.arange(9).reshape(3, 3)
    views = [turned(image, view).tolist() for view in range(8)]

    assert views[0] == image.tolist()
    assert len({str(view) for view in views}) == 8


@pytest.mark.parametrize(
    "prompt", ["left lung", "Nuclei in the UPPER-right corner", "right-sided effusion", "the lower lobe"]
)
def test_places_are_found(prompt):
    assert names_position(prompt)


@pytest.mark.parametrize("prompt", ["nuclei", "bright nuclei", "a copyright sign", "cleft", "stopped"])
def test_other_words_are_none(prompt):
    assert not names_position(prompt)
