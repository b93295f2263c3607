"""The losses of the rivals against plain loops."""

import math

import pytest
import torch

from napari_amvlm.losses import segmentation_loss
from tests.training.methods.conftest import WIDTHS
from training.methods import decoders, method_called, objectives, teachers
from training.methods.protocol import rise
from training.methods.sam import draw_points
from training.methods.ss_net import prototype_distance


def _unit(*shape, seed=0):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_mean_teacher_is_the_mean_squared_difference_with_a_ramp(views):
    torch.manual_seed(0)
    method = method_called("mean-teacher", {"noise": 0.0})
    network = method.build(1, WIDTHS).train()
    found = method.losses(network, views, 0.5)["consistency"]
    with torch.no_grad():
        student = network.student(views.strong)[2:].sigmoid()
        teacher = network.teacher.eval()(views.weak[2:]).sigmoid()

    total = sum((float(a) - float(b)) ** 2 for a, b in zip(student.flatten(), teacher.flatten(), strict=True))

    assert float(found) == pytest.approx(0.1 * math.exp(-5 * 0.25) * total / student.numel(), rel=1e-3)
    assert rise(1.0) == 1


def test_copy_paste_weighs_pseudo_labels_by_half_and_pastes_a_rectangle(views):
    torch.manual_seed(3)
    inside = teachers.paste_region((30, 60), 2 / 3)
    rows, columns = inside[0, 0].nonzero().T
    assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == (20, 40)
    assert int(inside.sum()) == 800

    torch.manual_seed(0)
    method = method_called("bcp")
    network = method.build(1, WIDTHS).eval()
    torch.manual_seed(1)
    found = float(method.losses(network, views, 0.9)["supervised"])
    torch.manual_seed(1)
    inside = teachers.paste_region((32, 32), 2 / 3)
    with torch.no_grad():
        pseudo = (network.teacher(views.weak[2:]) >= 0).float()
        total = 0.0
        for row in range(2):
            for labelled, free_inside in ((row, True), (1 - row, False)):
                free = inside if free_inside else ~inside
                mixed = torch.where(free, views.strong[2 + row], views.strong[labelled])
                target = torch.where(free, pseudo[row], views.target[labelled])
                logits = network.student(mixed)
                for weight, share in ((~free, 1.0), (free, 0.5)):
                    total += share * float(segmentation_loss(logits, target, weight.float(), balance=0.0)) / 2

    assert found == pytest.approx(total, rel=1e-4)


def test_cct_drops_the_strongest_places_and_scales_features():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 5, 5)
    dropped = decoders.feature_drop(x)
    for image, kept in zip(x.mean(1), dropped.abs().sum(1) > 0, strict=True):
        assert not bool(kept[image == image.max()])
        assert bool(kept[image < 0.7 * image.max()].all())
    noisy = decoders.feature_noise(x, 0.3)
    assert bool(((noisy / x - 1).abs() <= 0.3 + 1e-5).all())
    assert torch.allclose(noisy[0] / x[0], noisy[1] / x[1])


def test_mc_net_sharpens_and_compares_both_ways(views):
    p = torch.tensor([0.2, 0.5, 0.9])
    for value, sharp in zip(p.tolist(), decoders.sharpened(p, 0.1).tolist(), strict=True):
        assert sharp == pytest.approx(value**10 / (value**10 + (1 - value) ** 10), abs=1e-5)

    torch.manual_seed(0)
    method = method_called("mc-net")
    network = method.build(1, WIDTHS).eval()
    found = float(method.losses(network, views, 1.0)["consistency"])
    with torch.no_grad():
        skips = network.main.encode(views.strong)
        a, b = (x.sigmoid() for x in (network.main.decode(skips), network.others[0](skips)))
        total = ((a - decoders.sharpened(b, 0.1)) ** 2).mean() + ((b - decoders.sharpened(a, 0.1)) ** 2).mean()

    assert found == pytest.approx(0.1 * float(total), rel=1e-4)


def test_ss_net_measures_the_distance_to_the_prototype_of_the_class():
    features, prototypes = torch.randn(5, 3), torch.randn(2, 3)
    labels = torch.tensor([0, 1, 1, 0, 1])
    total = 0.0
    for f, c in zip(features, labels.tolist(), strict=True):
        m = prototypes[c]
        total += 1 - float(f @ m) / (float(f.norm()) * float(m.norm()))

    assert float(prototype_distance(features, labels, prototypes)) == pytest.approx(total / 5, rel=1e-5)


