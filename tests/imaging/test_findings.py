"""Captions in QaTa-COV19's grammar: every sentence of it, the published misspellings, and any other text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_amvlm.imaging.findings import ZONES, Finding, parse_finding

_WORDS = ("one", "two", "three", "four", "five", "six")
_ALL = ZONES
_zones = st.sets(st.sampled_from(ZONES), min_size=1).map(lambda found: tuple(z for z in ZONES if z in found))


def _said(zones: tuple[str, ...], side: str) -> str:
    return f"{'all' if len(zones) == 3 else ' '.join(zones)} {side} lung"


def _sentence(areas: int, left: tuple[str, ...], right: tuple[str, ...]) -> str:
    laterality = "Bilateral" if left and right else "Unilateral"
    where = " and ".join(_said(zones, side) for zones, side in ((left, "left"), (right, "right")) if zones)
    return f"{laterality} pulmonary infection, {_WORDS[areas - 1]} infected area{'s' * (areas > 1)}, {where}."


@given(st.integers(1, 6), st.one_of(st.just(()), _zones), _zones, st.booleans())
def test_every_sentence_of_the_grammar_is_understood(
    areas: int, one: tuple[str, ...], other: tuple[str, ...], mirrored: bool
) -> None:
    left, right = (other, one) if mirrored else (one, other)

    found = parse_finding(_sentence(areas, left, right))

    assert found == Finding("pulmonary infection", "bilateral" if left and right else "unilateral", areas, left, right)


@given(st.integers(1, 6), _zones, _zones, st.data())
def test_a_missing_space_or_two_swapped_letters_in_a_long_word_change_nothing(
    areas: int, left: tuple[str, ...], right: tuple[str, ...], data: st.DataObject
) -> None:
    sentence = _sentence(areas, left, right)
    spaces = [i for i, c in enumerate(sentence) if c == " " and sentence[i - 1].isalpha()]
    gone = data.draw(st.sampled_from(spaces))
    inside = data.draw(st.integers(1, len("pulmonary") - 2))
    start = sentence.index("pulmonary")
    letters = list(sentence)
    letters[start + inside], letters[start + inside + 1] = letters[start + inside + 1], letters[start + inside]
    damaged = "".join(letters[:gone] + letters[gone + 1 :])

    assert parse_finding(damaged) == parse_finding(sentence)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    found = parse_finding(text)

    assert found is None or (found.areas is None or found.areas >= 0)


_TWO = "Bilateral pulmonary infection, two infected areas,"


@pytest.mark.parametrize(
    ("caption", "areas", "left", "right"),
    [
        (f"{_TWO} midlle lower left lung and all right lung.", 2, ("middle", "lower"), _ALL),
        (f"{_TWO.replace(' two', 'two')}upper leftlung andlower right lung", 2, ("upper",), ("lower",)),
        (f"{_TWO} left upper lung and right lower lung.", 2, ("upper",), ("lower",)),
        (f"{_TWO.replace('two', '3')} left lung upper, right lung middle", 3, ("upper",), ("middle",)),
        (f"{_TWO.replace(',', '')} upper left lung lower right lung", 2, ("upper",), ("lower",)),
        (f"{_TWO.replace(',', '')} left lung upper right lung lower", 2, ("upper",), ("lower",)),
        (f"{_TWO} middle left and right lung", 2, ("middle",), ("middle",)),
        (f"{_TWO} upper and middle left lung and right lung lower", 2, ("upper", "middle"), ("lower",)),
        ("Infection of the left lung", None, _ALL, ()),
    ],
)
def test_published_misspellings_and_swapped_words(
    caption: str, areas: int | None, left: tuple[str, ...], right: tuple[str, ...]
) -> None:
    found = parse_finding(caption)

    assert found is not None
    assert (found.concept, found.areas, found.left, found.right) == ("pulmonary infection", areas, left, right)


@pytest.mark.parametrize("caption", ["No pulmonary infection.", "no infection", "Without pulmonray infection"])
def test_a_denied_infection_has_no_area_and_no_zone(caption: str) -> None:
    assert parse_finding(caption) == Finding("pulmonary infection", None, 0, (), ())


@pytest.mark.parametrize("caption", ["", "   ", "Normal chest radiograph under bright light.", "7", "bone tone"])
def test_what_is_not_of_the_grammar_is_nothing(caption: str) -> None:
    assert parse_finding(caption) is None
