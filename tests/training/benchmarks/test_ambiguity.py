"""Alignment under ambiguous wording, out of the states of pretraining runs."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from napari_amvlm.errors import ModelFileError
from napari_amvlm.losses import ambiguity_ratio, pairwise_wasserstein, soft_match
from training.benchmarks.ambiguity import main
from training.pretraining.aligned import load_aligned
from training.pretraining.data import is_validation, load_taught_images
from training.pretraining.paraphrases import Compared, compared, retrieval, spread_tests, wordings_for
from training.pretraining.prompts import CAPTIONS, DENSITIES
from training.pretraining.recipe import Recipe
from training.pretraining.run import Pretraining

_SOURCES = ("DSB2018", "CXR-Lungs")


def _recipe(model, **step_one):
    values = {"name": "t", "version": "0", "licence": "CC0-1.0", "training_data": "noise", "model": model}
    sizes = {"steps": 2, "crop": 64, "tile_batch": 2, "whole_batch": 2, "score_every": 100}
    return Recipe.model_validate(values | sizes | {"sources": _SOURCES, "step_one": step_one})


@pytest.fixture(scope="module")
def data(_shared_data, tmp_path_factory):
    """Return the data sets with images enough for some to be held out."""
    root = shutil.copytree(_shared_data, tmp_path_factory.mktemp("ambiguity") / "data")
    for index in range(30):
        for folder in ("img", "labelcol"):
            source = root / "CXR-Lungs" / folder
            (source / f"more{index}.png").write_bytes((source / "image0.png").read_bytes())
    return root


@pytest.fixture(scope="module")
def runs(data, tiny_config, text_encoder):
    """Return two short runs, with PDT and without."""
    images = [i for s in _SOURCES for i in load_taught_images(data, s, whole=64)]
    found = []
    for name, ambiguity in (("pdt", "exponential"), ("cosine", "none")):
        out = data.with_name("runs") / name
        out.mkdir(parents=True)
        recipe = _recipe(tiny_config, ambiguity=ambiguity)
        Pretraining(recipe, images, out, torch.device("cpu"), text_encoder=text_encoder).run()
        found.append(out)
    return found


def test_a_state_comes_back_with_its_heads_and_knows_how_spread_a_wording_is(runs, text_encoder):
    state = load_aligned(runs[0], torch.device("cpu"), text_encoder=text_encoder)
    v_cls, patches = state.image(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)), whole=True)
    texts = ["a frontal chest X-ray showing both lungs", "image"]

    together = state.spreads(patches, texts)

    assert (state.name, state.step, state.has_distributions) == ("pdt", 2, True)
    assert float(v_cls.norm()) == pytest.approx(1, abs=1e-5)
    heads = state.alignment.heads
    for text, found in zip(texts, together, strict=True):  # one by one, so without padding
        with torch.inference_mode():
            words = heads.words(state.model.text_encoder.words([text]).words)
            matches = heads.image_distribution(soft_match(*heads.attention.to_patches(words, patches[None])))
            own = heads.text_distribution(words)
            ratio = ambiguity_ratio(*pairwise_wasserstein(own.mu, own.sigma, matches.mu, matches.sigma))[0]
        assert found.ratio == pytest.approx(float(ratio.diagonal().mean()), rel=1e-4)
        assert found.sigma == pytest.approx(float(own.sigma.mean()), rel=1e-4)
        assert found.ratio > 1


def test_similarities_are_those_of_the_image_with_each_wording(runs, data, text_encoder):
    state = load_aligned(runs[1], torch.device("cpu"), text_encoder=text_encoder)
    image = next(iter(load_taught_images(data, "CXR-Lungs", whole=64)))

    (row,) = compared(state, [image])

    said = wordings_for(image)
    pixels = torch.from_numpy(image.image).permute(2, 0, 1).float() / 255
    v_cls, _ = state.image(pixels, whole=True)
    assert len(said["right captions"]) == 1
    assert len(said["wrong captions"]) == 2
    wanted = (state.texts(said["right captions"][0]) @ v_cls).tolist()
    assert row.similar["right captions"][0] == pytest.approx(wanted, abs=1e-5)
    assert row.spread("right captions") == pytest.approx(np.std(wanted, ddof=1), abs=1e-5)
    assert row.ratio is None


def test_wordings_of_tissue_name_its_density_and_wrong_ones_another_kind(shared_data):
    image = next(iter(load_taught_images(shared_data, "DSB2018", whole=64)))  # a quarter of it is nuclei

    said = wordings_for(image)

    assert all("densely packed nuclei" in text for text in said["right captions"][0])
    assert not any("nuclei" in text for texts in said["wrong captions"] for text in texts)
    assert "cell nuclei" in said["right prompts"][0]
    assert all("left lung" not in texts for texts in said["right prompts"])


def test_retrieval_counts_images_that_are_nearest_to_their_own_meaning(runs, data, text_encoder):
    state = load_aligned(runs[0], torch.device("cpu"), text_encoder=text_encoder)
    image = next(iter(load_taught_images(data, "SPIDER-Spine", whole=64)))
    pixels = torch.from_numpy(image.image).permute(2, 0, 1).float() / 255
    v_cls, _ = state.image(pixels, whole=True)
    nearest = 0
    for number in range(6):
        texts = [CAPTIONS["tissue"][number].format(name) for _, name in DENSITIES]
        texts += [CAPTIONS["xray"][number % 5], CAPTIONS["spine"][number % 5]]
        nearest += int((state.texts(texts) @ v_cls).argmax()) == 5

    assert retrieval(state, [image]) == pytest.approx(nearest / 6, abs=1e-4)


def test_spreads_of_two_states_are_compared_on_the_same_images():
    def rows(scale):
        cosines = [[0.1, 0.3], [0.2, 0.5], [0.0, 0.1]]
        return [
            Compared(f"s/{i}", "xray", {"right captions": [[scale * v for v in c]], "right prompts": []}, None, None)
            for i, c in enumerate(cosines)
        ]

    test = next(t for t in spread_tests({"a": rows(1), "b": rows(2)}) if t["group"] == "right captions")

    spreads = [float(np.std(c, ddof=1)) for c in ([0.1, 0.3], [0.2, 0.5], [0.0, 0.1])]
    assert (test["first"], test["second"], test["images"]) == ("a", "b", 3)
    assert test["difference"] == pytest.approx(-np.mean(spreads))


def test_one_command_writes_figures_table_and_picture(invoke, runs, data, tmp_path):
    out = tmp_path / "out"
    held = [i for i in range(30) if is_validation("CXR-Lungs", f"more{i}")]
    assert held

    result = invoke(main, *runs, "--data", data, "--out", out, "--images", "2")

    assert result.exit_code == 0, result.output
    pdt, cosine = json.loads((out / "ambiguity.json").read_text())["states"]
    assert (pdt["w"], cosine["w"]) == ("exponential", "none")
    assert pdt["groups"]["right captions"]["ratio"] > 1
    assert cosine["groups"]["right captions"]["ratio"] is None
    assert "| pdt | 2 | exponential | right captions |" in (out / "ambiguity.md").read_text()
    assert len(np.unique(np.asarray(Image.open(out / "ambiguity.png").convert("RGB")).reshape(-1, 3), axis=0)) > 4


def test_a_folder_without_a_state_is_told(tmp_path):
    with pytest.raises(ModelFileError, match=r"holds no state\.safetensors; give the folder of a pretraining run"):
        load_aligned(tmp_path, torch.device("cpu"))
