"""Tiled inference: sizes, seams, caching, cancelling, and the choice of scale."""

import numpy as np
import pytest

from napari_amvlm.config import Concept
from napari_amvlm.errors import Cancelled
from napari_amvlm.imaging import tile_scale, whole_scale
from napari_amvlm.models.inference import auto_scale, decode_prompt, encode_image, known_concept


def _image(height, width):
    return np.random.default_rng(0).random((height, width, 3), dtype=np.float32)


@pytest.mark.parametrize("shape", [(64, 64), (17, 200), (130, 97), (150, 16)])
@pytest.mark.parametrize("name", ["tiles", "whole"])
def test_maps_have_the_size_of_the_image(tiny_model, shape, name):
    scale = tile_scale() if name == "tiles" else whole_scale(shape, tiny_model.config.whole)

    found = decode_prompt(tiny_model, encode_image(tiny_model, _image(*shape), scale), "nuclei")

    assert found.probability.shape == found.text_probability.shape == shape
    assert found.probability.dtype == np.float32
    assert float(found.probability.min()) >= 0
    assert float(found.probability.max()) <= 1
    assert 0 <= found.presence <= 1


def test_features_that_are_too_large_to_keep_give_the_same_answer(tiny_model):
    image = _image(150, 150)
    kept = encode_image(tiny_model, image, tile_scale())
    forgotten = encode_image(tiny_model, image, tile_scale(), keep_bytes=0)

    answers = [decode_prompt(tiny_model, e, "nuclei").probability for e in (kept, forgotten)]

    assert all(f is not None for f in kept.features)
    assert all(f is None for f in forgotten.features)
    assert np.allclose(*answers, atol=2e-2)


def test_a_tile_far_away_changes_nothing_here(tiny_model):
    image = _image(64, 400)
    other = image.copy()
    other[:, 300:] = 0

    answers = [
        decode_prompt(tiny_model, encode_image(tiny_model, i, tile_scale()), "nuclei").probability
        for i in (image, other)
    ]

    assert np.allclose(answers[0][:, :200], answers[1][:, :200], atol=1e-5)
    assert not np.allclose(answers[0][:, 340:], answers[1][:, 340:], atol=1e-3)


def test_an_image_of_at_most_a_batch_of_tiles_is_looked_at_in_one_piece(tiny_model):
    side = tiny_model.config.tile

    def pieces(height, width, batch):
        return len(encode_image(tiny_model, _image(height, width), tile_scale(), batch=batch).tiles)

    assert pieces(2 * side, side + 1, 4) == pieces(side, side, 1) == 1
    assert pieces(2 * side + 1, side, 4) > 1
    assert pieces(2 * side, side, 3) > 1


def test_progress_counts_every_tile(tiny_model):
    calls = []

    encoded = encode_image(tiny_model, _image(150, 150), tile_scale(), on_progress=lambda *c: calls.append(c))

    assert calls[-1] == (len(encoded.tiles), len(encoded.tiles))
    assert [c[0] for c in calls] == sorted(c[0] for c in calls)


def test_cancelling_acts_within_one_batch(tiny_model):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(Cancelled):
        encode_image(tiny_model, _image(300, 300), tile_scale(), batch=2, should_stop=stop)

    assert len(asked) == 2


@pytest.mark.parametrize(
    ("prompt", "gray", "expected"),
    [
        ("cell nuclei", True, "tiles"),
        ("the left lung", False, "whole"),
        ("zebra crossing", True, "whole"),
        ("zebra crossing", False, "tiles"),
    ],
)
def test_the_scale_follows_the_concept_that_is_named(tiny_model, prompt, expected, gray):
    assert auto_scale(tiny_model, prompt, (100, 200), gray=gray).name == expected


def test_a_concept_with_a_side_is_seen_in_tiles_of_the_image_at_that_size(tiny_model):
    vessels = Concept(name="vessels", prompts=("vessels",), scale="tiles", side=128)
    tiny_model.config = tiny_model.config.model_copy(update={"concepts": (vessels,)})

    assert auto_scale(tiny_model, "vessels", (100, 64)) == tile_scale(1.28)
    assert known_concept(tiny_model, "the vessel") == vessels
    assert known_concept(tiny_model, "vessel walls") is None
