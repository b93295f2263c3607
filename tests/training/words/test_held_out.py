"""Words and wordings that a run is not told: they are in none of its captions and prompts, and are scored apart."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_amvlm.config import Concept
from napari_amvlm.errors import InputError
from napari_amvlm.models.build import build_model
from napari_amvlm.models.inference import encode_image, named_scale
from training.pretraining.recipe import Recipe
from training.words.aligned import aligned_words, similarities, spreads
from training.words.captions import SENTENCES
from training.words.held_out import without_some_wordings, without_words
from training.words.run import WordRun
from training.words.vocabulary import concepts_of


def _concept(name, *prompts):
    return Concept(name=name, prompts=(name, *prompts), scale="whole")


def test_a_quarter_of_the_wordings_is_held_out_by_their_text_and_never_a_word_itself():
    many = tuple(f"wording {i}" for i in range(400))
    few = _concept("b", "wording 3")

    first, second, shared, level = without_some_wordings(
        [_concept("a", *many), few, _concept("c", *many[::-1]), _concept("L5 vertebra", *many[:9])]
    )

    held = {*many} - {*first.prompts}
    assert 60 < len(held) < 140
    assert first.prompts[0] == "a"
    assert {*shared.prompts[1:]} == {*first.prompts[1:]}
    assert second == few
    assert level.prompts[1:] == many[:9]
    assert without_some_wordings([_concept("a", *held, "x", "y"), *map(_concept, held)])[0].prompts[1:] != ()


def test_a_word_that_is_held_out_is_unknown_and_not_background(samples):
    stripped = {image.key: image for image in without_words(samples, ["spinal canal", "nuclei"])}

    assert not any(key.startswith("nuclei/") for key in stripped)
    for image in (image for image in samples if image.spec.name == "spine"):
        other = stripped[image.key]
        assert other.words == ("vertebrae", "intervertebral discs")
        assert other.spec.partial
        assert not image.spec.partial
        assert all(np.array_equal(other.mask(word), image.mask(word)) for word in other.words)
        assert not other.labels[image.mask("spinal canal")].any()
    lungs = without_words(samples, ["left lung"])[0]
    assert (lungs.words, lungs.spec.paired) == (("right lung",), ())
    with pytest.raises(InputError, match="holds out 'liver', which no set teaches"):
        without_words(samples, ["liver"])


@pytest.fixture
def run(samples, tiny_config, text_encoder, tmp_path):
    """Return a run that is told all, without a loss of step 1, and one that is not told a word and some wordings."""
    values = {"name": "t", "version": "0", "licence": "CC0-1.0", "training_data": "noise", "model": tiny_config}
    values |= {"batch": 4, "crop": 32, "loaders": 0, "step_one_weight": 1, "steps": 2, "sets": ()}
    told = {"held_out_words": ("spinal canal",), "held_out_wordings": True}

    def made(**more):
        recipe = Recipe.model_validate(values | more)
        where = tmp_path, torch.device("cpu")
        return WordRun(recipe, list(samples), *where, wordings={}, text_encoder=text_encoder)

    return made(step_one={"ita": 0, "css": 0, "icl": 0}), made(**told)


def test_what_is_held_out_is_neither_said_nor_asked_and_divides_no_subject(samples, run):
    whole, part = run
    every = {c.name: c.prompts for c in whole.model.config.concepts}
    told = {c.name: c.prompts for c in part.model.config.concepts}
    missing = {text for word, texts in every.items() for text in texts if text not in told.get(word, ())}
    canal = set(every["spinal canal"])

    said = []
    for step in range(40):
        batch = part.source.draw(step)
        said += [*batch.prompts, *batch.captions, *batch.captions_a]
        assert not any("spinal canal" in concept for concept in batch.concepts)

    assert "spinal canal" not in told
    assert len(missing - canal) >= 2
    assert not any(text in said for text in missing)
    assert not any("canal" in text for text in said)
    keys = [{i.key for i in getattr(each, kind)} for each in run for kind in ("training", "validation")]
    assert keys[:2] == keys[2:]
    subjects = [{(i.spec.name, i.subject) for i in images} for images in (part.training, part.validation)]
    assert not subjects[0] & subjects[1]


def test_a_run_with_captions_learns_by_step_one(run):
    masks_alone, parts = (each._one_step() for each in run)

    assert {"ita", "css", "icl", "segmentation"} <= parts.keys()
    assert masks_alone.keys() == {"segmentation", "text_mask", "guidance", "presence"}


def test_figures_are_those_of_plain_loops(samples, tiny_config, text_encoder):
    taught = without_some_wordings(concepts_of(without_words(samples, ["spinal canal"]), {}, {}))
    model = build_model(tiny_config.model_copy(update={"concepts": taught}), text_encoder=text_encoder, seed=0)
    told = {c.name: c.prompts for c in taught}
    wordings = {c.name: c.prompts for c in concepts_of(samples, {}, {})}
    images = [image for image in samples if image.spec.kind == "whole"][::2] + samples[-2:]
    body = {"right lung", "left lung", "lungs", "vertebrae", "intervertebral discs"}
    v_cls = np.stack([_v_cls(model, image) for image in images])

    found = similarities(model, v_cls, images, told)
    spread = spreads(model, v_cls, images, {word: wordings[word] for word in told})
    everything = aligned_words(model, images, wordings)

    right, wrong, nearest = [], [], []
    for number, sentence in enumerate(SENTENCES):
        texts = {word: sentence.format(said[number % len(said)]) for word, said in told.items()}
        for image, seen in zip(images, v_cls, strict=True):
            cosine = {word: float(seen @ _t_cls(model, text)) for word, text in texts.items()}
            # Nuclei are denied of a body, and its parts of tissue; a chest and a spine may show one another's words.
            denied = body if image.spec.name == "nuclei" else {"nuclei"}
            known = {word: cosine[word] for word in cosine if word in {*image.words} | denied}
            right += [value for word, value in known.items() if word in image.shown()]
            wrong += [value for word, value in known.items() if word not in image.shown()]
            nearest.append(max(known, key=known.__getitem__) in image.shown())
    assert found["cosine_right"] == pytest.approx(np.mean(right), abs=2e-4)
    assert found["cosine_wrong"] == pytest.approx(np.mean(wrong), abs=2e-4)
    assert found["image_to_caption"] == pytest.approx(np.mean(nearest), abs=1e-3)
    of_first = [np.std([_t_cls(model, t) @ v_cls[0] for t in wordings[w]], ddof=1) for w in images[0].shown()]
    assert spread[images[0].key] == pytest.approx(np.mean(of_first), abs=1e-5)
    assert everything["per_image"].keys() == {"text_mask", "new_wordings", "new_words", "dice", "spread"}
    assert {key.split("/")[0] for key in everything["per_image"]["new_words"]} == {"spine"}
    assert everything["per_image"]["spread"][images[0].key] == pytest.approx(spread[images[0].key], abs=1e-4)


def _v_cls(model, image):
    scale = named_scale(model, image.spec.kind, image.labels.shape)
    tiles = encode_image(model, image.image / np.float32(255), scale).features
    return torch.cat([tile.v_cls for tile in tiles]).mean(0).numpy()


def _t_cls(model, text):
    with torch.inference_mode():
        return model.encode_text([text]).t_cls[0].numpy()


def test_the_recipe_that_comes_along_holds_out_words_that_its_index_could_teach():
    from training.ablate_step_one import StepOneGrid
    from training.runs.recipe import read_recipe

    path = Path(__file__).parents[3] / "training" / "recipes" / "step-one-words.toml"
    runs = list(read_recipe(StepOneGrid, path).runs("grid"))

    told = [recipe.model_dump(exclude={"name", "step_one", "seed"}) for _, _, recipe in runs]
    assert all(other == told[0] for other in told)
    objectives = [recipe.step_one for _, _, recipe in runs]
    rows = len(objectives) // 3
    assert [run.recipe.seed for run in runs] == [0] * rows + [1] * rows + [2] * rows
    assert len({o.model_dump_json() for o in objectives}) == rows
    assert [(o.ita > 0, o.css > 0, o.icl > 0, o.ambiguity) for o in objectives[:rows]] == [
        (True, False, False, "none"),
        (True, True, False, "none"),
        (True, True, False, "sigmoid"),
        (True, True, False, "exponential"),
        (True, True, False, "dusss"),
        (True, False, True, "none"),
        (True, True, True, "none"),
        (True, True, True, "sigmoid"),
        (False, False, False, "none"),
    ]
    recipe = runs[0].recipe
    assert recipe.held_out_wordings
    assert len(recipe.held_out_words) == 3
    assert [index.weights for index in recipe.index] == [("open",)]
    assert recipe.start is None
