"""Step 1 on batches: which parts learn, what the momentum encoder does, and what the options change."""

from dataclasses import replace

import pytest
import torch

from training.pretraining.batches import BatchSource
from training.pretraining.data import load_taught_images
from training.pretraining.joint_loss import mask_losses
from training.pretraining.recipe import Recipe
from training.pretraining.rivals import make_alignment
from training.pretraining.step_one import Alignment, StepOneConfig


@pytest.fixture
def batch(shared_data):
    images = [i for s in ("DSB2018", "CXR-Lungs", "SPIDER-Spine") for i in load_taught_images(shared_data, s, whole=64)]
    return BatchSource(images, seed=0, tile_batch=2, whole_batch=4, size=64).draw(1)


def _losses(model, batch, **options):
    alignment = Alignment(model, StepOneConfig.model_validate(options), seed=0)
    seen = model.see(batch.images, batch.whole)
    return alignment, alignment.losses(model, seen, batch, torch.Generator().manual_seed(0))


def test_a_batch_of_which_nothing_is_sure_has_a_finite_loss(tiny_model, batch):
    unsure = torch.zeros_like(batch.targets)
    unsure[..., 0, :2] = 1  # too little to be called present, and not nothing
    text = tiny_model.encode_text(batch.prompts)
    out = tiny_model.decode(tiny_model.encode_image(batch.images, batch.whole), text, batch.index)
    recipe = Recipe(name="t", version="0", licence="CC0-1.0", training_data="noise")

    losses = mask_losses(out, text.t_cls, replace(batch, targets=unsure), recipe)

    weight, presence = losses["presence"]
    assert weight > 0
    assert float(presence.detach()) == 0
    presence.backward()


@pytest.mark.parametrize("name", ["css", "icl"])
def test_gradients_reach_encoders_and_heads(tiny_model, batch, name):
    alignment, losses = _losses(tiny_model, batch)
    losses[name].backward()

    assert all(p.grad is not None and bool(p.grad.any()) for p in alignment.heads.patches.parameters()) == (
        name == "css"
    )
    encoder = [p.grad for n, p in tiny_model.image_encoder.named_parameters() if "stages" in n]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in encoder)
    assert any(bool(g.any()) for g in encoder if g is not None)
    assert all(p.grad is None for p in alignment.momentum.parameters())
    if name == "icl":
        assert all(p.grad is not None and bool(p.grad.any()) for p in tiny_model.text_projection.parameters())


def test_the_momentum_encoder_starts_as_the_encoder_and_follows_it(tiny_model, batch):
    alignment, _ = _losses(tiny_model, batch, momentum=0.9)
    copy = alignment.momentum.module["image_projection"].layers[0].weight
    start = tiny_model.image_projection.layers[0].weight.detach().clone()
    assert torch.equal(copy, start)

    with torch.no_grad():
        for _ in range(40):
            tiny_model.image_projection.layers[0].weight.add_(1)
            alignment.follow(tiny_model)

    behind = tiny_model.image_projection.layers[0].weight.detach() - copy
    assert 5 < float(behind.mean()) < 10  # the lag of an average of decay 0.9 behind a ramp of 1 a step is 9


def test_a_weight_of_zero_leaves_a_loss_out(tiny_model, batch):
    assert set(_losses(tiny_model, batch)[1]) == {"ita", "css", "icl"}
    assert set(_losses(tiny_model, batch, css=0)[1]) == {"ita", "icl"}
    assert set(_losses(tiny_model, batch, ita=0, icl=0)[1]) == {"css"}


def test_the_forms_of_ambiguity_give_losses_of_their_own(tiny_model, batch):
    forms = ("none", "sigmoid", "exponential")
    found = {form: float(_losses(tiny_model, batch, ambiguity=form)[1]["css"].detach()) for form in forms}

    assert len({round(value, 4) for value in found.values()}) == 3


def test_the_augmented_views_are_other_looks_of_the_same(batch):
    assert batch.images.shape == batch.images_a.shape
    assert not torch.equal(batch.images, batch.images_a)
    assert batch.captions != batch.captions_a
    own, other = batch.images.mean(1).flatten(1), batch.images_a.mean(1).flatten(1)
    likeness = torch.corrcoef(torch.cat([own, other]))[: len(own), len(own) :].abs()
    assert likeness.argmax(1).tolist() == list(range(len(own)))


def test_bfloat16_changes_little(tiny_model, batch):
    _, full = _losses(tiny_model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        _, half = _losses(tiny_model, batch)

    for name, value in full.items():
        assert float(half[name].detach()) == pytest.approx(float(value.detach()), rel=0.1)


def test_r_and_w_are_noted_and_a_bound_keeps_them_alive(tiny_model, batch):
    free, _ = _losses(tiny_model, batch, ambiguity="exponential")
    bounded, losses = _losses(tiny_model, batch, ambiguity="exponential", most_ambiguous=1.5, spread=0.1)

    assert set(free.observed) == {f"{name} {way}" for name in ("r", "w", "sigma") for way in ("V2T", "T2V")}
    assert free.observed["r T2V"] < 2  # padding has no spread: it would make this 13 and more
    assert 1 <= bounded.observed["r V2T"] <= 1.5
    assert bounded.observed["w T2V"] >= 0.6
    losses["spread"].backward()
    assert any(p.grad is not None for p in bounded.heads.text_distribution.to_log_sigma.parameters())


def test_the_form_of_dusss_weighs_class_tokens(tiny_model, batch):
    plain, plain_losses = _losses(tiny_model, batch, ambiguity="none")
    own, losses = _losses(tiny_model, batch, ambiguity="dusss")

    assert plain.observed == {}
    assert 0 < own.observed["w ITA"] <= 1
    assert float(losses["ita"]) != float(plain_losses["ita"])
    assert torch.allclose(losses["css"], plain_losses["css"])


@pytest.mark.parametrize("objective", ["clip", "medclip", "mgca", "dusss", "map", "cmitm", "asg"])
def test_an_objective_of_a_rival_is_finite_and_reaches_both_encoders(tiny_model, batch, objective):
    said = ["lower left spot", "upper right spot", "no spot", "upper left spot", "right spot", "two spots"]
    batch = replace(batch, captions=said[: len(batch.captions)], meanings=said[: len(batch.captions)])
    alignment = make_alignment(tiny_model, StepOneConfig.model_validate({"objective": objective}), seed=0)

    losses = alignment.losses(
        tiny_model, tiny_model.see(batch.images, batch.whole), batch, torch.Generator().manual_seed(0)
    )
    torch.stack(list(losses.values())).sum().backward()

    assert all(bool(value.isfinite()) for value in losses.values())
    for part in (tiny_model.image_encoder, tiny_model.text_projection):
        assert any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
    own = [p for n, p in alignment.heads.named_parameters() if n.startswith("rival.")]
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in own)
    assert bool(own) == (objective in ("mgca", "map", "cmitm"))
    assert (alignment.observed.get("regions", 0) > 0) == (objective == "asg")