def test_ucmt_puts_the_surest_patches_of_the_next_image_over_the_most_uncertain():
    images = torch.arange(2 * 16, dtype=torch.float32).view(2, 1, 4, 4)
    entropy = torch.zeros(2, 1, 4, 4)
    entropy[0, 0, 2:, 2:] = 1  # the last patch of the first image
    entropy[1] = 1
    entropy[1, 0, :2, 2:] = 0  # the second patch of the second

    mixed, labels = decoders.uncertain_mix(images, -images, entropy, grid=2, count=1)

    assert torch.equal(mixed[0, 0, 2:, 2:], images[1, 0, :2, 2:])
    assert torch.equal(mixed[0, 0, :2], images[0, 0, :2])
    assert torch.equal(labels, -mixed)


def _half_dice_half_entropy(logits, target):
    """Return the segmentation loss of one crop, pixel by pixel."""
    overlap = total = entropy = 0.0
    pixels = list(zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True))
    for z, t in pixels:
        p = 1 / (1 + math.exp(-z))
        overlap, total = overlap + p * t, total + p + t
        entropy -= t * math.log(p) + (1 - t) * math.log(1 - p)
    return 0.5 * (1 - (2 * overlap + 1) / (total + 1)) + 0.5 * entropy / len(pixels)


def test_ucmt_compares_students_with_each_other_and_with_the_teacher_on_mixed_crops(views):
    torch.manual_seed(0)
    method = method_called("ucmt")
    network = method.build(1, WIDTHS).eval()
    found = method.losses(network, views, 0.1)
    students = (network.first.student, network.second)
    with torch.no_grad():
        weak, strong = views.weak[2:], views.strong[2:]
        taught = network.first.teacher(weak).sigmoid()
        p = (taught + students[0](weak).sigmoid() + students[1](weak).sigmoid()) / 3
        entropy = -p * p.log() - (1 - p) * (1 - p).log()
        mixed, label = decoders.uncertain_mix(strong, taught, entropy, grid=8, count=2)
        a, b = (s(mixed) for s in students)
    weight = 0.1 * math.exp(-5 * 0.25)
    cross = sum(_half_dice_half_entropy(x[i], (y[i] >= 0).float()) for x, y in ((a, b), (b, a)) for i in (0, 1)) / 4
    told = sum(_half_dice_half_entropy(x[i], (label[i] >= 0.5).float()) for x in (a, b) for i in (0, 1)) / 4

    assert float(found["cross"]) == pytest.approx(weight * cross, rel=1e-4)
    assert float(found["consistency"]) == pytest.approx(weight * told, rel=1e-4)


def test_lvit_labels_with_its_average_and_compares_with_the_mask_of_the_closest_text(views):
    torch.manual_seed(0)
    method = method_called("lvit")
    network = method.build(1, WIDTHS).eval()
    found = method.losses(network, views, 1.0)
    with torch.no_grad():
        student = network.student(views.strong, views.text)[2:]
        label = (network.teacher(views.weak[2:], views.text[2:]) >= 0).float()
    pseudo = text = 0.0
    for i in range(2):
        pseudo += _half_dice_half_entropy(student[i], label[i]) / 2
        own = views.text[2 + i]
        near = max((0, 1), key=lambda k: float(own @ views.text[k]) / float(views.text[k].norm()))
        m, t = student[i].sigmoid().flatten(), views.target[near].flatten()
        text += (1 - float(m @ t) / (float(m.norm()) * float(t.norm()))) / 2

    assert float(found["pseudo"]) == pytest.approx(pseudo, rel=1e-4)
    assert float(found["text"]) == pytest.approx(0.1 * text, rel=1e-4)


def test_medclip_targets_are_the_softmax_of_meanings():
    similarity, meaning = torch.randn(3, 3), torch.randn(3, 3)
    total = 0.0
    for s, m in ((similarity, meaning), (similarity.T, meaning.T)):
        for i in range(3):
            z = sum(math.exp(float(x) / 0.5) for x in s[i])
            w = sum(math.exp(float(x) / 0.5) for x in m[i])
            for j in range(3):
                total -= math.exp(float(m[i, j]) / 0.5) / w * math.log(math.exp(float(s[i, j]) / 0.5) / z) / 6

    found = objectives.soft_target_loss(similarity, meaning, temperature=0.5)

    assert float(found) == pytest.approx(total, rel=1e-5)


