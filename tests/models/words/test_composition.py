"""Prompts with structure, out of the masks of plain words."""

from __future__ import annotations

import numpy as np
import pytest

from napari_amvlm.config import Concept, ModelConfig
from napari_amvlm.imaging.spine_levels import LEVELS
from napari_amvlm.models.words.composition import composition

_WORDS = ("lungs", "heart", "nuclei")
_CONFIG = ModelConfig(
    concepts=tuple(Concept(name=name, prompts=(name,), scale="whole", dice=0.9) for name in _WORDS), structure=True
)


def _boxes(*boxes, shape=(40, 60)):
    mask = np.zeros(shape, np.float32)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = 0.9
    return mask


_LUNGS = _boxes((5, 5, 35, 20), (5, 40, 30, 55))
_HEART = _boxes((20, 15, 30, 45))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("lungs and heart", (_LUNGS > 0) | (_HEART > 0)),
        ("the lungs together with the heart", (_LUNGS > 0) | (_HEART > 0)),
        ("lungs without the heart", (_LUNGS > 0) & (_HEART == 0)),
        ("lungs but not the heart", (_LUNGS > 0) & (_HEART == 0)),
        ("everything except the lungs", _LUNGS == 0),
        ("all except lungs and heart", (_LUNGS == 0) & (_HEART == 0)),
        ("everything that is not lungs", _LUNGS == 0),
        ("upper lungs", _boxes((5, 5, 15, 20), (5, 40, 15, 55)) > 0),
        ("the middle third of the lungs", _boxes((15, 5, 25, 20), (15, 40, 25, 55)) > 0),
        ("bottom part of the lungs", _boxes((25, 5, 35, 20), (25, 40, 30, 55)) > 0),
        ("largest lung", _boxes((5, 5, 35, 20)) > 0),
        ("the smallest of the lungs", _boxes((5, 40, 30, 55)) > 0),
        ("leftmost lung", _boxes((5, 5, 35, 20)) > 0),
        ("rightmost lung", _boxes((5, 40, 30, 55)) > 0),
        ("upper lungs and heart", (_boxes((5, 5, 15, 20), (5, 40, 15, 55)) > 0) | (_HEART > 0)),
    ],
)
def test_what_a_prompt_says_follows_from_its_words(prompt, expected):
    composed = composition(_CONFIG, prompt)
    masks = {"lungs": _LUNGS, "heart": _HEART}

    found = composed.compose([masks[word] for word in composed.words])

    np.testing.assert_array_equal(found >= 0.5, expected)


@pytest.mark.parametrize("prompt", ["lungs", "background", "lung tumour and heart", "lungs in a chest X-ray", "upper"])
def test_plain_words_and_what_was_not_taught_are_not_composed(prompt):
    assert composition(_CONFIG, prompt) is None


def test_a_part_of_nothing_is_nothing():
    for prompt in ("upper lungs", "largest lung"):
        assert not (composition(_CONFIG, prompt).compose([0 * _LUNGS]) >= 0.5).any()


def test_presence_is_that_of_what_is_wanted():
    assert composition(_CONFIG, "lungs without the heart").present([0.3, 0.9]) == 0.3
    assert composition(_CONFIG, "lungs and heart").present([0.3, 0.9]) == 0.9
    assert composition(_CONFIG, "everything except the lungs").present([0.01]) == 1


def _spine():
    """Return vertebrae, discs and canal of five levels, the lowest disc below the lowest body."""
    bodies = [(10 + 30 * level, 20, 30 + 30 * level, 50) for level in range(5)]
    discs = [(32 + 30 * level, 20, 38 + 30 * level, 50) for level in range(5)]
    canal = [(5, 60, 165, 70)]
    return [_boxes(*boxes, shape=(170, 100)) for boxes in (bodies, discs, canal)]


_SPINE = ModelConfig(
    concepts=tuple(
        Concept(name=name, prompts=(name,), scale="whole", dice=0.5)
        for name in ("vertebrae", "intervertebral discs", "spinal canal", *LEVELS)
    ),
    structure=True,
)


@pytest.mark.parametrize(("prompt", "row"), [("L5 vertebra", 140), ("L1 vertebra", 20), ("L5/S1 disc", 155)])
def test_levels_are_counted_from_below(prompt, row):
    found = composition(_SPINE, prompt).compose(_spine()) >= 0.5

    assert found[row, 30]
    assert found.sum() in (20 * 30, 6 * 30)


def test_levels_of_a_spine_that_is_cut_off_are_not_guessed():
    vertebrae, discs, canal = _spine()
    discs[150:] = 0

    assert not composition(_SPINE, "L5 vertebra").compose([vertebrae, discs, canal]).any()


def test_a_level_that_a_person_taught_is_left_to_the_model():
    concepts = tuple(c.model_copy(update={"dice": None}) if c.name == "L5 vertebra" else c for c in _SPINE.concepts)

    assert composition(_SPINE.model_copy(update={"concepts": concepts}), "L5 vertebra") is None


def test_the_first_of_the_sacrum_is_no_vertebra():
    vertebrae, discs, canal = _spine()
    vertebrae[162:168, 20:50] = 0.9

    assert (composition(_SPINE, "L5 vertebra").compose([vertebrae, discs, canal]) >= 0.5)[140, 30]


def test_a_body_in_two_pieces_is_one_and_two_that_have_grown_together_are_not_counted():
    vertebrae, discs, canal = _spine()
    vertebrae[140, 20:50] = 0
    broken = composition(_SPINE, "L5 vertebra").compose([vertebrae, discs, canal]) >= 0.5
    vertebrae[100:130, 20:50] = 0.9
    discs[100:130] = 0

    assert broken[132, 30]
    assert broken[148, 30]
    assert not composition(_SPINE, "L5 vertebra").compose([vertebrae, discs, canal]).any()
