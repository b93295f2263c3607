"""CLIPSeg and SAM 3 in tiny random configurations, saved to a folder and loaded as published ones are."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPSegForImageSegmentation, Sam3Model

from napari_amvlm.errors import ModelFileError, PromptError
from napari_amvlm.models.text_prompted import answering, load_text_model, probability_of

KINDS = ("clipseg", "sam3")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_gives_a_probability_for_each_pixel_and_says_its_licence(text_models, kind):
    model = load_text_model(text_models[kind])
    images = torch.rand(2, 3, 40, 72, generator=torch.Generator().manual_seed(0))

    both = model.probability(images, ["heart", "red cells"])
    swapped = model.probability(images, ["red cells", "heart"])

    assert both.shape == (2, 1, 40, 72)
    assert both.dtype == torch.float32
    assert 0 <= float(both.min()) < float(both.max()) <= 1
    assert not torch.equal(both[0], swapped[0])  # the words matter
    assert (model.name, model.licence) == (f"tiny-{kind}", "apache-2.0")
    assert model.source == str(text_models[kind].resolve())


def test_clipseg_gives_what_the_library_gives_for_the_same_image(text_models):
    folder = text_models["clipseg"]
    network = CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    image = np.random.default_rng(0).random((48, 48, 3), np.float32)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] * 2 - 1
    tokens = AutoTokenizer.from_pretrained(folder)(["heart"], return_tensors="pt")

    found = probability_of(load_text_model(folder), image, "heart")

    with torch.no_grad():
        wanted = network(pixel_values=pixels, **tokens).logits.reshape(48, 48).sigmoid().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_sam3_gives_the_semantic_map_of_the_library(text_models):
    folder = text_models["sam3"]
    network = Sam3Model.from_pretrained(folder).eval()
    image = np.random.default_rng(0).random((56, 56, 3), np.float32)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] * 2 - 1
    tokens = AutoTokenizer.from_pretrained(folder)(["heart"], padding="max_length", max_length=32, return_tensors="pt")

    found = probability_of(load_text_model(folder), image, "heart")

    with torch.no_grad():
        logits = network(pixel_values=pixels, **tokens).semantic_seg
    wanted = torch.nn.functional.interpolate(logits, size=(56, 56), mode="bilinear").sigmoid()[0, 0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_sam3_is_read_out_of_the_files_of_its_video_model(text_models, tmp_path):
    folder, image = tmp_path / "video", torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    shutil.copytree(text_models["sam3"], folder)
    tensors = {f"detector_model.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    save_file(tensors | {"tracker_model.x": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    detector = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = {"model_type": "sam3_video", "detector_config": detector}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    video, plain = load_text_model(folder), load_text_model(text_models["sam3"])

    torch.testing.assert_close(video.probability(image, ["heart"]), plain.probability(image, ["heart"]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_that_cannot_be_read_is_refused_and_never_cut(text_models, kind):
    model, image = load_text_model(text_models[kind]), torch.zeros(1, 3, 32, 32)

    with pytest.raises(PromptError, match=r"word pieces, more than the 32 that tiny-\w+ can read; shorten it"):
        model.probability(image, ["word " * 300])
    with pytest.raises(PromptError, match="The prompt is empty"):
        model.probability(image, ["  "])


def test_it_answers_for_what_was_not_taught_or_what_ours_is_worse_at(tiny_config, text_models):
    model = load_text_model(text_models["clipseg"])
    worse = tiny_config.concepts[0].model_copy(update={"beaten_by": "tiny-clipseg"})
    beaten = tiny_config.model_copy(update={"concepts": (worse, *tiny_config.concepts[1:])})

    assert answering(tiny_config, model, "heart") is model
    assert answering(tiny_config, model, "cell nuclei") is None
    assert answering(beaten, model, "cell nuclei") is model
    assert answering(beaten, None, "cell nuclei") is None


def _without(*names):
    def change(folder):
        for name in names:
            (folder / name).unlink()

    return change


def _configured(text):
    return lambda folder: (folder / "config.json").write_text(text, encoding="utf-8") and None


def _cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _one_weight_less(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(min(name for name in tensors if "decoder" in name))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _other_shape(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"reduce_dim": 8}), encoding="utf-8")


def _odd_look(folder):
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5]}', encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shutil.rmtree, "There is no folder .* with a text model; check the path, or give hub:OWNER/NAME to fetch"),
        (_without("config.json"), "has no config.json, so it is no text model"),
        (_configured("{"), r"config.json is damaged: it is not valid JSON; fetch it again"),
        (_configured("[]"), r"config.json is damaged: it holds no configuration"),
        (_configured('{"model_type": "bert"}'), "of the kind 'bert', but a text model is one of clipseg, sam3"),
        (_without("model.safetensors"), "has no model.safetensors, and weights of another format could run code"),
        (_without("tokenizer.json"), "has no tokenizer"),
        (_cut_short, "cannot be loaded"),
        (_one_weight_less, "do not fit its config.json"),
        (_other_shape, "do not fit its config.json|cannot be loaded"),
        (_odd_look, "preprocessor_config.json cannot be understood"),
    ],
)
def test_wrong_and_missing_files_are_named_in_one_sentence(text_models, tmp_path, change, words):
    folder = tmp_path / "copy"
    shutil.copytree(text_models["clipseg"], folder)
    change(folder)

    with pytest.raises(ModelFileError, match=words) as raised:
        load_text_model(folder)

    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")


def test_nothing_is_fetched_unless_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ModelFileError, match="is not on this computer and was not fetched from the hub"):
        load_text_model("hub:nobody/nothing", fetch=False)


def test_a_licence_file_speaks_where_the_card_does_not(text_models, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(text_models["clipseg"], folder)
    (folder / "README.md").unlink()

    assert load_text_model(folder).licence == "not stated"
    (folder / "LICENSE").write_text("\nSAM License\nmore\n", encoding="utf-8")
    assert load_text_model(folder).licence == "SAM License"
