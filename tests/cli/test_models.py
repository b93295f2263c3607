"""`napari-amvlm models`."""

import hashlib
import json

from napari_amvlm.models.checkpoint import save_model


def test_a_file_is_described(run, tiny_checkpoint):
    outcome = run("models", tiny_checkpoint, "--json")

    found = json.loads(outcome.out)[-1]
    assert outcome.code == 0
    assert (found["name"], found["licence"]) == ("tiny", "CC0-1.0")
    assert found["prompts"]["nuclei"] == ["nuclei", "cell nuclei"]
    assert found["bytes"] == tiny_checkpoint.stat().st_size
    assert found["sha256"] == hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()


def test_lines_for_people(run, tiny_checkpoint):
    outcome = run("models", tiny_checkpoint)

    assert "tiny  CC0-1.0" in outcome.out
    assert "nuclei, left lung" in outcome.out
    assert str(tiny_checkpoint) in outcome.out


def test_a_damaged_file(run, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x00" * 40)

    outcome = run("models", damaged)

    assert outcome.code == 2
    assert "damaged.safetensors" in outcome.err
    assert outcome.err.count("\n") == 1


def test_words_by_part_of_the_body(run, tiny_model, tmp_path):
    nuclei, lung = tiny_model.config.concepts
    told = {"body": "tissue and cells", "modalities": ("histology",), "dice": 0.75}
    concepts = (nuclei.model_copy(update=told), lung.model_copy(update={"body": "chest", "dice": 0.02}))
    tiny_model.config = tiny_model.config.model_copy(update={"concepts": concepts})
    save_model(tiny_model, tmp_path / "m.safetensors", name="m", licence="CC0-1.0", training_data="none")

    lines = run("models", tmp_path / "m.safetensors", "--words").out.splitlines()

    assert lines[-5:] == [
        "m  1",
        "chest",
        "  left lung: images not stated; Dice 0.02, so it counts as not taught",
        "tissue and cells",
        "  nuclei: histology; Dice 0.75; also cell nuclei",
    ]
