import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.errors import Cancelled, NotEnoughDataError, ProjectError, StorageError
from napari_amvlm.generators import drain
from napari_amvlm.predictor import Predictor
from napari_amvlm.project import Answer, Project
from napari_amvlm.session import Verdict, changed_images, judged_run, keep_model, learning_data, learning_run, start_run

SHAPE = (40, 50)


def _pixels(number):
    return np.random.default_rng(number).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


def _mask(number):
    return np.random.default_rng([number, 1]).random(SHAPE) > 0.5


def _scale(prompt, shape, gray):
    assert shape == SHAPE
    return "whole" if "lung" in prompt or gray else "tiles"


@pytest.fixture
def annotated(project):
    """Return a project of seven images; five are accepted for "nuclei", the fourth of them is held out."""
    for number in range(7):
        record = project.images.add_array(_pixels(number), name=f"image {number}")
        if number < 5:
            project.corrections.accept(record.id, "nuclei", Answer(_mask(number), model=None, threshold=0.5))
    return project


def test_accepted_held_out_and_unlabelled_images_go_where_they_belong(annotated):
    data = learning_data(annotated, predictor_scales=_scale)

    assert [image.name for image in data.labelled] == ["image 0", "image 1", "image 2", "image 4"]
    assert [image.name for image in data.validation] == ["image 3"]
    assert [image.name for image in data.unlabelled] == ["image 5", "image 6"]
    assert data.prompts == ("nuclei",)


def test_images_are_scaled_to_one_and_masks_are_those_accepted(annotated):
    first = learning_data(annotated, predictor_scales=_scale).labelled[0]

    assert first.image.dtype == np.float32
    np.testing.assert_allclose(first.image, _pixels(0) / 255, atol=1e-6)
    assert np.array_equal(first.masks["nuclei"], _mask(0))
    assert first.reviewed is None


def test_every_prompt_has_its_scale(annotated):
    annotated.corrections.accept(1, "left lung", Answer(_mask(9)))

    data = learning_data(annotated, predictor_scales=_scale)

    assert data.labelled[0].scales == {"nuclei": "tiles", "left lung": "whole"}
    assert data.prompts == ("nuclei", "left lung")


def test_the_scale_is_chosen_by_the_colours_too_as_in_prediction(project):
    for number, array in enumerate((_pixels(0), _pixels(0)[..., 0])):
        record = project.images.add_array(array, name=str(number))
        project.corrections.accept(record.id, "glands", Answer(_mask(number)))

    data = learning_data(project, predictor_scales=_scale)

    assert [image.scales["glands"] for image in data.labelled] == ["tiles", "whole"]


def test_a_held_out_image_is_never_learnt_from(annotated):
    annotated.corrections.reject(4, "nuclei")

    data = learning_data(annotated, predictor_scales=_scale)

    assert data.validation == ()
    assert "image 3" not in [image.name for image in (*data.labelled, *data.unlabelled)]


def test_prompts_reviewed_in_different_regions_are_one_image(annotated):
    region = np.zeros(SHAPE, bool)
    region[:10] = True
    annotated.corrections.accept(1, "gland", Answer(_mask(8), reviewed=region))
    annotated.corrections.accept(4, "gland", Answer(_mask(9), reviewed=region))

    data = learning_data(annotated, predictor_scales=_scale)

    first, held_out = data.labelled[0], data.validation[0]
    assert (len(data.labelled), len(data.validation)) == (4, 1)
    for image in (first, held_out):
        assert set(image.masks) == {"nuclei", "gland"}
        assert image.reviewed_for("nuclei") is None
        assert np.array_equal(image.reviewed_for("gland"), region)


def test_a_scale_chosen_by_hand_is_learnt_at(annotated):
    annotated.corrections.accept(1, "nuclei", Answer(_mask(1), model=None, threshold=None, scale="whole"))

    data = learning_data(annotated, predictor_scales=_scale)

    assert [image.scales["nuclei"] for image in data.labelled] == ["whole", "tiles", "tiles", "tiles"]


