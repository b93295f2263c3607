"""Every method: its losses are finite, it goes on where it was stopped, and it learns what discs are."""

import dataclasses

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.device import bounded_threads
from napari_amvlm.errors import InputError, ModelFileError
from napari_amvlm.metrics import dice
from tests.training.methods.conftest import WIDTHS, disc_image
from training.methods import METHODS, NOT_RUN, method_called
from training.methods.train import train
from training.runs.published import DICE

_CPU = torch.device("cpu")
_SAM = ("semisam", "knowsam", "cpc-sam")


@pytest.fixture(autouse=True)
def _one_thread():
    with bounded_threads(1):
        yield


@pytest.fixture(params=sorted(METHODS))
def method(request, tiny_sam):
    return method_called(request.param, {"sam": str(tiny_sam)} if request.param in _SAM else {})


def _config(steps, **changes):
    values = {"crop": 64, "labelled_batch": 2, "unlabelled_batch": 2, "learning_rate": 5e-3, "ema_decay": 0.8}
    return LearningConfig.model_validate({"minutes": None, "steps": steps, **values, **changes})


class _Keeper:
    """Keeps the state after one step, as files do: copies."""

    def __init__(self, after, kept=None):
        self._after, self.kept = after, kept

    def load(self):
        return self.kept

    def due(self, step):
        return step == self._after

    def save(self, state):
        self.kept = type(state)({k: v.clone() for k, v in state.tensors.items()}, state.progress)


def test_losses_are_finite_and_reach_what_predicts(method, views):
    torch.manual_seed(0)
    network = method.build(1, WIDTHS)
    for time in (0.0, 0.9):
        losses = method.losses(network.train(), views, time)
        assert "supervised" in losses
        assert all(bool(value.isfinite()) for value in losses.values())
        torch.stack(list(losses.values())).sum().backward()
        method.after_step(network, time)
    learnt = [p for p in method.predictor(network).parameters() if p.requires_grad]
    assert sum(p.grad is not None and bool(p.grad.isfinite().all()) for p in learnt) > len(learnt) / 3
    with torch.no_grad():
        assert method.predictor(network.eval())(views.weak).shape == (4, 1, 32, 32)


def test_the_supervised_loss_balances_classes_as_configured(method, views):
    if method.title == "BCP":
        pytest.skip("it begins with mixtures of labelled crops, in a loss of its own without weights of classes")
    rare = dataclasses.replace(views, target=torch.zeros_like(views.target))
    rare.target[..., :4, :4] = 1
    torch.manual_seed(0)
    network = method.build(1, WIDTHS).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # a fresh SAM says 0.5 everywhere

    def loss(balance):
        torch.manual_seed(1)
        with torch.no_grad():
            found = method.losses(network, dataclasses.replace(rare, balance=balance), 0.0)
        return float(found["supervised"])

    assert loss(1.0) != pytest.approx(loss(0.0), abs=1e-6)


def test_a_stopped_run_ends_with_the_weights_of_an_uninterrupted_one(method, discs, text_encoder):
    def run(keeper):
        how = {"masks": ("discs",), "widths": WIDTHS, "text_encoder": text_encoder}
        return train(method, discs, _config(3, crop=64), _CPU, keeper=keeper, **how)[0]

    first = _Keeper(2)
    whole = run(first)
    assert first.kept is not None
    rest = run(_Keeper(99, first.kept))

    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(METHODS) - set(_SAM)))
def test_it_learns_discs(name, discs, text_encoder):
    method = method_called(name)
    how = {"masks": ("discs",), "widths": (8, 16, 16, 16, 16), "text_encoder": text_encoder}

    network, steps = train(method, discs, _config(60), _CPU, **how)

    image, mask = disc_image(99)
    predictor = method.predictor(network)
    if method.reads_text:
        predictor.sentence = text_encoder.sentence(["discs, picture 0"])
    with torch.no_grad():
        found = predictor(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert steps == 60
    assert float(dice(np.asarray(found[0, 0] >= 0), mask)) > 0.8


def test_each_says_where_it_is_defined():
    assert all(kind.source and kind.title for kind in METHODS.values())
    titles = {kind.title for kind in METHODS.values()} | {"Mean Teacher", "MGCA", "DuSSS", "AMVLM"}
    assert set(DICE["QaTa-COV19"]) <= titles
    assert {"BiomedParse", "LA-VLM"} == set(NOT_RUN)


def test_a_setting_of_another_method_is_refused_and_its_owner_named():
    with pytest.raises(InputError, match=r"'bcp' has no setting 'temperature', which belongs to mc-net; its own are"):
        method_called("bcp", {"temperature": 0.1})
    with pytest.raises(InputError, match="There is no method 'nn-unet'; choose one of: u-net"):
        method_called("nn-unet")


@pytest.mark.parametrize("name", _SAM)
def test_without_weights_of_sam_one_sentence_says_so(name, tmp_path):
    with pytest.raises(ModelFileError, match=r"needs the weights of SAM.*set `sam` to a folder"):
        method_called(name, {"sam": str(tmp_path)}).build(1, WIDTHS)


def test_cpc_sam_asks_one_thing(tiny_sam):
    with pytest.raises(InputError, match="segments one thing, but 19 are asked"):
        method_called("cpc-sam", {"sam": str(tiny_sam)}).build(19, WIDTHS)
