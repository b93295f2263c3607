"""Properties of what a person decides about masks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_amvlm.errors import LabelsError
from napari_amvlm.review import (
    OverlapRule,
    PixelState,
    carry_states,
    compose_classes,
    connected_objects,
    disputed_pixels,
    keep_numbers,
    locked_pixels,
    merge_objects,
    pixel_states,
    relabel,
    replace_region,
    separate_pieces,
    set_locked,
    split_at_line,
    split_by_probability,
    visible_objects,
)

SHAPE = (9, 11)
MASKS = arrays(np.bool_, SHAPE)
LABELS = arrays(np.int32, SHAPE, elements=st.integers(0, 5))
EVERY = settings(max_examples=150, deadline=None)


@given(MASKS, MASKS, MASKS)
@EVERY
def test_states_tell_the_three_kinds_apart(mask, before, reviewed):
    states = pixel_states(mask, before, reviewed)

    assert np.array_equal(states > PixelState.NEVER, reviewed)
    assert np.array_equal(states == PixelState.CORRECTED, reviewed & (mask != before))


@given(MASKS, MASKS, MASKS, MASKS)
@EVERY
def test_a_correction_is_remembered_while_the_pixel_keeps_its_value(first, proposed, second, reviewed):
    earlier = pixel_states(first, proposed, None)
    states = pixel_states(second, second, reviewed)

    carried = carry_states(states, second, earlier, first)

    assert np.array_equal(carried > 0, reviewed)
    assert np.array_equal(carried == PixelState.CORRECTED, reviewed & (first == second) & (first != proposed))


@given(LABELS, st.sets(st.integers(1, 5), min_size=1))
@EVERY
def test_merging_keeps_foreground_and_other_objects(labels, values):
    present = set(np.unique(labels).tolist())
    if not values <= present:
        with pytest.raises(LabelsError, match="no object"):
            merge_objects(labels, values)
        return

    merged = merge_objects(labels, values)

    chosen = np.isin(labels, list(values))
    assert np.array_equal(merged > 0, labels > 0)
    assert np.array_equal(merged[~chosen], labels[~chosen])
    assert set(merged[chosen].tolist()) == {min(values)}


@given(LABELS, st.integers(1, 5), st.integers(0, 9))
@EVERY
def test_relabelling_changes_that_object_alone_and_never_joins_two(labels, old, new):
    present = set(np.unique(labels).tolist())
    if old not in present or (new in present and new not in (0, old)):
        with pytest.raises(LabelsError):
            relabel(labels, old, new)
        return

    renamed = relabel(labels, old, new)

    assert np.array_equal(renamed == old, labels == old) or old != new
    assert (renamed[labels == old] == new).all()
    assert np.array_equal(renamed[labels != old], labels[labels != old])


@given(LABELS, st.sets(st.integers(1, 5)), st.sets(st.integers(1, 5)))
@EVERY
def test_objects_are_locked_unless_unlocked(labels, opened, closed):
    unlocked = set_locked(set_locked(frozenset(), opened, False), closed, True)

    assert unlocked == opened - closed
    assert np.array_equal(locked_pixels(labels, unlocked), (labels > 0) & ~np.isin(labels, list(opened - closed)))


@given(st.lists(MASKS, min_size=1, max_size=4), st.permutations(range(4)))
@EVERY
def test_classes_are_composed_by_the_rule(masks, order):
    named = {str(number): mask for number, mask in enumerate(masks)}
    values = {name: int(name) + 1 for name in named}
    priority = [str(number) for number in order if number < len(masks)]

    labels = compose_classes(named, values, rule=OverlapRule.PRIORITY, order=priority)

    wanted = np.zeros(SHAPE, int)
    for place in itertools.product(*map(range, SHAPE)):
        claims = [name for name in priority if named[name][place]]
        wanted[place] = values[claims[0]] if claims else 0
    assert np.array_equal(labels, wanted)
    assert np.array_equal(disputed_pixels(named), np.sum(masks, axis=0) > 1)


@given(st.lists(MASKS, min_size=2, max_size=4))
@EVERY
def test_the_smallest_mask_is_never_hidden(masks):
    named = {str(number): mask for number, mask in enumerate(masks)}
    values = {name: int(name) + 1 for name in named}

    labels = compose_classes(named, values)

    assert np.array_equal(labels > 0, np.logical_or.reduce(masks))
    sizes = sorted(mask.sum() for mask in masks)
    if sizes[0] < sizes[1]:
        smallest = min(named, key=lambda name: named[name].sum())
        assert (labels[named[smallest]] == values[smallest]).all()


def test_a_prompt_without_a_place_loses():
    everywhere = np.ones((1, 1), bool)

    labels = compose_classes(
        {"a": everywhere, "b": everywhere}, {"a": 1, "b": 2}, rule=OverlapRule.PRIORITY, order=["b"]
    )

    assert labels.tolist() == [[2]]


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(LabelsError, match="one shape"):
        compose_classes({"a": np.ones((1, 2), bool), "b": np.ones((2, 1), bool)}, {"a": 1, "b": 2})


def _dumbbell():
    rows, columns = np.ogrid[:30, :60]
    left = (rows - 15) ** 2 + (columns - 18) ** 2 <= 100
    right = (rows - 15) ** 2 + (columns - 40) ** 2 <= 144
    return np.where(left | right, 7, 0).astype(np.int32)


@given(st.integers(0, 29), st.integers(0, 29), st.integers(24, 33), st.integers(24, 33))
@EVERY
def test_a_line_across_parts_an_object_and_loses_no_pixel(top, bottom, start, end):
    labels = _dumbbell()
    labels[0, 0] = 3

    split = split_at_line(labels, 7, [(-2, start), (top, start), (bottom, end), (32, end)])

    assert np.array_equal(split > 0, labels > 0)
    assert split[0, 0] == 3
    parts = set(np.unique(split[labels == 7]).tolist())
    assert len(parts) >= 2
    assert 7 in parts
    assert (split == 7).sum() == max((split == part).sum() for part in parts)


def test_a_line_beside_an_object_is_told():
    with pytest.raises(LabelsError, match="does not part"):
        split_at_line(_dumbbell(), 7, [(0, 0), (29, 0)])
    with pytest.raises(LabelsError, match="two points"):
        split_at_line(_dumbbell(), 7, [(0, 0)])


def test_a_probability_with_two_tops_parts_an_object():
    labels = _dumbbell()
    rows, columns = np.ogrid[:30, :60]
    hills = [np.exp(-((rows - 15) ** 2 + (columns - centre) ** 2) / 80) for centre in (18, 40)]

    split = split_by_probability(labels, 7, np.maximum(*hills))

    assert np.array_equal(split > 0, labels > 0)
    assert set(np.unique(split).tolist()) == {0, 7, 8}
    assert split[15, 40] == 7
    assert split[15, 18] == 8
    assert connected_objects(split == 8).max() == 1


def test_a_probability_with_one_top_is_told():
    rows, columns = np.ogrid[:30, :60]

    with pytest.raises(LabelsError, match="one top"):
        split_by_probability(_dumbbell(), 7, np.exp(-((rows - 15) ** 2 + (columns - 30) ** 2) / 900))
    with pytest.raises(LabelsError, match="must have the shape"):
        split_by_probability(_dumbbell(), 7, np.ones((3, 3)))


def test_a_region_keeps_the_objects_that_stay_and_numbers_new_ones():
    objects = np.array([[1, 1, 2, 2, 0, 0, 0], [1, 1, 2, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]])
    mask = np.array([[0, 1, 1, 0, 0, 0, 1], [0, 1, 1, 1, 1, 0, 1], [1, 0, 0, 0, 0, 0, 0]], np.bool_)
    region = np.ones(objects.shape, np.bool_)
    region[:, 0] = False

    replaced = replace_region(objects, mask, region)

    assert replaced.tolist() == [[1, 1, 2, 0, 0, 0, 3], [1, 1, 2, 2, 2, 0, 3], [0, 0, 0, 0, 0, 0, 0]]
    assert replace_region(objects, ~region, region).tolist() == [[1, *[0] * 6], [1, *[0] * 6], [0] * 7]


def test_new_pixels_belong_to_the_object_that_they_touch_most():
    objects = np.array([[1, 0, 2], [0, 0, 2], [0, 0, 2]])
    everywhere = np.ones((3, 3), np.bool_)
    mask = np.array([[1, 1, 1], [0, 1, 1], [0, 1, 1]], np.bool_)

    assert replace_region(objects, mask, everywhere).tolist() == [[1, 2, 2], [0, 2, 2], [0, 2, 2]]


@given(LABELS, MASKS, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
@EVERY
def test_an_object_is_seen_beside_a_lock_as_a_whole_or_not_at_all(proposed, locked, least):
    seen = visible_objects(proposed, locked, least_visible=least)

    assert not seen[locked].any()
    for value in set(np.unique(proposed).tolist()) - {0}:
        own = proposed == value
        free = (own & ~locked).sum()
        assert (seen == value).sum() == (free if free and free >= least * own.sum() else 0)


@given(LABELS, st.sets(st.integers(1, 5)))
@EVERY
def test_every_piece_is_an_object_but_of_those_that_were_joined(labels, joined):
    separate = separate_pieces(labels, joined)

    assert np.array_equal(separate > 0, labels > 0)
    for value in set(np.unique(labels).tolist()) - {0}:
        numbers = np.unique(separate[labels == value]).tolist()
        assert value in numbers
        assert value not in joined or numbers == [value]
    again = separate_pieces(separate, joined)
    assert np.array_equal(again, separate)


@given(LABELS, LABELS)
@EVERY
def test_objects_keep_their_numbers_and_no_two_share_one(objects, before):
    kept = keep_numbers(objects, before)

    pairs = {(int(a), int(b)) for a, b in zip(objects.ravel(), kept.ravel(), strict=True)}
    assert len(pairs) == len({b for _, b in pairs}) == len({a for a, _ in pairs})
    assert np.array_equal(keep_numbers(before, before), before)


def test_numbers_that_do_not_fit_are_refused():
    labels = np.where(_dumbbell() > 0, 255, 0).astype(np.uint8)
    rows, columns = np.ogrid[:30, :60]
    hills = [np.exp(-((rows - 15) ** 2 + (columns - centre) ** 2) / 80) for centre in (18, 40)]

    with pytest.raises(LabelsError, match="int32"):
        split_by_probability(labels, 255, np.maximum(*hills))