def test_an_earlier_run_can_be_read_again_whatever_came_since(annotated):
    before = learning_data(annotated, predictor_scales=_scale)
    run = start_run(annotated, LearningConfig(minutes=None, steps=3), None, before)
    annotated.corrections.accept(1, "nuclei", Answer(_mask(40)))
    annotated.corrections.accept(6, "gland", Answer(_mask(41)))
    annotated.corrections.reject(2, "nuclei")
    annotated.images.add_array(_pixels(99), name="image 0")

    after = learning_data(annotated, predictor_scales=_scale, run=run)

    assert after.entries == before.entries
    for kind in ("labelled", "validation", "unlabelled"):
        ours, theirs = getattr(before, kind), getattr(after, kind)
        assert [image.name for image in ours] == [image.name for image in theirs]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(ours, theirs, strict=True))
    for ours, theirs in zip(before.labelled, after.labelled, strict=True):
        assert np.array_equal(ours.masks["nuclei"], theirs.masks["nuclei"])


def test_scores_of_single_images_are_kept_worst_first(annotated, tiny_model):
    from napari_amvlm.learning.reports import FineTuneResult

    for number in range(7, 13):
        record = annotated.images.add_array(_pixels(number), name="twin")
        annotated.corrections.accept(record.id, "nuclei", Answer(_mask(number)))
    data = learning_data(annotated, predictor_scales=_scale)
    run = start_run(annotated, LearningConfig(minutes=None, steps=3), None, data)
    names = [image.name for image in data.validation]
    scores = {"nuclei": {names[0]: (0.5, 0.9), names[1]: (0.6, 0.2)}}
    result = FineTuneResult(tiny_model, 0.55, 0.55, 3, 1.0, False, scores=scores)

    keep_model(annotated, result, None, ["nuclei"], run)

    found = annotated.runs.scores(run.id)
    held_out = [record.id for record in annotated.images.held_out()]
    assert len(names) == 2
    assert [(s.image_id, s.before, s.after) for s in found] == [(held_out[1], 0.6, 0.2), (held_out[0], 0.5, 0.9)]


@pytest.fixture
def judged(annotated, tiny_model):
    """Return a project with a run, and its number; of four held-out masks one was accepted as the model drew it."""
    from napari_amvlm.learning.reports import FineTuneResult

    annotated.corrections.accept(6, "nuclei", Answer(_mask(6), before=_mask(6), model="m"))
    for image_id in (2, 3, 6):
        annotated.images.set_held_out(image_id, True)
    annotated.corrections.accept(2, "nuclei", Answer(_mask(2), before=_mask(3), model="m"))
    annotated.corrections.accept(5, "gland", Answer(_mask(5)))
    data = learning_data(annotated, predictor_scales=_scale)
    run = start_run(annotated, LearningConfig(minutes=None, steps=3), None, data)
    scores = {"nuclei": {image.name: (0.5, 0.7) for image in data.validation}}
    keep_model(annotated, FineTuneResult(tiny_model, 0.5, 0.7, 3, 1.0, False, scores=scores), None, ["nuclei"], run)
    return annotated, run.id


def test_a_held_out_mask_that_nobody_corrected_judges_nothing(judged):
    project, run_id = judged

    scores, judgement = judged_run(project, run_id)

    assert [(s.image_id, s.before, s.after, s.corrected) for s in scores] == [
        (2, 0.5, 0.7, True),
        (3, 0.5, 0.7, True),
        (4, 0.5, 0.7, True),
        (6, None, None, False),
    ]
    assert {each.prompt: (each.images, each.verdict) for each in judgement.prompts} == {
        "nuclei": (3, Verdict.IMPROVED),
        "gland": (0, Verdict.TOO_FEW),
    }


def test_a_mask_that_was_changed_or_withdrawn_since(judged):
    project, run_id = judged
    unchanged = changed_images(project, run_id)

    corrected = project.corrections.accept(6, "nuclei", Answer(_mask(7), before=_mask(6), model="m"))
    project.corrections.reject(2, "nuclei")

    assert unchanged == {}
    assert changed_images(project, run_id) == {6: (corrected.id,)}
    assert [score.image_id for score in judged_run(project, run_id)[0]] == [3, 4, 6]


