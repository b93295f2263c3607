from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_amvlm.errors import ImageError, InputError, LabelsError
from napari_amvlm.models.feature_maps import FeatureMaps
from napari_amvlm.predictor import Predictor
from napari_amvlm.strokes import Spread
from napari_amvlm.strokes import spread as spread_module

SIDE = 128
ROWS = np.arange(28, 37)
"""A stroke down the first disc."""


def discs():
    """Return two discs of radius 12, one in a corner and one far from it."""
    y, x = np.indices((SIDE, SIDE))
    return ((y - 32) ** 2 + (x - 32) ** 2 < 144) | ((y - 96) ** 2 + (x - 96) ** 2 < 144)


def bright_discs():
    """Return an image whose discs are bright, and a map at half its resolution."""
    values = np.random.default_rng(0).normal(0.2, 0.02, (SIDE, SIDE)) + 0.6 * discs()
    pixels = torch.from_numpy(np.repeat(values[None], 3, 0).astype(np.float32))
    return FeatureMaps(
        (SIDE, SIDE), "whole", pixels, (0, 0, SIDE, SIDE), (nn.functional.avg_pool2d(pixels[None], 2)[0],)
    )


def down(spread, positive=True, column=32):
    return spread.stroke(ROWS, np.full(len(ROWS), column), positive) >= 0.5


def dice(a, b):
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_one_stroke_fills_what_looks_alike_near_it_and_leaves_the_rest_to_the_model():
    mask = down(Spread(bright_discs(), None, reach="near"))

    first = discs() & (np.indices((SIDE, SIDE)).sum(0) < SIDE)
    assert dice(mask, first) > 0.9


def test_the_model_is_unchanged_where_no_stroke_reaches():
    model = np.random.default_rng(1).uniform(0, 1, (SIDE, SIDE)).astype(np.float32)
    spread = Spread(bright_discs(), model, reach="near")

    down(spread)

    assert np.array_equal(spread.probability[:, 124:], model[:, 124:])
    assert not np.array_equal(spread.probability[:64, :64], model[:64, :64])


def test_strokes_on_both_sides_settle_the_discs_anywhere_in_the_image():
    spread = Spread(bright_discs(), None, reach="whole")
    down(spread)
    mask = down(spread, positive=False, column=60)
    both = np.arange(92, 101)
    mask = spread.stroke(both, np.full(9, 96), True) >= 0.5

    assert dice(mask, discs()) > 0.95


def test_what_was_painted_stays_and_the_last_of_two_strokes_counts():
    spread = Spread(bright_discs(), None)
    down(spread)
    down(spread, positive=False)
    assert (spread.probability[ROWS, 32] == 0).all()

    down(spread, positive=True)
    assert (spread.probability[ROWS, 32] == 1).all()
    spread.stroke(ROWS, np.full(len(ROWS), 50), False)
    assert (spread.probability[ROWS, 32] == 1).all()
    assert (spread.probability[ROWS, 50] == 0).all()


def test_undo_takes_back_a_stroke_with_all_that_it_changed():
    spread = Spread(bright_discs(), None)
    shown = [spread.probability.copy()]
    for column, positive in ((32, True), (33, False), (60, False)):
        down(spread, positive, column)
        shown.append(spread.probability.copy())

    for before in reversed(shown[:-1]):
        assert np.array_equal(spread.undo(), before)
    assert np.array_equal(spread.undo(), shown[0])


def test_strokes_on_tissue_shift_what_the_model_finds_everywhere(monkeypatch):
    tissue = replace(bright_discs(), scale="tiles")
    model = np.where(discs(), 0.6, 0.3).astype(np.float32)
    whole = Spread(tissue, model, reach="whole")
    monkeypatch.setattr(spread_module, "_STEP", 0.0)
    fixed = Spread(tissue, model, reach="whole")

    for column in (40, 50, 60, 70):
        down(whole, positive=False, column=column)
        down(fixed, positive=False, column=column)
    shifted = whole.probability.copy()
    for _ in range(4):
        whole.undo()

    assert (shifted < fixed.probability).mean() > 0.9
    assert np.array_equal(whole.probability, model)


