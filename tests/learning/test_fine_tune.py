"""The learning loop with a tiny model on small real tensors: it learns, it stops, it fails cleanly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.errors import DivergedError, LabelsError, NotEnoughDataError, OutOfMemoryError
from napari_amvlm.generators import drain
from napari_amvlm.learning import (
    LabelledImage,
    LearningData,
    StepReport,
    UnlabelledImage,
    ValidationReport,
    fine_tune,
)
from napari_amvlm.learning.budget import LearningBudget
from napari_amvlm.learning.crop_source import CropSource
from napari_amvlm.learning.data import Entries
from napari_amvlm.learning.ema import averaged
from napari_amvlm.learning.mean_teacher import MeanTeacher
from napari_amvlm.learning.new_concepts import with_prompts
from napari_amvlm.learning.validation import mean_score, predicted_masks, validate
from napari_amvlm.models.build import build_model
from napari_amvlm.models.inference import known_concept
from napari_amvlm.models.words.taught import taught


def _picture(seed, prompt="nuclei"):
    """Dark discs on a light ground, with their mask."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    mask = np.zeros((96, 96), np.bool_)
    for cy, cx in chance.integers(10, 86, (6, 2)):
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < 64
    image = np.where(mask[..., None], 0.25, 0.8) + chance.normal(0, 0.03, (96, 96, 3))
    return LabelledImage(f"p{seed}", image.clip(0, 1).astype(np.float32), {prompt: mask}, {prompt: "tiles"})


def _data(labelled=2, unlabelled=3, validation=1):
    return LearningData(
        tuple(_picture(i) for i in range(labelled)),
        tuple(UnlabelledImage(f"u{i}", _picture(100 + i).image) for i in range(unlabelled)),
        tuple(_picture(200 + i) for i in range(validation)),
    )


def _config(**changes):
    base = {
        "minutes": None,
        "steps": 6,
        "crop": 64,
        "labelled_batch": 2,
        "unlabelled_batch": 2,
        "validations": 2,
        "learning_rate": 0.01,
    }
    return LearningConfig.model_validate(base | changes)


def _finish(model, data, config, *, should_stop=lambda: False, on_message=None):
    run = fine_tune(model, data, config, should_stop=should_stop, on_message=on_message)
    reports = []
    return reports, drain(run, reports.append)


def test_it_learns_and_the_given_model_is_unchanged(tiny_model):
    before = {k: v.clone() for k, v in tiny_model.state_dict().items()}

    reports, result = _finish(tiny_model, _data(), _config(steps=60, ema_decay=0.8))

    assert result.before is not None
    assert result.after is not None
    assert result.after > result.before + 0.2
    assert result.steps == 60
    assert all(torch.equal(v, before[k]) for k, v in tiny_model.state_dict().items())
    steps = [r for r in reports if isinstance(r, StepReport)]
    assert [r.step for r in steps] == list(range(1, 61))
    assert steps[-1].consistency > 0
    assert isinstance(reports[0], ValidationReport)


def test_encoders_stay_frozen(tiny_model):
    _, result = _finish(tiny_model, _data(), _config())

    old, new = tiny_model.state_dict(), result.model.state_dict()
    frozen = [k for k in old if k.startswith(("image_encoder", "image_projection", "text_projection"))]
    assert frozen
    assert all(torch.equal(old[k], new[k]) for k in frozen)
    assert not torch.equal(old["unet.head.weight"], new["unet.head.weight"])


def test_the_same_seed_gives_the_same_model(tiny_model):
    one, two, three = (_finish(tiny_model, _data(), _config(seed=s))[1].model.unet.head.weight for s in (1, 1, 2))

    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_the_best_teacher_is_returned_not_the_last(tiny_model):
    right = _data()
    wrong = tuple(replace(image, masks={p: ~m for p, m in image.masks.items()}) for image in right.labelled)
    data = replace(right, labelled=wrong)

    reports, result = _finish(tiny_model, data, _config(steps=12, validations=4))

    scores = [r.dice for r in reports if isinstance(r, ValidationReport)]
    assert scores[-1] < max(scores)
    assert result.after == max(scores)
    assert mean_score(validate(result.model, data.validation)) == pytest.approx(result.after, abs=1e-6)


def test_a_new_prompt_becomes_a_known_concept(tiny_model):
    data = LearningData((_picture(0, "dark discs"),))

    _, result = _finish(tiny_model, data, _config(steps=1))

    assert "dark discs" in [c.name for c in result.model.config.concepts]


