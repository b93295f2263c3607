"""Short memory and lost devices while learning: the run goes on with less, or on the processor, and gives all back."""

import gc

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.errors import OutOfMemoryError
from napari_amvlm.generators import drain
from napari_amvlm.learning import (
    LabelledImage,
    LearningData,
    StepReport,
    UnlabelledImage,
    fine_tune,
    run_state,
)
from napari_amvlm.learning.mean_teacher import MeanTeacher

NO_MEMORY = "CUDA out of memory. Tried to allocate 20.00 GiB."
LOST = "CUDA error: unspecified launch failure"


def _picture(seed):
    image = np.random.default_rng(seed).random((96, 96, 3)).astype(np.float32)
    return LabelledImage(f"p{seed}", image, {"nuclei": image[..., 0] > 0.6}, {"nuclei": "tiles"})


UNLABELLED = tuple(UnlabelledImage(f"u{i}", _picture(100 + i).image) for i in range(3))
DATA = LearningData((_picture(0), _picture(1)), UNLABELLED, (_picture(9),))


def _config(**changes):
    base = {"minutes": None, "steps": 6, "crop": 128, "labelled_batch": 3, "unlabelled_batch": 2, "validations": 2}
    return LearningConfig.model_validate(base | changes)


def _finish(model, config, *, data=DATA, tell=None):
    run = fine_tune(model, data, config, on_message=tell)
    reports = []
    return reports, drain(run, reports.append)


def _fail_above(monkeypatch, crops, side):
    """Have a step fail as torch does where memory is short, for more or larger crops than these."""
    step = MeanTeacher.step

    def limited(teacher, views, **options):
        if len(views.prompts) > crops or views.weak.shape[-1] > side:
            raise torch.OutOfMemoryError(NO_MEMORY)
        return step(teacher, views, **options)

    monkeypatch.setattr(MeanTeacher, "step", limited)


def _live_bytes():
    """Return the memory of all tensors that are in use."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor) and thing.device.type != "meta":
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


def test_short_memory_takes_fewer_then_smaller_crops_and_the_run_goes_on(tiny_model, monkeypatch):
    told = []
    before = {k: v.clone() for k, v in tiny_model.state_dict().items()}
    _fail_above(monkeypatch, crops=2, side=64)

    reports, result = _finish(tiny_model, _config(keep="last"), tell=told.append)

    assert [text.split("goes on with ")[1] for text in told] == ["2 crops at once.", "crops of 64x64 pixels."]
    assert [r.step for r in reports if isinstance(r, StepReport)] == [1, 2, 3, 4, 5, 6]
    assert not result.stopped
    assert not torch.equal(result.model.unet.head.weight, tiny_model.unet.head.weight)
    assert all(torch.equal(v, before[k]) for k, v in tiny_model.state_dict().items())


def test_a_run_without_unlabelled_crops_steps_down_too(tiny_model, monkeypatch):
    told = []
    _fail_above(monkeypatch, crops=1, side=1000)

    _, result = _finish(tiny_model, _config(unlabelled_batch=0, labelled_batch=2), tell=told.append)

    assert told == ["Memory ran short; learning goes on with 1 crop at once."]
    assert result.steps == 6


def test_short_memory_in_validation_takes_fewer_then_smaller_tiles(tiny_model):
    config = tiny_model.config.model_copy(update={"tile": 128, "overlap": 16})
    from napari_amvlm.models.build import build_model

    model = build_model(config, text_encoder=tiny_model.text_encoder, seed=0)
    told = []
    large = LearningData(DATA.labelled, (), (_large_picture(),))
    encode = type(model).encode_image

    def limited(self, images, whole):
        # Validation alone computes without gradients and outside of the student.
        if torch.is_inference_mode_enabled() and (len(images) > 1 or images.shape[-1] > 64):
            raise torch.OutOfMemoryError(NO_MEMORY)
        return encode(self, images, whole)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "encode_image", limited)
        _, result = _finish(model, _config(steps=2, crop=64), data=large, tell=told.append)

    assert [t.split("with ")[1] for t in told] == ["2 tiles at once.", "1 tile at once.", "tiles of 64x64 pixels."]
    assert result.before is not None


def _large_picture():
    image = np.random.default_rng(5).random((200, 220, 3)).astype(np.float32)
    return LabelledImage("large", image, {"nuclei": image[..., 0] > 0.6}, {"nuclei": "tiles"})


def test_too_little_for_a_single_small_crop_ends_the_run(tiny_model, monkeypatch):
    told = []
    _fail_above(monkeypatch, crops=0, side=0)

    with pytest.raises(OutOfMemoryError, match="not enough memory for this run; choose another device"):
        _finish(tiny_model, _config(), tell=told.append)

    assert told[-1] == "Memory ran short; learning goes on with crops of 64x64 pixels."


@pytest.mark.parametrize("how", ["end", "stop", "failure"])
def test_memory_is_given_back(tiny_model, monkeypatch, how):
    tiny_model.encode_text(["nuclei"])
    tiny_model.encode_text(["left lung"])
    before = _live_bytes()

    if how == "end":
        _, result = _finish(tiny_model, _config(steps=2, crop=64))
        del result
    elif how == "stop":
        run = fine_tune(tiny_model, DATA, _config(steps=500, crop=64))
        reports = [next(run) for _ in range(3)]
        assert _live_bytes() > before + 100_000
        run.close()
        del reports
    else:
        _fail_above(monkeypatch, crops=0, side=0)
        with pytest.raises(OutOfMemoryError):
            _finish(tiny_model, _config())

    # Embeddings of further wordings may have been cached.
    assert _live_bytes() <= before + 100_000


@pytest.mark.parametrize("after", [1, 4])
def test_a_lost_device_in_mid_run_falls_back_and_ends_as_if_it_had_not_been(tiny_model, monkeypatch, after):
    monkeypatch.setattr(run_state, "_SNAPSHOT_STEPS", 2)
    _, expected = _finish(tiny_model, _config())
    before = {k: v.clone() for k, v in tiny_model.state_dict().items()}
    step, calls, told = MeanTeacher.step, iter(range(1000)), list[str]()

    def losing(teacher, views, **options):
        if next(calls) == after:
            with torch.no_grad():
                for parameter in (*teacher.student.parameters(), *teacher.teacher.parameters()):
                    parameter.fill_(float("nan"))
            raise RuntimeError(LOST)
        return step(teacher, views, **options)

    monkeypatch.setattr(MeanTeacher, "step", losing)

    reports, result = _finish(tiny_model, _config(), tell=told.append)

    assert len(told) == 1
    assert told[0].startswith("cpu does not answer any more (CUDA error: unspecified launch failure)")
    assert told[0].endswith("Learning goes on with the processor.")
    assert [r.step for r in reports if isinstance(r, StepReport)][-1] == 6
    assert result.after == expected.after
    for name, value in expected.model.state_dict().items():
        assert torch.equal(result.model.state_dict()[name], value), name
    assert all(torch.equal(v, before[k]) for k, v in tiny_model.state_dict().items())


def test_a_keeper_is_asked_as_often_as_it_wants(tiny_model, monkeypatch):
    monkeypatch.setattr(run_state, "_SNAPSHOT_STEPS", 1)
    kept = []

    class Keeper:
        def load(self):
            return None

        def due(self, step):
            return step == 4

        def save(self, state):
            kept.append(state.progress.step)

    for _ in fine_tune(tiny_model, DATA, _config(), keeper=Keeper()):
        continue

    assert kept == [4]
