"""Damaged model files: a clear error or the model, never a crash, a hang, foreign code, or memory beyond bounds."""

import json
import struct

import pytest
from hypothesis import strategies as st

from napari_amvlm.errors import ModelFileError, TextEncoderError
from napari_amvlm.models import text_encoder as text_encoders
from napari_amvlm.models.checkpoint import load_model
from tests.damaged import bounded_memory, check_message, damages, few_or_many, json_damages, snapshot, try_cases


def _parts(content):
    """Return header and weights of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _joined(header, weights):
    return struct.pack("<Q", len(header)) + header + weights


def _fuzz(checkpoint, text_encoder, folder, cases):
    """Return how many cases were tried and how many of them were refused."""
    intact = checkpoint.read_bytes()
    header, weights = _parts(intact)
    config = json.loads(header["__metadata__"]["config"])
    place = folder / "case"
    place.mkdir()
    path, refused = place / "model.safetensors", 0

    def case(kind, damage, change):
        nonlocal refused
        if kind == "bytes":
            content = damage(intact)
        elif kind == "header":
            content = _joined(change(header), weights)
        else:
            changed = change(config).decode("utf-8", "surrogatepass")
            metadata = header["__metadata__"] | {"config": changed}
            content = _joined(json.dumps(header | {"__metadata__": metadata}).encode(), weights)
        path.write_bytes(content)
        before = snapshot(place)
        try:
            model, info = load_model(path, text_encoder=text_encoder)
            assert model.config == info.config
        except (ModelFileError, TextEncoderError) as error:
            check_message(error, str(path))
            refused += 1
        assert snapshot(place) == before

    kinds = st.sampled_from(("bytes", "header", "config", "config"))
    return try_cases(cases, case, kinds, damages(), json_damages()), refused


@few_or_many(60, 600)
def test_damaged_models_end_in_a_clear_error_or_the_model(tiny_checkpoint, text_encoder, tmp_path, cases):
    with bounded_memory():
        tried, refused = _fuzz(tiny_checkpoint, text_encoder, tmp_path, cases)

    assert tried >= cases
    assert cases // 4 < refused < tried


@pytest.mark.parametrize(
    "change",
    [
        {"image_encoder": {"hidden": 2048, "layers": 48, "heads": 32, "mlp_ratio": 8.0}},
        {"unet": {"channels": [4096, 4096, 4096, 4096], "groups": 64, "tokens": 1024, "text": 1024}},
        {"unet": {"channels": [8, 8, 8, 10**9]}},
        {"image_encoder": {"stem": [8, 8, -8, 16]}},
        {"image_encoder": {"stem": [8, 8, 8, 10**12]}},
    ],
)
def test_a_configuration_larger_than_its_file_takes_no_memory(tiny_checkpoint, text_encoder, change):
    header, weights = _parts(tiny_checkpoint.read_bytes())
    config = json.loads(header["__metadata__"]["config"])
    for part, values in change.items():
        config[part] |= values
    header["__metadata__"]["config"] = json.dumps(config)
    tiny_checkpoint.write_bytes(_joined(json.dumps(header).encode(), weights))
    said = r"tiny\.safetensors .*(does not hold the weights|cannot be understood)"

    with bounded_memory(), pytest.raises(ModelFileError, match=said):
        load_model(tiny_checkpoint, text_encoder=text_encoder)


@pytest.mark.parametrize("named", ["module", "code", "auto_map", "trust_remote_code", "_target_"])
def test_a_configuration_cannot_name_code(tiny_checkpoint, text_encoder, named):
    header, weights = _parts(tiny_checkpoint.read_bytes())
    config = json.loads(header["__metadata__"]["config"])
    config["text_encoder"][named] = "os.system"
    header["__metadata__"]["config"] = json.dumps(config)
    tiny_checkpoint.write_bytes(_joined(json.dumps(header).encode(), weights))

    with pytest.raises(ModelFileError, match="cannot be understood"):
        load_model(tiny_checkpoint, text_encoder=text_encoder)


def test_a_text_encoder_that_brings_code_is_refused_and_not_run(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Own: pass\n")
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    # Where the files of a repository lie once they are fetched; fetching them needs a network.
    monkeypatch.setattr(text_encoders, "_find_weights", lambda _config: tmp_path)
    config = text_encoders.TextEncoderConfig(repository="somebody/own", sha256=None)

    with pytest.raises(TextEncoderError, match="'somebody/own' cannot be loaded"):
        text_encoders.load_text_encoder(config)

    assert not (tmp_path / "ran").exists()
