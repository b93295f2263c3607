"""What held-out images say of a model: gains, losses, noise, few images, and masks that nobody corrected."""

import itertools
import statistics

import pytest
from scipy import stats

from napari_amvlm.session.verdict import FEW_IMAGES_NOISE, NOISE_FLOOR, Verdict, judge, noise_of

UP, DOWN, LEVEL = [0.10, 0.12, 0.11, 0.09], [-0.10, -0.12, -0.11, -0.09], [0.002, -0.003, 0.001, 0.0]
SPREAD = [0.30, -0.25, 0.20, -0.15]
KINDS = {"up": UP, "down": DOWN, "level": LEVEL, "spread": SPREAD, "one up": [0.3], "one down": [-0.3], "none": []}


def _pairs(changes):
    return [(0.5, 0.5 + change) for change in changes]


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("up", Verdict.IMPROVED),
        ("down", Verdict.WORSE),
        ("level", Verdict.SAME),
        ("spread", Verdict.SAME),
        ("one up", Verdict.TOO_FEW),
        ("one down", Verdict.WORSE),
        ("none", Verdict.TOO_FEW),
    ],
)
def test_one_prompt(kind, verdict):
    judgement = judge({"nuclei": _pairs(KINDS[kind])})

    assert judgement.verdict is verdict
    assert judgement.prompts[0].images == len(KINDS[kind])


@pytest.mark.parametrize(("one", "other"), list(itertools.product(KINDS, KINDS)))
def test_two_prompts(one, other):
    judgement = judge({"nuclei": _pairs(KINDS[one]), "gland": _pairs(KINDS[other])})

    kinds = {one, other}
    if kinds & {"down", "one down"}:
        wanted = Verdict.WORSE
    elif "up" in kinds:
        wanted = Verdict.IMPROVED
    elif kinds & {"one up", "none"}:
        wanted = Verdict.TOO_FEW
    else:
        wanted = Verdict.SAME
    assert judgement.verdict is wanted
    assert set(judgement.lost) == {p for p, k in (("nuclei", one), ("gland", other)) if k in ("down", "one down")}


def test_the_largest_loss_is_named_first():
    judgement = judge({"a": _pairs(UP), "b": _pairs(DOWN), "c": _pairs([2 * change for change in DOWN])})

    assert judgement.lost == ["c", "b"]
    assert str(judgement).startswith("worse on c (-0.210, noise ")
    assert str(judgement).count("better on a (+0.105, noise ") == 1


def test_equal_scores_are_no_improvement():
    assert judge({"nuclei": [(0.8391, 0.8394)] * 12}).verdict is Verdict.SAME


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ([UP], []),
        ([LEVEL], []),
        ([[0.008, 0.004, 0.009, 0.003]], ["a"]),
        ([SPREAD], ["a"]),
        ([[-change for change in SPREAD]], []),
        ([SPREAD, DOWN], ["b"]),
        ([SPREAD, [0.3]], ["b"]),
        ([LEVEL, SPREAD], ["b"]),
    ],
)
def test_a_person_decides_of_losses_few_images_and_gains_within_the_noise(changes, asked):
    judgement = judge({prompt: _pairs(each) for prompt, each in zip("ab", changes, strict=False)})

    assert [each.prompt for each in judgement.unsettled] == asked
    assert judgement.for_a_person == bool(asked)


def test_a_person_decides_of_what_nothing_judges_and_not_of_what_is_better():
    assert judge({}).for_a_person
    assert not judge({"a": _pairs(UP), "b": _pairs(SPREAD)}).for_a_person


@pytest.mark.parametrize("number", [3, 4, 8, 30])
def test_the_noise_is_the_bound_of_a_paired_t_test(number):
    changes = [0.2 * ((7 * i) % 11 - 5) / 5 + 0.03 for i in range(number)]

    noise = noise_of(changes)

    # at the bound the one-sided p value is 5 %
    shifted = [change - statistics.mean(changes) + noise for change in changes]
    assert stats.ttest_1samp(shifted, 0.0, alternative="greater").pvalue == pytest.approx(0.05)


def test_the_noise_has_a_floor_and_a_rule_for_few_images():
    assert noise_of([0.001] * 20) == NOISE_FLOOR
    assert [noise_of(changes) for changes in ([], [0.0], [0.0, 0.0])] == [FEW_IMAGES_NOISE] * 3


def test_a_small_loss_on_one_image_is_no_loss():
    assert judge({"nuclei": _pairs(UP), "gland": [(0.80, 0.72)]}).verdict is Verdict.IMPROVED
    assert judge({"nuclei": _pairs(UP), "gland": [(0.80, 0.68)]}).verdict is Verdict.WORSE


def test_no_number_counts_as_nothing_found():
    judgement = judge({"nuclei": [(0.7, float("nan")), (0.7, 0.9), (0.7, 0.9), (0.7, float("nan"))]})

    assert judgement.prompts[0].after == pytest.approx(0.45)
    assert judgement.verdict is not Verdict.IMPROVED


def test_nothing_to_judge_on():
    assert judge({}).verdict is Verdict.TOO_FEW
    assert str(judge({})) == "not judged on any prompt"


def test_prompts_with_equally_few_images_are_named_together():
    judgement = judge({"a": [], "b": _pairs([0.3]), "c": [], "d": _pairs(UP)})

    assert str(judgement) == (
        "better on d (+0.105, noise 0.015); not judged on a, c (0 of 3 corrected held-out images); "
        "not judged on b (1 of 3 corrected held-out images)"
    )