def test_a_prompt_of_held_out_images_alone_is_told_and_judges_nothing(tiny_model):
    validation = (_picture(200), _picture(201, "necrosis"), _picture(202, "left lung"))
    data = replace(_data(), validation=validation, entries=Entries())
    said: list[str] = []

    _, result = _finish(tiny_model, data, _config(steps=1), on_message=said.append)
    _, watched = _finish(tiny_model, replace(data, entries=None), _config(steps=1))

    assert list(result.scores) == ["nuclei", "left lung"]
    assert list(watched.scores) == ["nuclei", "necrosis", "left lung"]  # captions that are held out with their images
    assert [text for text in said if "'necrosis' is accepted on held-out images alone" in text] == said


def test_a_run_that_found_nothing_better_teaches_no_word(tiny_model):
    dots, nuclei = (_picture(seed, prompt) for seed, prompt in ((1, "dark discs"), (0, "nuclei")))
    held_out = replace(nuclei, masks={p: m > 0 for p, m in predicted_masks(tiny_model, nuclei).items()})
    data = LearningData((dots, nuclei), validation=(held_out,))

    _, result = _finish(tiny_model, data, _config(steps=2, learning_rate=1e-6))

    assert result.unchanged
    assert result.before == 1
    assert taught(result.model.config, "dark discs") is None


def test_a_word_that_was_not_found_is_taught_once_it_was_learnt(tiny_model):
    nuclei, lung = (concept.model_copy(update={"dice": 0.02}) for concept in tiny_model.config.concepts)
    tiny_model.config = tiny_model.config.model_copy(update={"concepts": (nuclei, lung)})

    config = with_prompts(tiny_model, LearningData((_picture(0, "cell nuclei"),)))

    assert taught(tiny_model.config, "nuclei") is None
    assert taught(config, "nuclei") is not None
    assert taught(config, "left lung") is None


def test_a_word_of_stained_tissue_is_known_of_gray_images_once_it_was_learnt_on_them(tiny_model):
    config = tiny_model.config
    stained = tuple(concept.model_copy(update={"modalities": ("histology",)}) for concept in config.concepts)
    tiny_model.config = config.model_copy(update={"concepts": stained})
    coloured = _picture(0, "nuclei")
    gray = replace(coloured, image=coloured.image[..., :1].repeat(3, axis=2))

    learnt = [with_prompts(tiny_model, LearningData((image,))).concepts for image in (coloured, gray)]

    assert [[c.modalities for c in concepts] for concepts in learnt] == [[("histology",)] * 2, [(), ("histology",)]]


def test_another_wording_of_a_known_concept_is_served_as_that_and_validated_so(tiny_config):
    nuclei = tiny_config.concepts[0].model_copy(update={"hole": 40, "speck": 9})
    model = build_model(tiny_config.model_copy(update={"concepts": (nuclei,)}), seed=0)
    prompt = "all nuclei of the cells"
    assert known_concept(model, prompt) == nuclei
    data = LearningData((_picture(0, prompt),), validation=(_picture(200, prompt),))

    _, result = _finish(model, data, _config(steps=2, keep="last"))

    learnt = next(c for c in result.model.config.concepts if c.name == prompt)
    assert (learnt.hole, learnt.speck, learnt.scale) == (40, 9, "tiles")
    assert mean_score(validate(result.model, data.validation)) == pytest.approx(result.after, abs=1e-6)


def test_a_prompt_that_was_accepted_at_both_scales_is_learnt_at_one_and_that_is_told(tiny_model):
    whole = _picture(2, "dark discs")
    data = LearningData(
        (_picture(0, "dark discs"), _picture(1, "dark discs"), replace(whole, scales={"dark discs": "whole"}))
    )
    told = []

    _, result = _finish(tiny_model, data, _config(steps=1), on_message=told.append)

    assert [c.scale for c in result.model.config.concepts if c.name == "dark discs"] == ["tiles"]
    assert told == ["'dark discs' was accepted at both working scales; it is learnt in tiles, as most of it was."]


@pytest.mark.parametrize("validation", [0, 1])
def test_stopping_returns_what_was_learnt(tiny_model, validation):
    steps = []
    run = fine_tune(tiny_model, _data(validation=validation), _config(steps=500), should_stop=lambda: len(steps) == 2)

    result = drain(run, lambda report: steps.append(report) if isinstance(report, StepReport) else None)

    assert (result.stopped, result.steps, result.after) == (True, 2, None)
    assert not torch.equal(result.model.unet.head.weight, tiny_model.unet.head.weight)


def test_scoring_may_not_use_up_a_time_budget():
    timed, counted = LearningBudget(_config(steps=None, minutes=60)), LearningBudget(_config(steps=20))

    timed.resume(5, 100.0)

    assert timed.may_score(20.0)
    assert not timed.may_score(1000.0)
    assert counted.may_score(1000.0)


