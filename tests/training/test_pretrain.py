"""Pretraining on tiny sets: batches, resuming, and the weights it leaves."""

import hashlib
import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from napari_amvlm.config import ObjectsConfig
from napari_amvlm.errors import InputError
from napari_amvlm.models.build import build_model
from napari_amvlm.models.checkpoint import save_model
from napari_amvlm.models.model_info import read_info
from training.pretrain import check_start, main
from training.pretraining.batches import BatchSource
from training.pretraining.data import load_taught_images
from training.pretraining.page import curve_records
from training.pretraining.recipe import Recipe
from training.pretraining.run import Pretraining
from training.runs.folder import save_tensors

_SOURCES = ("DSB2018", "TNBC", "CXR-Lungs", "SPIDER-Spine")


@pytest.fixture
def images(shared_data):
    return [i for s in _SOURCES for i in load_taught_images(shared_data, s, whole=64)]


def _recipe(model, **changes):
    base = {
        "name": "t",
        "version": "0",
        "licence": "CC0-1.0",
        "training_data": "noise",
        "model": model,
        "steps": 4,
        "crop": 64,
        "tile_batch": 2,
        "whole_batch": 2,
        "score_every": 100,
        "save_every_seconds": 1e9,
    }
    return Recipe.model_validate(base | changes)


def test_a_batch_depends_on_seed_and_step_alone(images):
    one, two, other = (BatchSource(images, seed=s, tile_batch=2, whole_batch=2, size=64) for s in (1, 1, 2))
    one.draw(0)

    assert torch.equal(one.draw(3).images, two.draw(3).images)
    assert not torch.equal(one.draw(3).images, other.draw(3).images)


def test_absent_concepts_have_empty_targets(images):
    source = BatchSource(images, seed=0, tile_batch=4, whole_batch=4, size=64)
    absent = 0
    for step in range(0, 20, 2):
        batch = source.draw(step)
        for concept, target in zip(batch.concepts, batch.targets, strict=True):
            if concept != "nuclei":
                absent += 1
                assert float(target.sum()) == 0

    assert absent > 5


def test_negatives_share_the_scale_of_a_batch_and_are_asked_only_for_what_they_do_not_show(images):
    source = BatchSource(images, seed=0, tile_batch=3, whole_batch=2, size=64, negatives=1)
    denied = {True: set(), False: set()}
    for step in range(40):
        batch = source.draw(step)
        whole = step % 2 == 1
        last = len(batch.images) - 1
        asked = [k for k, i in enumerate(batch.index.tolist()) if i == last]
        assert batch.whole.tolist() == [whole] * (3 if whole else 4)
        assert len(asked) == 1
        assert float(batch.targets[asked[0]].sum()) == 0
        assert (batch.meanings[last] in {"xray", "spine"}) == (not whole)
        assert len({m in {"xray", "spine"} for m in batch.meanings}) == 2
        denied[whole].add(batch.concepts[asked[0]])

    assert "nuclei" in denied[False]
    assert {"lungs", "left lung", "vertebrae"} & denied[True]
    assert "nuclei" not in denied[True]


def test_a_run_does_not_go_on_under_another_recipe(images, tiny_config, tmp_path):
    Pretraining(_recipe(tiny_config), images, tmp_path, torch.device("cpu")).save_state()
    other = Pretraining(_recipe(tiny_config, learning_rate=1e-4), images, tmp_path, torch.device("cpu"))

    with pytest.raises(InputError, match=r"state\.safetensors is of a run with another recipe; choose another --out"):
        other.load_state()


def test_a_run_goes_on_from_the_weights_that_its_recipe_names_and_no_others(images, tiny_config, tmp_path):
    older = Pretraining(_recipe(tiny_config, seed=1), images, tmp_path, torch.device("cpu")).averaged_model()
    weights = tmp_path / "older.safetensors"
    save_model(older, weights, name="older", version="0", licence="CC0-1.0", training_data="noise", scores={})
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    run = Pretraining(_recipe(tiny_config, start=digest), images, tmp_path, torch.device("cpu"))
    run.start_from(weights)

    momentum = run.alignment.momentum.module["image_projection"].state_dict()
    assert all(torch.equal(v, momentum[k]) for k, v in run.model.image_projection.state_dict().items())
    pairs = zip(run.averaged_model().state_dict().values(), older.state_dict().values(), strict=True)
    assert all(torch.allclose(a.float(), b.float(), rtol=1e-2, atol=1e-3) for a, b in pairs)
    Pretraining(_recipe(tiny_config, start="given"), images, tmp_path, torch.device("cpu")).start_from(weights)
    other = Pretraining(_recipe(tiny_config, start="0" * 64), images, tmp_path, torch.device("cpu"))
    with pytest.raises(
        InputError, match=r"older\.safetensors has SHA-256 .*; the recipe starts from 0+\. Give --start"
    ):
        other.start_from(weights)


def test_a_run_leaves_out_the_head_for_objects_of_the_weights(images, tiny_config, tmp_path):
    config = tiny_config.model_copy(update={"objects": ObjectsConfig(concepts=("nuclei",))})
    weights = tmp_path / "with-objects.safetensors"
    released = build_model(config, seed=1)
    save_model(released, weights, name="older", version="0", licence="CC0-1.0", training_data="noise", scores={})
    run = Pretraining(_recipe(tiny_config, start="given"), images, tmp_path, torch.device("cpu"))

    run.start_from(weights)

    learnt, before = run.model.unet.state_dict(), released.unet.state_dict()
    assert all(torch.allclose(v, before[k], atol=1e-3) for k, v in learnt.items())