def test_images_of_one_name_get_names_of_their_own(project):
    for number in range(3):
        project.images.add_array(_pixels(number), name="tile")

    data = learning_data(project, predictor_scales=_scale)

    assert [image.name for image in data.unlabelled] == ["tile", "tile (2)", "tile (3)"]


def test_an_empty_project_has_nothing_to_learn_from(project):
    with pytest.raises(NotEnoughDataError):
        learning_data(project, predictor_scales=_scale).check()


def test_unlabelled_images_beyond_the_memory_are_a_fixed_choice(project):
    for number in range(6):
        project.images.add_array(_pixels(number), name=str(number))
    room_for_two = 2 * SHAPE[0] * SHAPE[1] * 3 * 4

    once = learning_data(project, predictor_scales=_scale, unlabelled_bytes=room_for_two)
    again = learning_data(project, predictor_scales=_scale, unlabelled_bytes=room_for_two)

    assert len(once.unlabelled) == 2
    assert [i.name for i in once.unlabelled] == [i.name for i in again.unlabelled]


def test_labelled_images_beyond_the_memory_are_read_again(annotated, monkeypatch):
    roomy = learning_data(annotated, predictor_scales=_scale)
    one = roomy.labelled[0].nbytes
    tight = learning_data(annotated, predictor_scales=_scale, labelled_bytes=2 * one)
    loaded, load = [], annotated.images.load
    monkeypatch.setattr(annotated.images, "load", lambda record: loaded.append(record.name) or load(record))

    for first, second in zip((*roomy.labelled, *roomy.validation), (*tight.labelled, *tight.validation), strict=True):
        np.testing.assert_array_equal(second.pixels(), first.pixels())
        np.testing.assert_array_equal(second.masks["nuclei"], first.masks["nuclei"])

    assert loaded == ["image 1", "image 2", "image 4"]
    assert tight.entries == roomy.entries
    assert tight.shown_prompts() == {"nuclei"}


def test_copies_in_other_files_are_not_unlabelled_images(annotated, tmp_path):
    for number in (1, 3, 9):
        tifffile.imwrite(tmp_path / f"{number}.tif", _pixels(number), photometric="rgb", compression="zlib")
        annotated.images.add_file(tmp_path / f"{number}.tif")
    problems = []

    data = learning_data(annotated, predictor_scales=_scale, on_problem=problems.append)

    assert [image.name for image in data.unlabelled] == ["image 5", "image 6", "9.tif"]
    assert data.entries.unlabelled == (6, 7, 10)
    assert problems == [
        "1.tif is a copy of image 1, which has an accepted mask.",
        "3.tif is a copy of image 3, which is held out to score models.",
    ]
    assert len(learning_data(annotated, predictor_scales=_scale).unlabelled) == 3


def test_a_copy_of_a_held_out_image_is_not_learnt_from(annotated, tmp_path):
    tifffile.imwrite(tmp_path / "again.tif", _pixels(3), photometric="rgb")
    record = annotated.images.add_file(tmp_path / "again.tif")
    correction = annotated.corrections.accept(record.id, "nuclei", Answer(_mask(3)))
    problems = []

    data = learning_data(annotated, predictor_scales=_scale, on_problem=problems.append)

    assert [image.name for image in data.labelled] == ["image 0", "image 1", "image 2", "image 4"]
    assert correction.id not in data.entries.train
    assert problems == ["again.tif has the pixels of image 3, which is held out to score models."]
    assert start_run(annotated, LearningConfig(minutes=None, steps=3), None, data).state == "running"


def test_a_copy_of_a_held_out_image_that_nobody_corrected_is_not_learnt_from(annotated, tmp_path):
    (correction,) = annotated.corrections.select(4)
    annotated.corrections.accept(4, "nuclei", Answer(_mask(3), before=_mask(3)))
    annotated.images.set_held_out(7, held_out=True)  # by hand, with nothing accepted on it yet
    for number in (3, 6):
        tifffile.imwrite(tmp_path / f"{number}.tif", _pixels(number), photometric="rgb", compression="zlib")
        annotated.images.add_file(tmp_path / f"{number}.tif")
    labelled = annotated.images.all()[-1]
    annotated.corrections.accept(labelled.id, "nuclei", Answer(_mask(6)))
    annotated.images.set_held_out(labelled.id, held_out=False)
    problems = []

    data = learning_data(annotated, predictor_scales=_scale, on_problem=problems.append)

    assert correction.id not in data.entries.validate
    assert [image.name for image in data.unlabelled] == ["image 5"]
    assert "6.tif" not in [image.name for image in data.labelled]
    assert problems == [
        "6.tif has the pixels of image 6, which is held out to score models.",
        "3.tif is a copy of image 3, which is held out to score models.",
    ]


