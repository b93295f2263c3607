"""CutMix: answers travel with their pixels, and only between crops that are asked for the same."""

import torch

from napari_amvlm.learning.mixing import draw_mixture


def test_pixels_and_answers_come_from_the_partner_inside_a_rectangle():
    generator = torch.Generator().manual_seed(0)
    mixture = draw_mixture(["nuclei"] * 4, (32, 48), 1.0, generator)
    assert mixture is not None
    crops = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 32, 48)

    mixed = mixture(crops)

    for row in range(4):
        inside = mixture.inside[row, 0]
        assert mixture.partner[row] != row
        assert bool((mixed[row][:, inside] == float(mixture.partner[row])).all())
        assert bool((mixed[row][:, ~inside] == row).all())
        rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
        box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert int(inside.sum()) == int(box)
        assert 0.05 < float(inside.float().mean()) < 0.6


def test_crops_that_are_asked_for_other_things_are_never_mixed():
    for seed in range(20):
        mixture = draw_mixture(
            ["left lung", "right lung", "left lung"], (16, 16), 1.0, torch.Generator().manual_seed(seed)
        )
        assert mixture is not None
        assert mixture.partner.tolist()[1] == 1
        assert not bool(mixture.inside[1].any())


def test_nothing_is_mixed_where_it_is_not_wanted_or_not_possible():
    generator = torch.Generator().manual_seed(0)

    assert draw_mixture(["a", "a"], (8, 8), 0.0, generator) is None
    assert draw_mixture(["a", "b"], (8, 8), 1.0, generator) is None
