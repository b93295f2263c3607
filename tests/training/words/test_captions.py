"""Sentences about real images: what they say, what they mean, and that batches are otherwise what they were."""

import random

import numpy as np
import pytest
import torch

from training.words.batches import WordSource
from training.words.captions import SENTENCES, caption_of
from training.words.referents import View
from training.words.vocabulary import concepts_of

_WORDINGS = {"nuclei": ("nuclei", "cell nuclei"), "left lung": ("left lung", "patient's left lung")}


def _source(samples, **how):
    concepts = concepts_of(samples, _WORDINGS, {})
    return WordSource(samples, concepts, **{"seed": 3, "batch": 6, "size": 64, "negatives": 1, **how})


def _view(image):
    return View(image.labels, image.words, image.words, np.ones(image.labels.shape, np.bool_))


def test_without_step_one_batches_are_those_of_the_released_weights(samples):
    """The prompts and means were written down before there were captions."""
    batch = _source(samples, batch=3).draw(5)

    assert (batch.captions, batch.meanings, batch.captions_a) == ([], [], [])
    assert batch.images_a is batch.images
    assert batch.prompts == [
        "hematoxylin stained nuclei",
        "the L1 vertebra",
        "segment the nuclei in a histology image, lumbar spine MRI",
        "segment the the patient's right lung, chest X-ray",
    ]
    assert batch.images.mean((1, 2, 3)).tolist() == pytest.approx([0.3268, 0.1650, 0.7293], abs=1e-3)
    assert batch.targets.sum((1, 2, 3)).tolist() == pytest.approx([0, 38, 0, 1195], abs=3)


def test_captions_change_nothing_else_in_a_batch(samples):
    for step in range(8):
        plain, told = (_source(samples, captions=captions).draw(step) for captions in (False, True))
        assert (plain.prompts, plain.concepts) == (told.prompts, told.concepts)
        for name in ("images", "targets", "index", "whole"):
            assert torch.equal(getattr(plain, name), getattr(told, name))


def test_each_image_has_a_caption_of_what_its_view_shows(samples):
    source = _source(samples, captions=True)
    spoken = {concept.name: concept.prompts for concept in concepts_of(samples, _WORDINGS, {})}
    several = 0
    for step in range(20):
        batch = source.draw(step)
        assert len(batch.captions) == len(batch.meanings) == len(batch.captions_a) == len(batch.images)
        asked = {
            (i, c): bool(t.any()) for i, c, t in zip(batch.index.tolist(), batch.concepts, batch.targets, strict=True)
        }
        for index, (caption, meaning) in enumerate(zip(batch.captions, batch.meanings, strict=True)):
            words = [] if meaning.startswith("of ") else meaning.split(" | ")
            several += len(words) > 1
            assert all(any(text in caption for text in spoken[word]) for word in words)
            assert all(asked.get((index, word), True) for word in words)
    assert several > 10


def test_one_image_has_many_sentences_and_one_sentence_fits_many_images(samples):
    chance = random.Random(0)
    concepts = {c.name: c.prompts for c in concepts_of(samples, _WORDINGS, {})}
    spine = next(image for image in samples if image.spec.name == "spine")
    tissue = [image for image in samples if image.spec.name == "nuclei"]

    of_one = [caption_of(_view(spine), "MRI", concepts, chance) for _ in range(200)]
    of_many = [{caption_of(_view(image), "H&E", concepts, chance).text for _ in range(200)} for image in tissue]

    assert len({caption.meaning for caption in of_one}) == 7  # one, two or three of three words
    assert len({caption.text for caption in of_one}) > 100
    assert len(set.intersection(*of_many)) >= len(SENTENCES)
    assert all(caption.meaning == "nuclei" for caption in [caption_of(_view(tissue[0]), "H&E", concepts, chance)])


def test_a_view_of_nothing_is_said_to_be_of_its_modality(samples):
    empty = View(np.zeros((8, 8), np.uint8), ("nuclei",), ("nuclei",), np.ones((8, 8), np.bool_))

    caption = caption_of(empty, "H&E histology", _WORDINGS, random.Random(0))

    assert "H&E histology" in caption.text
    assert caption.meaning == "of H&E histology"


def test_second_views_say_the_same_of_the_same_sides(samples):
    """The second look keeps the geometry, so that what is on a side stays there, mirrored or not."""
    chests = [image for image in samples if image.spec.name == "lungs"]
    source = _source(chests, captions=True, negatives=0)
    named, other_words, alike = 0, 0, []
    for step in range(15):
        batch = source.draw(step)
        for caption, meaning, other in zip(batch.captions, batch.meanings, batch.captions_a, strict=True):
            words = meaning.split(" | ")
            for side in ("left", "right"):
                if f"{side} lung" in words or "lungs" not in words:  # "lungs" may be said to be both
                    assert all((side in text) == (f"{side} lung" in words) for text in (caption, other))
            named += meaning != "lungs"
            other_words += caption != other
        assert not torch.equal(batch.images, batch.images_a)
        for one, other in zip(batch.images.mean(1), batch.images_a.mean(1), strict=True):
            pairs = ((one, each) for each in (other, other.flip(1)))
            alike.append([float(torch.corrcoef(torch.stack(pair).flatten(1))[0, 1]) for pair in pairs])
    assert min(named, other_words) > 40
    unturned, mirrored = np.mean(alike, axis=0)
    assert unturned > mirrored + 0.2