def test_in_mirrored_chest_x_rays_too_the_left_lung_is_the_patients(images):
    xrays = [i for i in images if i.kind == "xray"]
    source = BatchSource(xrays, seed=0, tile_batch=1, whole_batch=4, size=64)
    columns = torch.arange(64.0)
    compared = 0
    for step in range(1, 41, 2):
        batch = source.draw(step)
        centres = {}
        for index, concept, target in zip(batch.index.tolist(), batch.concepts, batch.targets, strict=True):
            if float(target.sum()) > 50:
                centres[index, concept] = float((target[0].sum(0) * columns).sum() / target.sum())
        for index in range(4):
            left, right = centres.get((index, "left lung")), centres.get((index, "right lung"))
            if left is not None and right is not None:
                compared += 1
                assert left > right

    assert compared > 10


@pytest.mark.parametrize("older", [False, True], ids=["now", "before 0.6"])
def test_a_resumed_run_ends_with_the_same_weights(images, tiny_config, tmp_path, older):
    recipe, state = _recipe(tiny_config), tmp_path / "broken" / "state.safetensors"
    for folder in ("whole", "broken"):
        (tmp_path / folder).mkdir()
    whole = Pretraining(recipe, images, tmp_path / "whole", torch.device("cpu"))
    assert whole.run()

    first = Pretraining(recipe, images, tmp_path / "broken", torch.device("cpu"))
    stop = iter([False, True])
    assert not first.run(lambda: next(stop))
    if older:
        with safe_open(state, "pt") as file:
            told = file.metadata()
        assert told.pop("progress")
        save_tensors(load_file(state), state, told)
    second = Pretraining(recipe, images, tmp_path / "broken", torch.device("cpu"))
    second.load_state()
    assert second.step == 1
    assert second.run()

    for one, other in ((whole.averaged_model(), second.averaged_model()), (whole.alignment, second.alignment)):
        pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        assert all(torch.allclose(a.float(), b.float(), atol=1e-5) for a, b in pairs)


def test_one_command_leaves_weights_with_their_origin(invoke, shared_data, tiny_config, tmp_path):

    model = tiny_config.model_dump(
        mode="json", include={"image_encoder", "unet", "embedding", "dense", "tile", "overlap", "whole"}
    )
    lines = [
        'name = "mini"',
        'version = "1"',
        'licence = "CC0-1.0"',
        'training_data = "noise"',
        "steps = 2",
        "presence_steps = 2",
        "crop = 64",
        "tile_batch = 2",
        "whole_batch = 2",
        "[model]",
    ]
    for key, value in model.items():
        inner = ", ".join(f"{k} = {v}" for k, v in value.items()) if isinstance(value, dict) else None
        lines.append(f"{key} = {{ {inner} }}" if inner else f"{key} = {value}")
    recipe = tmp_path / "mini.toml"
    recipe.write_text("\n".join(lines))
    for index in range(24):  # more names, so that some are for validation
        for folder in ("img", "labelcol"):
            source = shared_data / "CXR-Lungs" / folder
            (source / f"more{index}.png").write_bytes((source / "image0.png").read_bytes())
    out = tmp_path / "run"

    result = invoke(main, recipe, "--data", shared_data, "--out", out, "--device", "cpu")

    assert result.exit_code == 0, result.output
    info = read_info(out / "mini.safetensors")
    assert info.licence == "CC0-1.0"
    assert "left lung" in info.prompts
    scores, data, config = (json.loads((out / f"{name}.json").read_text()) for name in ("scores", "data", "config"))
    assert info.scores == scores["scores"]
    assert sorted(scores["per_image"]) == sorted(data["split"]["validation"])
    assert not set(data["split"]["validation"]) & set(data["split"]["training"])
    some = shared_data / "CXR-Lungs" / "labelcol" / "more3.png"
    assert data["sha256"]["CXR-Lungs/labelcol/more3.png"] == hashlib.sha256(some.read_bytes()).hexdigest()
    assert (config["recipe"]["steps"], config["start"]) == (2, None)
    lungs = [row["dice"]["lungs"] for row in scores["per_image"].values() if "lungs" in row["dice"]]
    assert scores["scores"]["lungs"] == pytest.approx(sum(lungs) / len(lungs), abs=1e-4)
    page = (out / "report.md").read_text()
    assert f"| lungs | {len(lungs)} | {scores['scores']['lungs']:.4f} |" in page
    assert all((out / name).is_file() for name in re.findall(r"\]\(([^)]+\.png)\)", page))
    assert "(overlay-1.png)" in page


def test_a_step_that_was_logged_twice_is_drawn_once():
    logged = [
        {"step": 50, "segmentation": 0.9},
        {"step": 100, "segmentation": 0.8},
        {"step": 50, "segmentation": 0.7},
        {"step": 100, "dice": {"nuclei": 0.6, "lungs": 0.8, "absent": 0.0}},
        {"step": 200, "dice": {}},
    ]

    assert curve_records(logged) == [
        {"event": "step", "step": 50, "loss": 0.7},
        {"event": "step", "step": 100, "loss": 0.8},
        {"event": "validation", "step": 100, "dice": pytest.approx(0.7)},
    ]


def test_weights_to_go_on_from_are_asked_for_where_the_recipe_wants_some_and_only_there(tiny_config, tmp_path):
    check_start(_recipe(tiny_config), None)
    check_start(_recipe(tiny_config, start="given"), tmp_path)

    with pytest.raises(InputError, match=r"goes on from weights; name them with --start WEIGHTS"):
        check_start(_recipe(tiny_config, start="given"), None)
    with pytest.raises(InputError, match=r"begins at random weights; leave --start .* out"):
        check_start(_recipe(tiny_config), tmp_path)
