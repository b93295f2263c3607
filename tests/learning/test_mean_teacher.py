"""Which pixels and prompts each loss of one Mean-Teacher step looks at."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.learning import LabelledImage, LearningData
from napari_amvlm.learning.crop_source import CropSource
from napari_amvlm.learning.mean_teacher import CropBatch, MeanTeacher
from napari_amvlm.learning.mixing import Mixture
from napari_amvlm.learning.views import GeometryConfig, moved, random_affine
from napari_amvlm.models.build import build_model
from napari_amvlm.models.layers import layout_of


def _config(**changes):
    return LearningConfig.model_validate({"minutes": None, "steps": 4, "crop": 64, "learning_rate": 0.01} | changes)


def _views(known=1.0, prompts=("nuclei", "nuclei")):
    """Return crops of noise whose upper right quarter is the object; the left `known` of each was reviewed."""
    images = torch.rand(len(prompts), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    target, seen = torch.zeros(len(prompts), 1, 64, 64), torch.zeros(len(prompts), 1, 64, 64)
    target[..., :32, 32:] = 1
    seen[..., : round(64 * known)] = 1
    whole = torch.zeros(len(prompts), dtype=torch.bool)
    return CropBatch(images, images, whole, list(prompts), list(prompts), target, seen)


def _supervised(model, views, **changes):
    return MeanTeacher(model, _config(**changes)).step(views, learning_rate=0.0, consistency=0.0).supervised


def test_the_consistency_loss_looks_at_unknown_pixels_alone(tiny_model):
    views = _views(known=0.5)
    lying = replace(views, target=1 - views.target)

    one, two = (MeanTeacher(tiny_model, _config()).step(v, learning_rate=0.0, consistency=1.0) for v in (views, lying))

    assert one.consistency > 0
    assert one.consistency == pytest.approx(two.consistency, abs=1e-6)
    assert one.supervised != pytest.approx(two.supervised, abs=1e-3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_student_learns_in_the_layout_of_its_device(tiny_model, monkeypatch, layout):
    by_default = MeanTeacher(tiny_model, _config()).step(_views(known=0.5), learning_rate=0.0, consistency=1.0)
    monkeypatch.setattr("napari_amvlm.learning.mean_teacher.learning_layout", lambda device: layout)
    monkeypatch.setattr("napari_amvlm.learning.networks.learning_layout", lambda device: layout)
    teaching = MeanTeacher(tiny_model, _config())

    losses = teaching.step(_views(known=0.5), learning_rate=0.0, consistency=1.0)

    maps = [p for p in teaching.student.parameters() if p.ndim == 4 and p.shape[-1] > 1 and p.shape[1] > 1]
    assert {layout_of(p) for p in maps} == {layout}
    assert {layout_of(p.grad) for p in maps if p.grad is not None} == {layout}
    assert losses.total == pytest.approx(by_default.total, rel=1e-3)


def test_where_all_is_known_the_teacher_is_not_asked(tiny_model):
    losses = MeanTeacher(tiny_model, _config()).step(_views(), learning_rate=0.0, consistency=1.0)

    assert losses.consistency == 0


def test_the_text_moves_the_pseudo_label(tiny_model):
    views = _views(known=0.0)
    rows = torch.ones(2, dtype=torch.bool)

    teachers = [MeanTeacher(tiny_model, _config(text_evidence=beta)) for beta in (0, 1)]
    without, with_text = (teacher.pseudo_label(views, rows) for teacher in teachers)

    assert not torch.allclose(without, with_text, atol=1e-3)
    assert not without.requires_grad


def test_the_pseudo_label_is_moved_as_the_student_sees_the_crop(tiny_model):
    views, rows = _views(known=0.0), torch.tensor([False, True])
    geometry = GeometryConfig(rotation=40, zoom=(1, 1), shear=0, flip=0)
    theta = torch.stack([torch.eye(2, 3), random_affine(1, geometry, torch.Generator().manual_seed(1))[0]])
    teaching = MeanTeacher(tiny_model, _config())

    in_place = teaching.pseudo_label(views, rows)
    turned = teaching.pseudo_label(replace(views, theta=theta), rows)

    assert torch.allclose(turned[1:], moved(in_place[1:], theta[1:]), atol=1e-5)
    assert not torch.allclose(turned[1], in_place[1], atol=0.01)


def test_the_anchor_draws_pseudo_labels_to_the_start_model(tiny_model):
    views, rows = _views(known=0.0), torch.ones(2, dtype=torch.bool)
    free, anchored, start = (MeanTeacher(tiny_model, _config(anchor=a, text_evidence=0)) for a in (0.0, 0.5, 1.0))
    for teacher in (free, anchored, start):
        with torch.no_grad():
            teacher.teacher["unet"].head.bias.add_(3)
    logits = [torch.logit(t.pseudo_label(views, rows)).mean() for t in (free, anchored, start)]

    assert float(logits[0] - logits[2]) == pytest.approx(3, abs=0.05)
    assert float(logits[1] - logits[2]) == pytest.approx(1.5, abs=0.05)


def test_what_settled_labels_with_the_start_and_does_not_move(tiny_model):
    views, rows = _views(known=0.0), torch.ones(2, dtype=torch.bool)
    teaching = MeanTeacher(tiny_model, _config(anchor=1.0, start_share=0.25, text_evidence=0))

    def pseudo():
        return float(torch.logit(teaching.pseudo_label(views, rows)).mean())

    def raise_teacher(by):
        with torch.no_grad():
            teaching.teacher["unet"].head.bias.add_(by)

    start = pseudo()
    raise_teacher(3)
    teaching.settle()
    assert pseudo() - start == pytest.approx(0.75 * 3, abs=0.05)
    raise_teacher(3)
    assert pseudo() - start == pytest.approx(0.75 * 3, abs=0.05)

    resumed = MeanTeacher(tiny_model, _config(anchor=1.0, start_share=0.25, text_evidence=0))
    resumed.restore(teaching.state())
    assert resumed.settled
    assert torch.equal(resumed.pseudo_label(views, rows), teaching.pseudo_label(views, rows))


@pytest.mark.parametrize(("labelled", "share"), [(2, 1 / 2), (6, 1 / 4), (14, 1 / 8)])
def test_the_start_counts_like_two_labelled_images(tiny_model, labelled, share):
    views, rows = _views(known=0.0), torch.ones(2, dtype=torch.bool)
    teaching = MeanTeacher(tiny_model, _config(anchor=1.0, text_evidence=0), labelled=labelled)

    start = torch.logit(teaching.pseudo_label(views, rows)).mean()
    with torch.no_grad():
        teaching.teacher["unet"].head.bias.add_(3)
    teaching.settle()

    assert float(torch.logit(teaching.pseudo_label(views, rows)).mean() - start) == pytest.approx(
        (1 - share) * 3, abs=0.05
    )


@pytest.mark.parametrize(
    ("prompt", "failed"), [("zebra crossing", ()), ("upper left lung", ()), ("the left lung", ("left lung",))]
)
def test_the_start_has_no_vote_on_what_its_network_does_not_answer(tiny_config, text_encoder, prompt, failed):
    model = build_model(tiny_config.model_copy(update={"structure": True}), text_encoder=text_encoder, seed=0)
    views, rows = _views(known=0.0, prompts=("nuclei", prompt)), torch.ones(2, dtype=torch.bool)
    teaching = MeanTeacher(model, _config(anchor=1.0, text_evidence=0, start_share=1.0))
    teaching.learn_as_new(failed)

    start = torch.logit(teaching.pseudo_label(views, rows)).mean((1, 2, 3))
    with torch.no_grad():
        teaching.teacher["unet"].head.bias.add_(3)
    teaching.settle()
    moved = torch.logit(teaching.pseudo_label(views, rows)).mean((1, 2, 3)) - start

    assert moved.tolist() == pytest.approx([0, 3], abs=0.05)


def test_answers_of_people_weigh_less_beside_pseudo_labels(tiny_model):
    """At lambda 0 there are no pseudo-labels, and people's answers are all there is."""
    views = _views(known=0.5)

    def total(weight, consistency):
        teaching = MeanTeacher(tiny_model, _config(labelled_weight=weight))
        losses = teaching.step(views, learning_rate=0.0, consistency=consistency)
        return losses.total, losses.supervised, losses.consistency

    alone, supervised, _ = total(0.25, 0.0)
    assert alone == pytest.approx(supervised, rel=1e-5)
    beside, supervised, consistency = total(0.25, 1.0)
    assert beside == pytest.approx(0.25 * supervised + consistency, rel=1e-5)


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "prompt", "weight"),
    [
        (2, 29, "nuclei", 0.1),
        (6, 24, "nuclei", 0.25),
        (5, 4, "nuclei", 1),
        (3, 0, "nuclei", 1),
        (2, 29, "zebra crossing", 1),
    ],
)
def test_beside_pseudo_labels_all_images_count_the_same_unless_what_is_asked_is_new(
    tiny_model, labelled, unlabelled, prompt, weight
):
    teaching = MeanTeacher(tiny_model, _config(), labelled=labelled, unlabelled=unlabelled)

    losses = teaching.step(_views(known=0.5, prompts=("nuclei", prompt)), learning_rate=0.0, consistency=1.0)

    assert losses.total == pytest.approx(weight * losses.supervised + losses.consistency, rel=1e-5)


