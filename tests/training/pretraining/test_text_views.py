"""Views of sentences: the sides change with the image, and the meaning stays."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.pretraining.text_views import drop_words, swap_sides


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("left lung", "right lung"),
        ("Right lung, LEFT lobe", "Left lung, RIGHT lobe"),
        ("left-sided infection of the right lower lobe", "right-sided infection of the left lower lobe"),
        ("the bright cleft", "the bright cleft"),
        ("nuclei", "nuclei"),
    ],
)
def test_sides_change_places(text, mirrored):
    assert swap_sides(text) == mirrored


@given(st.lists(st.sampled_from(["left", "Right", "LEFT", "lung", "upright", "and", "right,"]), max_size=8))
def test_mirroring_twice_gives_the_sentence_back(words):
    text = " ".join(words)

    assert swap_sides(swap_sides(text)) == text


def test_only_words_that_say_nothing_are_dropped():
    text = "a histology image of the left lung, with many nuclei"
    views = {drop_words(text, random.Random(seed)) for seed in range(30)}

    assert len(views) > 5
    assert all({"histology", "left", "lung,", "many", "nuclei"} <= set(view.split()) for view in views)
    assert all(set(view.split()) <= set(text.split()) for view in views)


def test_a_sentence_of_such_words_alone_stays():
    assert drop_words("the image", random.Random(0), share=1) == "the image"
