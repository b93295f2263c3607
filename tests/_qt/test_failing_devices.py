"""Short memory and a lost device in the docks: it is told, the work goes on, and the served model is as it was."""

import numpy as np
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.learning.mean_teacher import MeanTeacher
from napari_amvlm.session.learning_run import LearningRun

SHORT = LearningConfig(minutes=None, steps=4, crop=64, labelled_batch=2, unlabelled_batch=1, validations=1)
NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
LOST = RuntimeError("CUDA error: unspecified launch failure")


def _fail_first(error, function):
    """Return `function`, which fails the first time, as torch does."""
    left = iter([error])

    def failing(*arguments, **options):
        if next(left, None) is not None:
            raise error
        return function(*arguments, **options)

    return failing


def _accepted(bench):
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    project = bench.workspace.project
    project.images.set_held_out(project.images.all()[0].id, False)


def _learn(bench):
    """Learn to the end, and return what the dock said."""
    said = []
    say = bench.learn.say
    bench.learn.say = lambda level, text: (said.append(text), say(level, text))
    bench.learn.make_run = lambda project, predictor, _config, **options: LearningRun(
        project, predictor, SHORT, **options
    )
    bench.learn.start()
    bench.idle()
    return said


def test_learning_with_short_memory_is_told_and_ends_well(bench, monkeypatch):
    _accepted(bench)
    before = bench.workspace.served_key()
    monkeypatch.setattr(MeanTeacher, "step", _fail_first(NO_MEMORY, MeanTeacher.step))

    said = _learn(bench)

    assert "Memory ran short; learning goes on with 2 crops at once." in said
    assert bench.learn.outcome is not None
    assert bench.workspace.project.runs.all()[-1].state == "finished"
    assert bench.workspace.served_key() == before


def test_a_device_that_is_lost_while_learning_is_told_and_the_run_ends_well(bench, monkeypatch):
    _accepted(bench)
    before = {name: value.clone() for name, value in bench.workspace.predictor.model.state_dict().items()}
    monkeypatch.setattr(MeanTeacher, "step", _fail_first(LOST, MeanTeacher.step))

    said = _learn(bench)

    assert any(text.endswith("Learning goes on with the processor.") for text in said)
    assert bench.learn.outcome is not None
    served = bench.workspace.predictor.model.state_dict()
    assert all(torch.equal(served[name], value) for name, value in before.items())


def test_short_memory_and_a_lost_device_while_predicting_are_told_and_the_mask_comes(bench):
    said = []
    bench.workspace.said.connect(lambda level, text: said.append(text) if level == "warning" else None)
    model = bench.workspace.predictor.model
    for error in (NO_MEMORY, LOST):
        model.image_encoder.register_forward_pre_hook(_fail_first(error, lambda *_: None))

    bench.run("nuclei")

    assert [text.split(";")[0].split(" (")[0] for text in said] == ["Memory ran short", "cpu does not answer any more"]
    assert bench.workspace.predictor.model is model
    assert np.isfinite(bench.annotate.annotation().results["nuclei"].prediction.probability).all()
    assert "slide \N{MIDDLE DOT} nuclei" in bench.viewer.layers
