"""Figures of simulated annotation: the minutes to a Dice, and how arms compare."""

import pytest

from training.runs.folder import RunFolder
from training.simulation.report import Round, minutes_to, reached, reached_lines, read_rounds, write_rounds


def _round(annotation, dice, number=0):
    return Round(number, 8 * number, 0, annotation, 1.0, 0.5, 0.25, dice, "serves")


def test_waiting_is_the_sum_of_its_parts():
    assert _round(3, 0.5).waiting == 1.75


@pytest.mark.parametrize(
    ("target", "wanted"),
    [(0.70, (0, 0)), (0.75, (10, 5)), (0.80, (10, 10)), (0.85, (30, 25)), (0.95, None)],
)
def test_minutes_to_a_dice(target, wanted):
    rounds = [_round(0, 0.7), _round(10, 0.8), _round(20, 0.8), _round(30, 0.9)]

    found = minutes_to(rounds, target)

    assert found == (None if wanted is None else pytest.approx(wanted))


def test_arms_are_compared_with_ours():
    arms = {
        "ours": [_round(0, 0.7), _round(10, 0.8)],
        "plain": [_round(0, 0.7), _round(20, 0.8)],
        "scratch": [_round(0, 0.1), _round(50, 0.5)],
    }

    figures = reached(arms, 0.75)

    assert figures["arms"]["plain"]["ratio"] == pytest.approx(0.5)
    assert figures["arms"]["scratch"] == {
        "minutes": None,
        "interpolated": None,
        "spent": 50,
        "best": 0.5,
        "ratio": pytest.approx(0.1),
    }
    ours, plain, scratch = reached_lines(figures)
    assert ours == "ours: best Dice 0.8000 in 10.0 minutes of annotation; 0.75 after 10.0 (interpolated 5.0)"
    assert plain.endswith("0.75 after 20.0 (interpolated 10.0); ours needs 0.50 of that")
    assert scratch.endswith("0.75 was not reached; ours needs below 0.10 of that")


def test_without_ours_there_is_no_ratio():
    figures = reached({"plain": [_round(0, 0.7), _round(20, 0.8)]}, 0.75)

    assert figures["arms"]["plain"]["ratio"] is None
    assert "ours" not in reached_lines(figures)[0]


def test_rounds_are_read_as_they_were_written(tmp_path):
    rounds = [_round(0, 0.7), _round(10, 0.8, 1)]

    write_rounds(RunFolder(tmp_path), rounds)

    assert read_rounds(RunFolder(tmp_path)) == rounds
    assert read_rounds(RunFolder(tmp_path / "nothing")) == []
