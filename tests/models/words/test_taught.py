"""What counts as taught: wordings in any order and spelling, and nothing that says more than they do."""

import pytest

from napari_amvlm.config import Concept, ModelConfig
from napari_amvlm.models.build import build_model
from napari_amvlm.models.words.taught import taught
from napari_amvlm.models.words.word_list import nearest_concept, wordings

_CONCEPTS = (
    Concept(name="nuclei", prompts=("nuclei", "cell nuclei", "the nuclei of the cells"), scale="tiles"),
    Concept(name="lungs", prompts=("lungs", "lung fields", "left and right lungs"), scale="whole"),
    Concept(name="left lung", prompts=("left lung",), scale="whole"),
    Concept(name="sarcoma", prompts=("sarcoma", "tumor"), scale="whole"),
)
_PLAIN = ModelConfig(concepts=_CONCEPTS)
_WITH_STRUCTURE = ModelConfig(concepts=_CONCEPTS, structure=True)


def _named(config, prompt):
    meaning = taught(config, prompt)
    return None if meaning is None else [concept.name for concept in meaning.concepts]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("NUCLEI", "nuclei"),
        ("segment all nuclei of the cell", "nuclei"),
        ("Lung, left", "left lung"),
        ("the patient's lungs in a chest X-ray", "lungs"),
        ("left and right lungs", "lungs"),
        ("tumour", "sarcoma"),
        ("tumors on T2 MRI", "sarcoma"),
        ("nuclei, skin biopsy", "nuclei"),
    ],
)
def test_a_wording_is_known_in_any_order_number_and_spelling(prompt, name):
    assert _named(_PLAIN, prompt) == [name]


@pytest.mark.parametrize(
    "prompt",
    [
        "infected lung area",
        "cells",
        "lung tumour",
        "diaphragm",
        "tumour in the liver",
        "infection in the left lung",
        "cells with nuclei",
        "left part of the lungs",
        "part of the lungs",
        "?",
    ],
)
def test_one_more_word_is_another_thing(prompt):
    assert taught(_PLAIN, prompt) is None
    assert taught(_WITH_STRUCTURE, prompt) is None


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("everything except nuclei", ["nuclei"]),
        ("upper part of the left lung", ["left lung"]),
        ("upper lungs in a chest X-ray", ["lungs"]),
        ("lungs without the left lung", ["lungs", "left lung"]),
        ("sarcoma and lungs", ["sarcoma", "lungs"]),
        ("sarcoma, the left lung, and nuclei", ["sarcoma", "left lung", "nuclei"]),
        ("upper lungs, chest X-ray", ["lungs"]),
        ("without nuclei", ["nuclei"]),
        ("background", []),
    ],
)
def test_structure_is_taught_where_the_model_learnt_it(prompt, names):
    assert _named(_WITH_STRUCTURE, prompt) == names
    meaning = taught(_WITH_STRUCTURE, prompt)
    assert meaning is not None
    assert meaning.structured
    assert taught(_PLAIN, prompt) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "lungs and heart",
        "lungs, heart",
        "everything",
        "everything and lungs",
        "and lungs",
        "the largest",
        "without",
        "upper and lower lung",
        "lungs and upper part",
        "a third of the lungs",
        "largest upper lung",
    ],
)
def test_structure_of_unknown_words_or_of_none_is_not_taught(prompt):
    assert taught(_WITH_STRUCTURE, prompt) is None


@pytest.mark.parametrize(
    ("learnt", "asked"),
    [("CD4+ cells", "CD4- cells"), ("Ki-67-", "Ki-67+"), ("दिल", "दाल"), ("hand", "area"), ("★", "?")],
)
def test_words_that_differ_by_a_sign_are_told_apart(learnt, asked):
    config = ModelConfig(concepts=(Concept(name=learnt, prompts=(learnt,), scale="tiles"),))

    assert _named(config, learnt) == [learnt]
    assert taught(config, asked) is None


def test_a_word_of_one_part_of_the_body_is_not_taught_of_another():
    ventricles = Concept(name="ventricles", prompts=("ventricles",), scale="whole", body="head")
    config = ModelConfig(concepts=(ventricles, *_CONCEPTS))

    assert _named(config, "ventricles in a brain MR") == ["ventricles"]
    assert _named(config, "nuclei of the heart") == ["nuclei"]
    assert taught(config, "ventricles of the heart") is None


def test_a_word_learnt_from_slides_is_not_taught_of_a_scan():
    carcinoma = {"name": "carcinoma", "prompts": ("carcinoma", "tumor"), "scale": "whole", "body": "tissue and cells"}
    config = ModelConfig(concepts=(Concept(**carcinoma, modalities=("histology",)),))
    of_scans = ModelConfig(concepts=(Concept(**carcinoma, modalities=("MR",)),))

    assert _named(config, "tumor in histology of the brain") == _named(config, "tumor") == ["carcinoma"]
    assert taught(config, "tumor in brain MR") is taught(config, "tumor in chest CT") is None
    assert _named(of_scans, "tumor in brain MR") == ["carcinoma"]


def test_a_wording_that_two_words_share_is_listed_of_the_one_that_it_names():
    vessels = Concept(name="retinal vessels", prompts=("blood vessels", "vasculature"), scale="whole")
    vessel = Concept(name="blood vessel", prompts=("blood vessels", "vessel"), scale="whole")
    config = ModelConfig(concepts=(vessels, vessel))

    assert _named(config, "blood vessels") == ["blood vessel"]
    assert (wordings(config, vessels), wordings(config, vessel)) == (["vasculature"], ["blood vessels", "vessel"])


def test_a_model_without_concepts_was_taught_nothing():
    assert taught(ModelConfig(structure=True), "nuclei") is None


def test_the_nearest_word_is_found_by_meaning(tiny_model, tiny_config, text_encoder):
    word, similarity = nearest_concept(tiny_model, "cell nucleus") or ("", 0.0)
    empty = build_model(tiny_config.model_copy(update={"concepts": ()}), text_encoder=text_encoder, seed=0)

    assert word == "nuclei"
    assert 0.6 < similarity < 1
    assert nearest_concept(tiny_model, "left lung") == ("left lung", pytest.approx(1, abs=1e-5))
    assert nearest_concept(tiny_model, "lobe of the lung") == ("left lung", pytest.approx(0.6, abs=0.3))
    assert nearest_concept(empty, "nuclei") is None


def test_a_word_that_the_model_does_not_find_is_not_taught(tiny_model):
    nuclei, lung = tiny_model.config.concepts
    weak = tiny_model.config.model_copy(update={"concepts": (nuclei, lung.model_copy(update={"dice": 0.03}))})
    tiny_model.config = weak

    assert taught(weak, "left lung") is None
    assert taught(weak, "nuclei") is not None
    assert taught(weak.model_copy(update={"structure": True}), "upper left lung") is None
    assert (nearest_concept(tiny_model, "left lung") or ("", 0))[0] == "nuclei"
