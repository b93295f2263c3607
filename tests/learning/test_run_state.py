"""A run that was stopped and went on is the run that was never interrupted."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.generators import drain
from napari_amvlm.learning import LabelledImage, LearningData, StepReport, UnlabelledImage, ValidationReport, fine_tune
from napari_amvlm.learning.budget import LearningBudget
from napari_amvlm.learning.crop_source import CropSource, Rounds
from napari_amvlm.learning.run_state import RunState
from napari_amvlm.models.build import build_model
from napari_amvlm.predictor import Predictor


class _Memory:
    """Keeps every state in memory, as copies."""

    def __init__(self):
        self.state: RunState | None = None

    def load(self):
        return self.state

    def due(self, step):
        return step % 2 == 0

    def save(self, state):
        copies = {name: value.detach().clone().contiguous() for name, value in state.tensors.items()}
        self.state = RunState(copies, state.progress)


def _data():
    chance = np.random.default_rng(0)
    images = chance.random((6, 80, 80, 3), dtype=np.float32)
    masks = images[..., 0] > 0.5
    labelled = tuple(
        LabelledImage(f"l{i}", images[i], {"nuclei": masks[i], "left lung": masks[i]}, {"left lung": "whole"})
        for i in range(2)
    )
    unlabelled = (
        UnlabelledImage("u2", images[2]),
        UnlabelledImage("u3", images[3], "dark nuclei", "tiles"),
        UnlabelledImage("u4", images[4], "left lung", "whole"),
    )
    return LearningData(labelled, unlabelled, (LabelledImage("v", images[5], {"nuclei": masks[5]}, {}),))


def _config(**changes):
    base = {"minutes": None, "steps": 9, "crop": 64, "labelled_batch": 2, "unlabelled_batch": 2, "validations": 3}
    return LearningConfig.model_validate(base | changes)


def _finish(model, keeper, should_stop, *, data=None, **changes):
    reports = []
    run = fine_tune(model, data or _data(), _config(**changes), should_stop=lambda: should_stop(reports), keeper=keeper)
    return reports, drain(run, reports.append)


def _never(reports):
    return False


def _at(step):
    return lambda reports: any(isinstance(r, StepReport) and r.step >= step for r in reports)


@pytest.fixture(scope="module")
def never_stopped(tiny_config, text_encoder):
    """Return a function that gives the reports and the result of a run that keeps the best or the last model."""
    model = build_model(tiny_config, text_encoder=text_encoder, seed=0)
    return functools.cache(lambda keep: _finish(model, None, _never, keep=keep))


@pytest.mark.parametrize("stop_at", [1, 3, 6])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_it_ends_with_the_same_weights_and_scores(tiny_model, never_stopped, stop_at, keep):
    whole_reports, whole = never_stopped(keep)
    keeper = _Memory()

    first_reports, first = _finish(tiny_model, keeper, _at(stop_at), keep=keep)
    second_reports, second = _finish(tiny_model, keeper, _never, keep=keep)

    assert first.stopped
    assert not second.stopped
    assert (second.before, second.after, second.steps) == (whole.before, whole.after, whole.steps)
    assert all(torch.equal(a, b) for a, b in _pairs(second, whole))
    assert _steps(first_reports + second_reports) == _steps(whole_reports)
    assert _scores(first_reports + second_reports) == _scores(whole_reports)


def test_a_killed_run_goes_on_from_the_last_state_that_was_kept(tiny_model, never_stopped):
    _, whole = never_stopped("best")
    keeper = _Memory()
    run = fine_tune(tiny_model, _data(), _config(), keeper=keeper)
    while not (isinstance(report := next(run), StepReport) and report.step == 6):
        pass
    run.close()

    reports, second = _finish(tiny_model, keeper, _never)

    assert _steps(reports)[0][0] == 5
    assert all(torch.equal(a, b) for a, b in _pairs(second, whole))


def test_another_state_gives_other_weights(tiny_model, never_stopped):
    keeper = _Memory()
    _finish(tiny_model, keeper, _at(3))
    assert keeper.state is not None
    for name, value in keeper.state.tensors.items():
        if name.startswith("teaching.optimiser.") and name.endswith("exp_avg"):
            value.zero_()

    _, whole = never_stopped("best")
    _, second = _finish(tiny_model, keeper, _never)

    assert not all(torch.equal(a, b) for a, b in _pairs(second, whole))


def test_the_last_teacher_is_kept_where_the_scored_images_must_not_choose(tiny_model):
    # What the model says now is called right, so that whatever is learnt makes it worse.
    predictor, watched = Predictor(tiny_model), _data().validation[0]
    predictor.set_image(watched.image)
    answers = {prompt: predictor.predict(prompt, scale="tiles").mask() for prompt in watched.masks}
    data = replace(_data(), validation=(replace(watched, masks=answers, scales=dict.fromkeys(answers, "tiles")),))

    reports, result = _finish(tiny_model, None, _never, data=data, keep="last", learning_rate=0.5)

    scores = [r.dice for r in reports if isinstance(r, ValidationReport)]
    assert result.after == scores[-1] < max(scores)


def test_an_unlabelled_image_is_asked_its_own_prompt_at_its_own_scale(tiny_model):
    source = CropSource(_data(), _config(), tiny_model.config, torch.device("cpu"))
    asked = {True: set(), False: set()}
    for _ in range(60):
        views = source.draw()
        asked[bool(views.whole[0])] |= set(views.prompts[2:])

    # "nuclei" may be said in another wording that the model knows.
    assert asked[False] == {"nuclei", "cell nuclei", "dark nuclei"}
    assert asked[True] == {"left lung"}


def test_rounds_draw_all_before_any_again_and_can_be_kept():
    rounds = Rounds(5, torch.Generator().manual_seed(0))
    assert sorted(rounds.draw() for _ in range(5)) == [0, 1, 2, 3, 4]
    drawn = [rounds.draw() for _ in range(2)]
    other = Rounds(5, torch.Generator().manual_seed(9))
    other.restore(rounds.state())

    assert [other.draw() for _ in range(3)] == [rounds.draw() for _ in range(3)]
    assert len(set(drawn)) == 2


def test_the_time_used_before_counts():
    budget = LearningBudget(LearningConfig(minutes=2))
    budget.resume(7, 60)

    assert budget.step == 7
    assert 0.5 <= budget.fraction < 0.6


def _pairs(one, other):
    return zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)


def _scores(reports):
    return [r.dice for r in reports if isinstance(r, ValidationReport)]


def _steps(reports):
    return [(r.step, r.loss) for r in reports if isinstance(r, StepReport)]
