"""Checkpoints: round trip, and clear refusals of damaged or foreign files."""

import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_amvlm.errors import ModelFileError, StorageError
from napari_amvlm.models.catalog import FORMER, find_model, installed_model, installed_models
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.models.model_info import read_info


def test_a_model_comes_back_with_its_answers_and_its_origin(tiny_model, tiny_checkpoint, text_encoder):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    loaded, info = load_model(tiny_checkpoint, text_encoder=text_encoder)

    with torch.no_grad():
        answers = [
            m.decode(m.encode_image(image, torch.tensor([False])), m.encode_text(["nuclei"]))
            for m in (tiny_model, loaded)
        ]

    assert torch.allclose(answers[0].logits, answers[1].logits, atol=2e-2)
    assert loaded.config == tiny_model.config
    assert (info.name, info.licence, info.prompts) == ("tiny", "CC0-1.0", ("nuclei", "left lung"))


def test_the_file_is_half_precision_without_the_sentence_encoder(tiny_checkpoint):
    assert tiny_checkpoint.stat().st_size < 1_000_000


@pytest.mark.parametrize("keep", [0, 5, 100, 3000, -7])
def test_a_file_that_was_cut_short_is_refused(tiny_checkpoint, tmp_path, text_encoder, keep):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(tiny_checkpoint.read_bytes()[:keep])

    with pytest.raises(ModelFileError, match="cut"):
        load_model(path, text_encoder=text_encoder)


def _with_header(path, header):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def test_foreign_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(3)}, foreign)
    bad_config = {
        "__metadata__": {
            "format": "napari-amvlm/2",
            "scores": "{}",
            "name": "x",
            "version": "1",
            "licence": "",
            "training_data": "",
            "created": "",
            "config": '{"module": "os"}',
        }
    }

    with pytest.raises(ModelFileError, match="not a napari-amvlm model"):
        read_info(foreign)
    with pytest.raises(ModelFileError, match="cannot be understood"):
        read_info(_with_header(tmp_path / "c.safetensors", bad_config))
    with pytest.raises(ModelFileError, match="not a napari-amvlm model"):
        read_info(_with_header(tmp_path / "d.safetensors", [1, 2]))


def test_a_model_of_another_version_is_told_from_a_foreign_file(tmp_path):
    older = _with_header(tmp_path / "older.safetensors", {"__metadata__": {"format": "napari-amvlm/1"}})

    with pytest.raises(ModelFileError, match=r"written by another version of napari-amvlm .* fine-tune it anew"):
        read_info(older)


def test_a_header_that_claims_a_terabyte_is_not_believed(tmp_path):
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")

    with pytest.raises(ModelFileError, match="cut short"):
        read_info(path)


def test_weights_that_are_not_finite_are_refused(tiny_checkpoint, tmp_path, text_encoder):
    tensors = load_file(tiny_checkpoint)
    tensors["unet.head.bias"].fill_(float("nan"))
    with safe_open(tiny_checkpoint, "pt") as file:
        metadata = file.metadata()
    path = tmp_path / "nan.safetensors"
    save_file(tensors, path, metadata=metadata)

    with pytest.raises(ModelFileError, match="not finite"):
        load_model(path, text_encoder=text_encoder)


def test_weights_of_another_shape_are_refused(tiny_checkpoint, tmp_path, text_encoder):
    tensors = load_file(tiny_checkpoint)
    with safe_open(tiny_checkpoint, "pt") as file:
        metadata = file.metadata()
    tensors["unet.head.bias"] = torch.zeros(7)
    path = tmp_path / "other.safetensors"
    save_file(tensors, path, metadata=metadata)

    with pytest.raises(ModelFileError, match=r"unet\.head\.bias"):
        load_model(path, text_encoder=text_encoder)


def test_an_unwritable_folder_is_told_and_leaves_nothing(tiny_model, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    with pytest.raises(StorageError, match="could not be written"):
        save_model(tiny_model, blocked / "m.safetensors", name="m", licence="", training_data="")


def test_an_unknown_model_name_lists_what_there_is():
    with pytest.raises(ModelFileError, match="no model 'no-such-model'"):
        find_model("no-such-model")


def test_weights_that_half_precision_cannot_hold_are_not_written(tiny_model, tmp_path):
    with torch.no_grad():
        tiny_model.unet.head.bias.fill_(1e6)

    with pytest.raises(ModelFileError, match=r"unet\.head\.bias are not finite in half precision"):
        save_model(tiny_model, tmp_path / "m.safetensors", name="m", licence="CC0-1.0", training_data="none")

    assert list(tmp_path.iterdir()) == []


def test_an_installed_model_is_found_by_its_hash_and_by_that_of_one_that_it_replaced():
    for info in installed_models():
        former = [sha256 for sha256, title in FORMER.items() if title.startswith(f"{info.name} ")]

        assert former
        assert {installed_model(sha256).name for sha256 in (info.sha256, *former)} == {info.name}

    assert installed_model(None) is installed_model("0" * 64) is None
