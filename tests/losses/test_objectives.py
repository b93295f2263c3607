"""Objectives that pretraining and fine-tuning share, beside plain loops over pairs and pixels."""

import math

import pytest
import torch

from napari_amvlm.losses import guidance_loss, presence_loss, segmentation_loss, text_mask_loss


def _random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _mask(seed):
    return (_random(2, 1, 16, 12, seed=seed) > 0).float()


def test_the_text_mask_is_compared_with_the_known_share_of_each_block_of_four():
    logits, target, known = _random(2, 1, 4, 3), _mask(1), _mask(2)

    found = text_mask_loss(logits, target, known, balance=0.3)

    share, weight = torch.zeros(2, 1, 4, 3), torch.zeros(2, 1, 4, 3)
    for n in range(2):
        for y in range(4):
            for x in range(3):
                block = (n, 0, slice(4 * y, 4 * y + 4), slice(4 * x, 4 * x + 4))
                weight[n, 0, y, x] = known[block].sum() / 16
                share[n, 0, y, x] = (target[block] * known[block]).sum() / known[block].sum().clamp_min(1e-6)
    assert float(found) == pytest.approx(float(segmentation_loss(logits, share, weight, balance=0.3).mean()), abs=1e-6)


def test_without_known_pixels_given_all_count():
    logits, target = _random(2, 1, 4, 3), _mask(1)

    assert torch.equal(text_mask_loss(logits, target), text_mask_loss(logits, target, torch.ones_like(target)))


def test_guidance_is_info_nce_over_the_pairs_that_are_present():
    v_text, t_cls = (torch.nn.functional.normalize(_random(4, 8, seed=s), dim=1) for s in (1, 2))
    present = torch.tensor([True, False, True, True])
    meanings = ["nuclei", "lungs", "lungs", "nuclei"]

    found = guidance_loss(v_text, t_cls, meanings, present)

    kept = [0, 2, 3]
    total = 0.0
    for a, b in ((v_text, t_cls), (t_cls, v_text)):
        for i in kept:
            logits = [float(a[i] @ b[j]) / 0.07 for j in kept]
            norm = math.log(sum(math.exp(z) for z in logits))
            same = [k for k, j in enumerate(kept) if meanings[j] == meanings[i]]
            total -= sum(logits[k] - norm for k in same) / len(same)
    assert float(found) == pytest.approx(total / (2 * len(kept)), rel=1e-5)


@pytest.mark.parametrize(("present", "least"), [([True, False], 1), ([True, True], 2), ([False, False], 1)])
def test_guidance_is_zero_without_negatives(present, least):
    vectors = torch.nn.functional.normalize(_random(2, 8), dim=1)

    loss = guidance_loss(vectors, vectors, ["nuclei", "nuclei"], torch.tensor(present), least_meanings=least)

    assert float(loss) == 0


def test_presence_counts_sure_pairs_alone():
    logits = torch.tensor([2.0, -1.0, 9.0])
    present, sure = torch.tensor([True, False, False]), torch.tensor([True, True, False])

    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2
    assert float(presence_loss(logits, present, sure)) == pytest.approx(expected, rel=1e-6)