def test_a_run_is_stopped_while_its_project_is_read(annotated, tiny_checkpoint, monkeypatch):
    run = learning_run.LearningRun(annotated, Predictor.from_file(tiny_checkpoint, device="cpu"), LearningConfig())
    asked, read = [], []
    load = annotated.images.load
    monkeypatch.setattr(annotated.images, "load", lambda record: read.append(record) or load(record))

    with pytest.raises(Cancelled):
        next(run.steps(lambda: asked.append(1) or len(asked) > 3, lambda: False))

    assert len(read) == 3
    assert annotated.runs.all() == []


def test_what_cannot_be_read_is_raised_or_told_and_left_out(annotated, tmp_path):
    lost = tmp_path / "lost.tif"
    tifffile.imwrite(lost, _pixels(50), photometric="rgb")
    annotated.images.add_file(lost)
    lost.unlink()
    (annotated.root / annotated.corrections.select(1)[0].mask_file).unlink()
    problems = []

    data = learning_data(annotated, predictor_scales=_scale, on_problem=problems.append)

    assert [image.name for image in data.labelled] == ["image 1", "image 2", "image 4"]
    assert len(data.unlabelled) == 2
    assert len(problems) == 2
    assert "mask" in problems[0]
    assert "lost.tif" in problems[1]
    with pytest.raises(ProjectError, match="mask"):
        learning_data(annotated, predictor_scales=_scale)


def test_a_kept_model_can_be_loaded_and_is_not_served(annotated, tiny_model, tiny_checkpoint):
    from napari_amvlm.learning.reports import FineTuneResult
    from napari_amvlm.models.checkpoint import load_model, read_info

    parent = read_info(tiny_checkpoint)
    run = start_run(annotated, LearningConfig(minutes=None, steps=3), parent)
    result = FineTuneResult(model=tiny_model, before=0.5, after=0.75, steps=3, seconds=1.5, stopped=True)
    annotated.corrections.accept(6, "nuclei", Answer(_mask(6)))  # while the run goes on

    record = keep_model(annotated, result, parent, ["nuclei"], run)

    model, info = load_model(record.path, text_encoder=tiny_model.text_encoder)
    assert model.config == tiny_model.config
    assert (info.licence, info.parent, info.scores) == ("CC0-1.0", parent.sha256, {"before": 0.5, "after": 0.75})
    assert info.training_data == "none: random weights; 4 accepted images of the project breast (nuclei)"
    assert (record.sha256, record.name, record.parent) == (info.sha256, info.name, parent.sha256)
    assert annotated.models.served() is None
    (finished,) = annotated.runs.all()
    assert (finished.state, finished.model_id, finished.result["steps"]) == ("stopped", record.id, 3)


def test_a_run_is_entered_with_the_corrections_it_uses(annotated):
    run = start_run(annotated, LearningConfig(minutes=None, steps=3, seed=5), None)

    assert annotated.runs.corrections(run.id) == {1: "train", 2: "train", 3: "train", 4: "validate", 5: "train"}
    assert LearningConfig.model_validate(run.config).seed == 5