def test_pasted_pieces_bring_their_answers_and_pseudo_labels(tiny_model):
    inside = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    inside[0, :, 8:40, 8:40] = True
    mixture = Mixture(torch.tensor([1, 1]), inside)
    views = _views(known=0.0)
    labelled = replace(views, known=torch.stack([torch.ones(1, 64, 64), torch.zeros(1, 64, 64)]), mixture=mixture)

    shown = labelled.mixed()
    assert torch.equal(shown.strong[0][:, 8:40, 8:40], views.strong[1][:, 8:40, 8:40])
    assert float(shown.known[0].sum()) == 64 * 64 - 32 * 32
    q = MeanTeacher(tiny_model, _config()).pseudo_label(labelled, torch.tensor([False, True]))
    assert torch.equal(q[0][:, 8:40, 8:40], q[1][:, 8:40, 8:40])
    assert bool((q[0][~inside[0]] == 0.5).all())
    assert MeanTeacher(tiny_model, _config()).step(labelled, learning_rate=0.0, consistency=1.0).consistency > 0


def test_absence_in_a_small_reviewed_part_teaches_no_presence(tiny_model):
    teacher = MeanTeacher(tiny_model, _config())
    teacher.step(_views(known=0.25), learning_rate=0.0, consistency=0.0)
    assert all(p.grad is None for p in teacher.student["presence"].parameters())

    teacher.step(_views(known=1.0), learning_rate=0.0, consistency=0.0)
    assert all(p.grad is not None for p in teacher.student["presence"].parameters())