def test_reset_returns_to_the_model():
    model = np.full((SIDE, SIDE), 0.3, np.float32)
    spread = Spread(bright_discs(), model)
    down(spread)

    assert np.array_equal(spread.reset(), model)
    assert np.array_equal(spread.undo(), model)


@pytest.mark.slow
def test_a_thousand_strokes_stay_bounded_and_can_be_taken_back():
    spread = Spread(bright_discs(), None)
    rng = np.random.default_rng(2)
    shown = []
    for _ in range(1000):
        row, column = rng.integers(0, SIDE - 9, 2)
        rows, columns = np.arange(row, row + 9), np.full(9, column)
        spread.stroke(rows, columns, bool(discs()[row + 4, column]))
        shown.append(spread.probability)

    assert np.isfinite(spread.probability).all()
    for before in reversed(shown[900:-1]):
        assert np.allclose(spread.undo(), before, atol=1e-5)


def test_the_image_may_be_larger_than_what_the_model_looks_at():
    maps = replace(bright_discs(), shape=(3 * SIDE, 3 * SIDE))
    spread = Spread(maps, None)
    rows = np.arange(84, 111)

    mask = spread.stroke(rows, np.full(len(rows), 96), True) >= 0.5

    first = np.kron(discs(), np.ones((3, 3), np.bool_)) & (np.indices((3 * SIDE, 3 * SIDE)).sum(0) < 3 * SIDE)
    assert dice(mask, first) > 0.9


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ([5, 128], [5, 5], "leaves the image of 128x128"),
        ([5], [-1], "leaves the image"),
        ([], [], "needs a row and a column"),
        ([1, 2], [1], "needs a row and a column"),
        ([1.5], [2.0], "must be integers"),
    ],
)
def test_a_stroke_that_cannot_be_used_changes_nothing(rows, columns, words):
    spread = Spread(bright_discs(), None)
    before = down(spread)

    with pytest.raises(LabelsError, match=words):
        spread.stroke(rows, columns, True)

    assert np.array_equal(spread.probability >= 0.5, before)


def test_features_that_are_not_finite_are_refused():
    maps = bright_discs()
    maps.maps[0][0, 3, 3] = torch.nan

    with pytest.raises(ImageError, match="not finite"):
        Spread(maps, None)


def test_a_mask_of_another_image_is_refused():
    with pytest.raises(LabelsError, match=r"shape \(64, 64\)"):
        Spread(bright_discs(), np.zeros((64, 64), np.float32))
    with pytest.raises(LabelsError, match="not finite"):
        Spread(bright_discs(), np.full((SIDE, SIDE), np.nan, np.float32))
    with pytest.raises(InputError, match="reach"):
        Spread(bright_discs(), None, reach="far")


def test_an_image_of_one_value_spreads_without_an_error():
    pixels = torch.zeros(3, 64, 64)
    spread = Spread(FeatureMaps((64, 64), "whole", pixels, (0, 0, 64, 64), (torch.zeros(4, 32, 32),)), None)

    spread.stroke([32], [32], True)

    assert np.isfinite(spread.probability).all()
    assert spread.probability[32, 32] == 1


@pytest.mark.parametrize(("prompt", "shape"), [("left lung", (100, 60)), ("nuclei", (90, 70))])
def test_the_predictor_gives_features_of_the_working_scale(tiny_model, prompt, shape):
    predictor = Predictor(tiny_model, device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    predictor.set_image(image)
    found = predictor.predict(prompt).probability

    spread = Spread(predictor.features(prompt), found)
    spread.stroke([20, 21], [30, 30], True)

    assert spread.probability.shape == shape
    assert (spread.probability[[20, 21], [30, 30]] == 1).all()


def test_a_part_of_a_large_image_has_features_of_its_own(tiny_model):
    predictor = Predictor(tiny_model, device="cpu")
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (400, 300, 3), np.uint8))

    with pytest.raises(ImageError, match="smaller part"):
        predictor.features("nuclei")
    with pytest.raises(ImageError, match="inside the image of 400x300"):
        predictor.features("nuclei", box=(380, 0, 64, 64))
    assert predictor.features("nuclei", box=(300, 200, 64, 48)).shape == (64, 48)