def test_the_sentence_encoder_is_shared_and_left_where_it_is(tiny_model):
    _, result = _finish(tiny_model, _data(validation=0), _config(steps=1))

    assert result.model.text_encoder is tiny_model.text_encoder


def test_learning_goes_on_after_a_prompt_was_first_read_in_inference_mode(tiny_model):
    prompt = "dark discs that nobody named before"
    with torch.inference_mode():
        tiny_model.encode_text([prompt])
    data = LearningData((_picture(0, prompt), _picture(1, "other things")))

    _, result = _finish(tiny_model, data, _config(steps=3, text_guidance=1.0))

    assert not any(p.is_inference() for p in result.model.parameters())
    assert not torch.equal(result.model.unet.head.weight, tiny_model.unet.head.weight)


def test_pausing_holds_the_budget(tiny_model):
    pauses = iter([True] * 4)

    run = fine_tune(
        tiny_model, _data(validation=0), _config(minutes=60, steps=None), should_pause=lambda: next(pauses, False)
    )
    first = next(run)

    assert isinstance(first, StepReport)
    assert first.step == 1
    assert first.fraction < 0.01
    assert next(pauses, None) is None


def test_without_labels_there_is_nothing_to_learn(tiny_model):
    with pytest.raises(NotEnoughDataError, match="accept at least one"):
        next(fine_tune(tiny_model, LearningData(()), _config()))


def test_masks_that_are_all_empty_or_unseen_teach_nothing(tiny_model):
    empty, unseen = _picture(0), _picture(1)
    empty.masks["nuclei"][:] = False
    unseen = replace(unseen, reviewed=~unseen.masks["nuclei"])

    with pytest.raises(NotEnoughDataError, match="All accepted masks are empty"):
        next(fine_tune(tiny_model, LearningData((empty, unseen)), _config()))


def test_a_new_word_that_no_mask_shows_is_told_and_not_known_afterwards(tiny_model):
    seen = _picture(0)
    nothing = np.zeros_like(seen.masks["nuclei"])
    data = LearningData((replace(seen, masks={**seen.masks, "mitosis": nothing}),))
    told = []

    _, result = _finish(tiny_model, data, _config(steps=1), on_message=told.append)

    assert told == ["All masks of 'mitosis' are empty, so the model learns that it is absent, not what it looks like."]
    assert "mitosis" not in {concept.name for concept in result.model.config.concepts}


def test_unlabelled_images_of_another_kind_are_told(tiny_model):
    data = _data(labelled=1, unlabelled=2, validation=0)
    gray = UnlabelledImage("x-ray", np.repeat(data.unlabelled[0].image[..., :1], 3, axis=2))
    told = []

    _finish(tiny_model, data, _config(steps=1), on_message=told.append)
    _finish(tiny_model, replace(data, unlabelled=(*data.unlabelled, gray)), _config(steps=1), on_message=told.append)

    assert told == [
        "The labelled images are in colour, but 1 of 3 unlabelled ones gray; take those of another kind out."
    ]


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_model(tiny_model):
    broken = _picture(0)
    broken.image[:] = np.nan
    before = tiny_model.unet.head.weight.clone()

    with pytest.raises(DivergedError, match="finite"):
        _finish(tiny_model, LearningData((broken,)), _config())

    assert torch.equal(tiny_model.unet.head.weight, before)


def test_too_little_memory_is_told_as_such(tiny_model):
    # A real allocation failure, of a petabyte, in the middle of the run.
    with pytest.raises(OutOfMemoryError, match="not enough memory"):
        _finish(tiny_model, _data(), _config(), should_stop=lambda: torch.empty(1 << 50).numel() == 0)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(LabelsError, match="has shape"):
        LabelledImage("x", np.zeros((8, 8, 3), np.float32), {"nuclei": np.zeros((8, 9), np.bool_)}, {})


def test_unreviewed_pixels_carry_no_supervision(tiny_model):
    picture = _picture(0)
    reviewed = np.zeros((96, 96), np.bool_)
    reviewed[:, :48] = True
    half = LabelledImage("h", picture.image, picture.masks, picture.scales, reviewed)
    lying = LabelledImage("h", picture.image, {"nuclei": picture.masks["nuclei"] | ~reviewed}, picture.scales, reviewed)

    losses = []
    for image in (half, lying):
        views = CropSource(LearningData((image,)), _config(), tiny_model.config, torch.device("cpu")).draw()
        losses.append(MeanTeacher(tiny_model, _config()).step(views, learning_rate=0.0, consistency=0.0).supervised)
        assert 0 < float(views.known.mean()) < 1

    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_all_unlabelled_images_are_seen_before_any_is_seen_twice(tiny_model):
    data = _data(labelled=1, unlabelled=6)
    source = CropSource(data, _config(unlabelled_batch=3), tiny_model.config, torch.device("cpu"))

    seen = [source._next_unlabelled("tiles").pixels[0, 0, 0].item() for _ in range(6)]

    assert len(set(seen)) == 6