def test_mgca_weighs_tokens_and_leaves_padding_out():
    tokens, matches = _unit(2, 3, 4), _unit(2, 3, 4, seed=1)
    weight = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    padding = torch.tensor([[False] * 3, [False, False, True]])
    total = 0.0
    for i, count in ((0, 3), (1, 2)):
        for p in range(count):
            for a, b in ((tokens, matches), (matches, tokens)):
                z = sum(math.exp(float(a[i, p] @ b[i, k]) / 0.1) for k in range(count))
                total -= float(weight[i, p]) * math.log(math.exp(float(a[i, p] @ b[i, p]) / 0.1) / z) / 4

    found = objectives.weighted_token_loss(tokens, matches, weight, padding)

    assert float(found) == pytest.approx(total, rel=1e-4)


def test_sinkhorn_uses_prototypes_alike_and_each_predicts_the_other():
    v, t = torch.randn(6, 3), torch.randn(6, 3)
    q = objectives.sinkhorn(v, rounds=50, epsilon=0.5)
    assert torch.allclose(q.sum(1), torch.ones(6), atol=1e-4)
    assert torch.allclose(q.sum(0), torch.full((3,), 2.0), atol=1e-2)

    total = 0.0
    for own, other in ((v, objectives.sinkhorn(t)), (t, objectives.sinkhorn(v))):
        for i in range(6):
            z = sum(math.exp(float(x) / 0.2) for x in own[i])
            total -= sum(float(other[i, k]) * math.log(math.exp(float(own[i, k]) / 0.2) / z) for k in range(3)) / 12
    assert float(objectives.prototype_loss(v, t)) == pytest.approx(total, rel=1e-4)


def test_map_contrasts_distances():
    distance, scale = torch.rand(3, 3), torch.tensor(2.0)
    total = 0.0
    for d in (distance, distance.T):
        for i in range(3):
            z = sum(math.exp(-2 * float(x)) for x in d[i])
            total -= math.log(math.exp(-2 * float(d[i, i])) / z) / 6

    assert float(objectives.distance_contrast(distance, scale, None)) == pytest.approx(total, rel=1e-5)


def test_cmitm_scores_what_was_hidden_alone():
    found, wanted = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    total = 0.0
    for p in (0, 2):
        mean, sd = float(wanted[0, p].mean()), float((wanted[0, p].var(unbiased=False) + 1e-5).sqrt())
        total += (
            sum((float(a) - (float(b) - mean) / sd) ** 2 for a, b in zip(found[0, p], wanted[0, p], strict=True)) / 8
        )

    hidden = torch.tensor([[True, False, True]])
    assert float(objectives.hidden_loss(found, wanted, hidden)) == pytest.approx(total, rel=1e-4)


def test_asg_finds_the_regions_that_a_caption_names():
    said = dict(objectives.named_regions("infection, lower left lung and right lung"))
    assert said == {"lower left": (2 / 3, 0.5, 1.0, 1.0), "right": (0.0, 0.0, 1.0, 0.5)}
    assert dict(objectives.named_regions("one area of spot, upper left")) == {"upper left": (0.0, 0.0, 1 / 3, 0.5)}
    tokens = torch.zeros(2, 4, 4)
    tokens[0, :, :2], tokens[1, :, 2:] = 1, 1

    pooled = torch.stack([objectives.pooled_region(tokens, r) for r in ((0, 0, 1, 0.5), (0, 0.5, 1, 1))])

    assert torch.equal(pooled, torch.eye(2))
    z = math.log(1 + math.exp(-1 / 0.07))
    assert float(objectives.region_loss(pooled, pooled, ["left", "right"])) == pytest.approx(z, abs=1e-5)


def test_points_for_sam_lie_inside_and_outside():
    torch.manual_seed(0)
    logits = torch.full((1, 1, 8, 8), -20.0)
    logits[0, 0, 2, 5] = 20.0

    places, inside = draw_points(logits, 3)

    assert torch.allclose(places[0, :3], torch.tensor([2.5 / 8, 5.5 / 8]).expand(3, 2))
    assert inside.tolist() == [[1, 1, 1, 0, 0, 0]]
