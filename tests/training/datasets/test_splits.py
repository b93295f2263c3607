"""Choosing labelled, held-out and mismatched images: nested, by subject, and never an image's own text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_amvlm.errors import DatasetError
from training.datasets.splits import SplitConfig, another_for_each, held_out_subjects, pick_labelled

_names = st.sets(st.text("abcdef012", min_size=1, max_size=6), min_size=1, max_size=30)


@given(_names, st.integers(0, 5), st.floats(1, 100), st.floats(1, 100))
def test_a_smaller_share_is_part_of_a_larger_one(names, seed, one, other):
    small, large = (set(pick_labelled(names, f"{share}%", pick="seed", seed=seed)) for share in sorted((one, other)))

    assert small <= large <= names
    assert small


def test_published_fractions_of_monuseg():
    names = [f"image{i}" for i in range(24)]

    counts = [len(pick_labelled(names, f"{s}%", pick="seed", seed=0)) for s in (1, 10, 25, 50, 100)]

    assert counts == [1, 2, 6, 12, 24]


def test_the_seed_decides_which_and_the_name_decides_the_first():
    names = [f"image{i:02}" for i in range(24)]

    assert pick_labelled(names, 6, pick="seed", seed=0) != pick_labelled(names, 6, pick="seed", seed=1)
    assert pick_labelled(reversed(names), 2, pick="name", seed=1) == ["image00", "image01"]


def test_more_labels_than_images_are_refused():
    with pytest.raises(DatasetError, match="3 labelled images are wanted, but there are 2 training images"):
        pick_labelled(["a", "b"], 3, pick="seed", seed=0)


def test_labelled_images_can_be_named():
    config = SplitConfig.model_validate({"labels": ["c", "a"]})

    assert pick_labelled(["a", "b", "c"], config.labels, pick="seed", seed=0) == ["a", "c"]
    with pytest.raises(DatasetError, match="no training image 'd' to take as labelled; there are a, b, c"):
        pick_labelled(["a", "b", "c"], ("d",), pick="seed", seed=0)


@pytest.mark.parametrize("labels", [(), ("a", "a")])
def test_names_that_are_none_or_come_twice_are_refused(labels):
    with pytest.raises(ValidationError, match="names of labelled images, each once"):
        SplitConfig(labels=labels)


@pytest.mark.parametrize("labels", [0, "0%", "120%", "half", "-5%"])
def test_labels_that_mean_nothing_are_refused(labels):
    with pytest.raises(ValidationError, match=r"labelled image|expected labels"):
        SplitConfig(labels=labels)


@given(
    st.sets(st.integers(0, 999), min_size=2, max_size=60),
    st.sampled_from(["hash", "seed", "fold"]),
    st.floats(0.05, 0.95),
)
def test_some_subjects_are_held_out_and_some_are_not(subjects, how, share):
    config = SplitConfig.model_validate({"holding_out": how, "validation_share": share})
    names = {f"s{i}" for i in subjects}

    held_out = held_out_subjects(names, config, "X")

    assert 0 < len(held_out) < len(names)
    assert held_out < names


def test_by_hash_a_subject_keeps_its_part_when_others_come():
    few, many = [f"s{i}" for i in range(40)], [f"s{i}" for i in range(200)]

    config = SplitConfig()

    assert held_out_subjects(few, config, "X") == held_out_subjects(many, config, "X") & set(few)
    assert held_out_subjects(many, config, "X") != held_out_subjects(many, SplitConfig(validation_seed=1), "X")


@pytest.mark.parametrize(("count", "share", "folds"), [(24, 1 / 3, 3), (7, 0.2, 5), (3, 0.1, 3)])
def test_in_folds_every_subject_is_held_out_once(count, share, folds):
    names = [f"s{i}" for i in range(count)]
    config = SplitConfig(holding_out="fold", validation_share=share)

    parts = [held_out_subjects(names, config, "X", seed=seed) for seed in range(folds)]

    assert sorted(name for part in parts for name in part) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_subject_cannot_be_split():
    with pytest.raises(DatasetError, match="images of 1 subject"):
        held_out_subjects(["s", "s"], SplitConfig(), "X")


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(0, 3))
def test_every_image_gets_another_text_where_there_are_enough(texts, seed):
    own = {f"image{i}": f"text {t}" for i, t in enumerate(texts)}

    given_texts = another_for_each(own, seed=seed)

    assert sorted(given_texts.values()) == sorted(own.values())
    if 2 * max(texts.count(t) for t in texts) <= len(texts):
        assert all(given_texts[name] != own[name] for name in own)