def test_nothing_is_kept_where_nothing_may_be_written(annotated, tiny_model):
    from napari_amvlm.learning.reports import FineTuneResult

    result = FineTuneResult(model=tiny_model, before=None, after=None, steps=1, seconds=1, stopped=False)
    with (
        Project.open(annotated.root, read_only=True) as reader,
        pytest.raises(ProjectError, match="for reading only"),
    ):
        keep_model(reader, result, None, ["nuclei"])

    assert not list((annotated.root / "models").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_refused_model_leaves_the_project_as_it_was(annotated, tiny_model):
    import resource

    from napari_amvlm.learning.reports import FineTuneResult

    result = FineTuneResult(model=tiny_model, before=None, after=None, steps=1, seconds=1, stopped=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError):
            keep_model(annotated, result, None, ["nuclei"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert annotated.models.all() == []
    assert not list((annotated.root / "models").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_student_that_the_disk_refuses_costs_neither_model_nor_scores(judged, tiny_model):
    import resource

    from napari_amvlm.learning.reports import FineTuneResult

    project, _ = judged
    student = {"unet.x": torch.zeros(5_000_000)}  # larger than the model
    data = learning_data(project, predictor_scales=_scale)
    run = start_run(project, LearningConfig(minutes=None, steps=3), None, data)
    scores = {"nuclei": {image.name: (0.5, 0.7) for image in data.validation}}
    result = FineTuneResult(tiny_model, 0.5, 0.7, 3, 1.0, False, scores=scores, student=student)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, hard))
    try:
        record = keep_model(project, result, None, ["nuclei"], run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert (project.runs.get(run.id).state, project.runs.get(run.id).model_id) == ("finished", record.id)
    assert len(project.runs.scores(run.id)) == 4
    assert not project.runs.student_path(run.id).exists()


def test_neither_the_project_nor_the_session_loads_torch_or_qt():
    script = (
        "import sys, napari_amvlm.project, napari_amvlm.session\n"
        "print([m for m in ('torch', 'transformers', 'qtpy', 'PyQt6', 'napari') if m in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert result.stdout.strip() == "[]"


def test_the_ledger_has_what_was_read_whatever_is_accepted_meanwhile(
    annotated, tiny_model, tiny_checkpoint, monkeypatch
):
    def slow(project, **options):
        data = learning_data(project, **options)
        if not project.runs.all():
            project.corrections.accept(6, "nuclei", Answer(_mask(6), model=None, threshold=0.5))
        return data

    monkeypatch.setattr(learning_run, "learning_data", slow)
    config = LearningConfig(minutes=None, steps=1, crop=64, labelled_batch=1, unlabelled_batch=1)
    run = learning_run.LearningRun(annotated, Predictor.from_file(tiny_checkpoint, device="cpu"), config, device="cpu")

    next(run.steps(lambda: False, lambda: False))

    roles = annotated.runs.corrections(annotated.runs.all()[-1].id)
    assert sorted(roles.values()) == ["train"] * 4 + ["validate"]
    assert not {c.id for c in annotated.corrections.select(6)} & set(roles)


def test_a_run_says_of_which_model_it_is_whatever_comes_to_serve_meanwhile(
    annotated, tiny_config, text_encoder, tiny_checkpoint, tmp_path, monkeypatch
):
    from napari_amvlm.models.build import build_model
    from napari_amvlm.models.checkpoint import load_model, save_model

    first, later = (build_model(tiny_config, text_encoder=text_encoder, seed=seed) for seed in (5, 6))
    files = [
        save_model(model, tmp_path / f"{name}.safetensors", name=name, licence=licence, training_data="none")
        for model, name, licence in ((first, "first", "CC0-1.0"), (later, "later", "CC-BY-NC-4.0"))
    ]
    predictor = Predictor.from_file(tiny_checkpoint, device="cpu")

    def slow(project, **options):
        predictor.replace_model(*load_model(files[1].path))
        return learning_data(project, **options)

    monkeypatch.setattr(learning_run, "learning_data", slow)
    config = LearningConfig(minutes=None, steps=1, crop=64, labelled_batch=1, unlabelled_batch=1, keep="last")
    run = learning_run.LearningRun(annotated, predictor, config, device="cpu")
    predictor.replace_model(*load_model(files[0].path))

    record = run.keep(drain(run.steps(lambda: False, lambda: False), lambda _: None)).record

    assert (record.parent, record.licence) == (files[0].sha256, "CC0-1.0")
    began, found = (load_model(path)[0].image_projection.state_dict() for path in (files[0].path, record.path))
    assert all(torch.equal(value, began[name]) for name, value in found.items())
