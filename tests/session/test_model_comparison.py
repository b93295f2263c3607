"""Two real models on images of a real project: masks in one code, Dice on reviewed pixels, and the model before."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_amvlm.config import Concept
from napari_amvlm.errors import Cancelled, ModelFileError, ProjectError
from napari_amvlm.learning.validation import validate
from napari_amvlm.metrics import dice
from napari_amvlm.models.catalog import FORMER
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.predictor import Predictor
from napari_amvlm.project import Answer, Project
from napari_amvlm.session import Comparer, earlier_model, parent_file
from napari_amvlm.session import model_comparison as comparing
from napari_amvlm.session.learning_data import labelled_image
from napari_amvlm.session.model_comparison import ACCEPTED, AFTER, BEFORE

SHAPE = (70, 90)


def _scale(prompt, shape, gray):
    return "tiles"


@pytest.fixture
def project(tmp_path):
    """Return a project of one image, accepted everywhere for one prompt and in its upper half for another."""
    rng = np.random.default_rng(3)
    with Project.create(tmp_path / "two.amvlm") as opened:
        record = opened.images.add_array(rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8), name="tile")
        opened.corrections.accept(record.id, "nuclei", Answer(rng.random(SHAPE) > 0.5, model=None, threshold=0.5))
        half = np.zeros(SHAPE, np.bool_)
        half[:35] = True
        opened.corrections.accept(
            record.id, "stroma", Answer(rng.random(SHAPE) > 0.5, region=half, model=None, threshold=0.5)
        )
        yield opened


@pytest.fixture
def later(tiny_checkpoint, tmp_path):
    """Return the file of a model that paints otherwise, learnt from the tiny one, which was taught stroma too."""
    model, info = load_model(tiny_checkpoint)
    stroma = Concept(name="stroma", prompts=("stroma",), scale="tiles")
    model.config = model.config.model_copy(update={"concepts": (*model.config.concepts, stroma)})
    with torch.no_grad():
        for value in model.unet.parameters():
            value.mul_(-1.0)
    path = tmp_path / "later.safetensors"
    save_model(model, path, name="later", licence="CC0-1.0", training_data="none", parent=info.sha256)
    return path


def _comparer(project, before, after):
    return Comparer(project, before, after, predictor_scales=_scale, device=torch.device("cpu"))


def test_each_model_paints_what_it_paints_alone(project, tiny_checkpoint, later):
    (record,) = project.images.all()
    correction = project.corrections.select(record.id, "nuclei")[0]

    found = _comparer(project, tiny_checkpoint, later).compare(record.id)

    accepted = project.corrections.mask(correction)
    code = found.masks["nuclei"]
    np.testing.assert_array_equal((code & ACCEPTED) > 0, accepted)
    for value, path in ((BEFORE, tiny_checkpoint), (AFTER, later)):
        alone = Predictor.from_file(path, device="cpu")
        alone.set_image(project.images.load(record))
        np.testing.assert_array_equal((code & value) > 0, alone.predict("nuclei", scale="tiles").mask(0.5))
    assert found.shape == SHAPE
    np.testing.assert_array_equal(found.pixels, project.images.load(record))


def test_only_reviewed_pixels_are_shown_and_scored(project, tiny_checkpoint, later):
    (record,) = project.images.all()

    found = _comparer(project, tiny_checkpoint, later).compare(record.id)

    assert not found.masks["stroma"][35:].any()
    assert found.new == {"stroma"}  # so that the earlier model has no mask of it
    assert not (found.masks["stroma"] & BEFORE).any()
    for prompt, code in found.masks.items():
        both = [dice((code & value) > 0, (code & ACCEPTED) > 0) for value in (BEFORE, AFTER)]
        assert found.score(prompt).after == pytest.approx(both[1])
        if prompt == "nuclei":
            assert found.score(prompt).before == pytest.approx(both[0])


def test_a_new_prompt_has_to_beat_what_the_untaught_network_finds_as_in_a_run(project, tiny_checkpoint, later):
    (record,) = project.images.all()
    image = labelled_image(project, record.id, predictor_scales=_scale)

    found = _comparer(project, tiny_checkpoint, later).compare(record.id)

    in_a_run = validate(load_model(tiny_checkpoint)[0], [image])
    assert in_a_run["stroma"][image.name] > 0
    assert found.score("stroma").before == pytest.approx(in_a_run["stroma"][image.name])


def test_prompts_that_neither_model_was_taught_are_not_compared(project, tiny_checkpoint):
    (record,) = project.images.all()
    comparer = _comparer(project, tiny_checkpoint, tiny_checkpoint)

    assert list(comparer.compare(record.id).masks) == ["nuclei"]

    project.corrections.reject(record.id, "nuclei")
    with pytest.raises(ProjectError, match="Nothing can be compared on tile: the model was not taught 'stroma'"):
        comparer.compare(record.id)


def test_a_large_image_is_shown_smaller_and_scored_whole(project, tiny_checkpoint, later, monkeypatch):
    (record,) = project.images.all()
    whole = _comparer(project, tiny_checkpoint, later).compare(record.id)
    monkeypatch.setattr(comparing, "LONGEST_SHOWN", 40)

    small = _comparer(project, tiny_checkpoint, later).compare(record.id)

    assert small.step == 3
    assert small.pixels.shape == (24, 30, 3)
    np.testing.assert_array_equal(small.masks["nuclei"], whole.masks["nuclei"][::3, ::3])
    assert small.scores == whole.scores


def test_it_stops_when_told(project, tiny_checkpoint, later):
    (record,) = project.images.all()

    with pytest.raises(Cancelled):
        _comparer(project, tiny_checkpoint, later).compare(record.id, should_stop=lambda: True)


def test_an_image_without_accepted_masks_is_refused(project, tiny_checkpoint, later):
    (record,) = project.images.all()
    for prompt in ("nuclei", "stroma"):
        project.corrections.reject(record.id, prompt)

    with pytest.raises(ProjectError, match="nothing is accepted on tile any more"):
        _comparer(project, tiny_checkpoint, later).compare(record.id)


def test_the_model_before_is_found_in_the_project_and_among_the_installed(project, tiny_checkpoint, later):
    base, child = load_model(tiny_checkpoint)[1], load_model(later)[1]
    first = project.models.add(later, child.parent, {}, "CC0-1.0")
    second = project.models.add(tiny_checkpoint, first.sha256, {}, "CC0-1.0")
    project.models.discard(first.id)

    from_installed = parent_file(project, first, [base])
    from_project = parent_file(project, second, [])

    assert from_installed.read_bytes() == tiny_checkpoint.read_bytes()
    assert from_project == first.path


def test_a_model_whose_origin_is_gone_has_nothing_to_be_compared_with(project, later):
    record = project.models.add(later, "0" * 64, {}, "CC0-1.0")

    for find in (parent_file, earlier_model):
        with pytest.raises(ModelFileError, match="neither in the project nor installed"):
            find(project, record, [])


def test_what_was_learnt_from_former_weights_is_compared_with_those_installed(project, tiny_checkpoint):
    model, base = load_model(tiny_checkpoint)
    path = project.models.new_path()
    told = {"name": "later", "licence": "CC0-1.0", "training_data": "none"}
    save_model(model, path, **told, parent="0" * 64, parent_title="tiny 0.9")
    record = project.models.add(path, "0" * 64, {}, "CC0-1.0")
    former = replace(record, parent=next(iter(FORMER)))

    found = earlier_model(project, record, [base])

    assert found.path == tiny_checkpoint
    assert "was learnt from former weights of tiny 0.9" in found.instead
    assert "the tiny 1 that is installed" in found.instead
    assert earlier_model(project, record, [replace(base, sha256="0" * 64)]) == (tiny_checkpoint, "")
    for missing, title in ((record, "tiny 0.9"), (former, "amvlm-open 0.2.0")):
        with pytest.raises(ModelFileError, match=f"learnt from, {title}, is neither"):
            parent_file(project, missing, [base])