def test_whole_images_keep_left_and_right(tiny_model):
    image = np.zeros((64, 64, 3), np.float32)
    mask = np.zeros((64, 64), np.bool_)
    mask[16:48, 40:56] = True
    image[mask] = 1
    data = LearningData((LabelledImage("x", image, {"left lung": mask}, {"left lung": "whole"}),))
    source = CropSource(data, _config(), tiny_model.config, torch.device("cpu"))

    for _ in range(10):
        target = source.draw().target
        assert float(target[..., 32:].sum()) > 5 * float(target[..., :28].sum())


def test_retained_prompts_are_never_the_trained_ones(tiny_model):
    source = CropSource(_data(), _config(), tiny_model.config, torch.device("cpu"))

    assert set(source.retained(("Cell Nuclei",), 20)) == {"left lung"}


def test_without_a_warm_up_the_start_counts_from_the_first_step():
    student = torch.nn.Linear(1, 1)
    start = student.weight.detach().clone()
    teacher = averaged(student, 0.75, warm_up=False)
    with torch.no_grad():
        student.weight.add_(1)

    teacher.update_parameters(student)

    assert torch.allclose(teacher.module.weight, start + 0.25)


def test_the_teacher_starts_as_the_student_and_follows_with_its_buffers():
    student = torch.nn.BatchNorm1d(2)
    teacher = averaged(student, 0.5)
    student(torch.tensor([[2.0, 4.0], [4.0, 8.0]]))
    teacher.update_parameters(student)
    assert torch.equal(teacher.module.running_mean, student.running_mean)

    old = student.running_mean.clone()
    student(torch.tensor([[20.0, 40.0], [40.0, 80.0]]))
    teacher.update_parameters(student)

    assert torch.allclose(teacher.module.running_mean, (old + student.running_mean) / 2)


@pytest.mark.parametrize("steps", [1, 50])
def test_rate_and_ramp_keep_their_bounds(steps):
    config = _config(steps=steps)
    budget = LearningBudget(config)
    for budget.step in range(steps + 1):
        assert 0 <= budget.learning_rate <= config.learning_rate
        assert 0 <= budget.consistency_weight <= config.consistency
    assert budget.fraction == 1
    assert budget.consistency_weight == config.consistency


def test_pseudo_labels_begin_after_the_supervised_share():
    budget = LearningBudget(_config(steps=20, supervised_share=0.5, ramp=0.2, consistency=2.0))
    weights = []
    for budget.step in range(21):
        weights.append(budget.consistency_weight)
        assert budget.supervised_alone == (budget.step < 10)

    assert weights[:10] == [0.0] * 10
    assert 0 < weights[10] < weights[12] < weights[14] == weights[20] == 2.0


def test_the_rate_falls_twice_with_pseudo_labels_and_once_without():
    config = _config(steps=100, supervised_share=0.6, warmup=0)

    def rates(unknown):
        budget = LearningBudget(config, unknown=unknown)
        found = []
        for budget.step in range(100):
            found.append(budget.learning_rate / config.learning_rate)
        return found

    two, one = rates(unknown=True), rates(unknown=False)
    rises = [[i for i in range(1, 100) if found[i] > found[i - 1]] for found in (two, one)]

    assert rises == [[60], []]
    assert two[0] == one[0] == 1
    assert two[60] == pytest.approx(0.5)
    assert max(two[59], two[99], one[99]) < 0.06


def test_until_then_every_crop_is_a_labelled_one(tiny_model):
    source = CropSource(_data(), _config(labelled_batch=3, unlabelled_batch=2), tiny_model.config, torch.device("cpu"))

    alone, mixed = source.draw(labelled_alone=True), source.draw()

    assert len(alone.known) == len(mixed.known) == 5
    assert bool((alone.known == 1).all())
    assert bool((mixed.known[3:] == 0).all())
    assert alone.mixture is None


def test_a_partly_reviewed_image_is_cropped_where_it_was_reviewed(tiny_model):
    chance = np.random.default_rng(0)
    image = chance.random((640, 640, 3)).astype(np.float32)
    mask = np.zeros((640, 640), np.bool_)
    reviewed = np.zeros_like(mask)
    reviewed[400:440, 100:150] = True
    data = LearningData((LabelledImage("large", image, {"nuclei": mask}, {"nuclei": "tiles"}, reviewed),))
    source = CropSource(data, _config(), tiny_model.config, torch.device("cpu"))

    known = torch.cat([source.draw().known for _ in range(20)])

    assert float((known.amax((1, 2, 3)) > 0).float().mean()) > 0.95