def test_two_wordings_of_one_thing_are_not_pushed_apart(tiny_model):
    views = _views(prompts=("nuclei", "cell nuclei"))
    alike = replace(views, meanings=["nuclei", "nuclei"])

    plain = _supervised(tiny_model, alike, text_guidance=0.0)

    assert _supervised(tiny_model, alike, text_guidance=5.0) == pytest.approx(plain, abs=1e-6)
    assert _supervised(tiny_model, views, text_guidance=5.0) > plain + 0.1


def test_guidance_is_none_where_it_cannot_act_and_never_zero(tiny_model):
    views = _views(prompts=("nuclei", "cell nuclei"))

    def guidance(batch):
        return MeanTeacher(tiny_model, _config()).step(batch, learning_rate=0.0, consistency=0.0).guidance

    assert guidance(replace(views, meanings=["nuclei", "nuclei"])) is None
    assert (guidance(views) or 0) > 0


def test_crops_say_what_their_prompts_mean(tiny_model):
    image = np.random.default_rng(0).random((80, 80, 3), dtype=np.float32)
    masks = {"cell nuclei": image[..., 0] > 0.5, "new things": image[..., 0] > 0.5}
    data = LearningData((LabelledImage("x", image, masks, {}),))

    views = CropSource(data, _config(labelled_batch=32), tiny_model.config, torch.device("cpu")).draw()

    pairs = set(zip(views.prompts, views.meanings, strict=True))
    assert pairs == {("nuclei", "nuclei"), ("cell nuclei", "nuclei"), ("new things", "new things")}


def test_retention_holds_the_answers_to_other_prompts(tiny_model):
    views = _views()

    def drift(weight):
        teacher = MeanTeacher(tiny_model, _config(retention=weight))
        for _ in range(12):
            teacher.step(views, learning_rate=0.01, consistency=0.0, retained=["left lung", "left lung"])
        with torch.no_grad():
            text = tiny_model.encode_text(["left lung"])
            before = tiny_model.decode(tiny_model.encode_image(views.weak[:1], views.whole[:1]), text).logits
            for name, part in teacher.student.items():
                setattr(tiny_model, name, part)
            after = tiny_model.decode(tiny_model.encode_image(views.weak[:1], views.whole[:1]), text).logits
        return float((after - before).abs().mean())

    origin = {name: getattr(tiny_model, name) for name in ("unet", "text_mask", "presence")}
    loose = drift(0.0)
    for name, part in origin.items():
        setattr(tiny_model, name, part)

    assert drift(5.0) < 0.7 * loose
