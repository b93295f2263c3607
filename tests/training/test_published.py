"""AMVLM as published: both steps from one recipe, `base` from saved folders, and sets larger than memory."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import torch
from safetensors import safe_open
from skimage.io import imsave
from transformers import BertConfig, BertModel, BertTokenizerFast, ViTConfig, ViTModel

from napari_amvlm.errors import Cancelled, DatasetError, ModelFileError, TextEncoderError
from napari_amvlm.models.build import build_model
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.models.image_encoder import load_vit
from napari_amvlm.models.model_info import read_info
from training.datasets.mask_captions import caption_of
from training.evaluate import evaluate, run_recipe
from training.published import Published, publish
from training.runs.folder import RunFolder
from training.runs.recipe import read_recipe

_RECIPES = Path(__file__).parents[2] / "training" / "recipes"
_CPU = torch.device("cpu")
_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dark", "discs", "picture", "held", "out", ",", *"0123456789")


@pytest.fixture
def folders(tmp_path):
    """Return saved folders of a tiny BERT with vocab.txt, and of a tiny ViT of another grid."""
    text, image = tmp_path / "bert", tmp_path / "vit"
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(_WORDS), intermediate_size=16, **sizes)).save_pretrained(text)
    (text / "vocab.txt").write_text("\n".join(_WORDS))
    BertTokenizerFast(vocab=str(text / "vocab.txt")).save_pretrained(text)
    ViTModel(ViTConfig(image_size=96, intermediate_size=16, **sizes)).save_pretrained(image)
    return text, image


def _recipe(model, **more):
    pairs = {"model": model, "batch": 4, "crop": 64, "steps": 3, "warmup": 1, "step_one_weight": 1, "log_every": 1}
    learning = {"crop": 64, "square": 64, "labelled_batch": 2, "unlabelled_batch": 1, "validations": 1}
    run = {"name": "p", "dataset": "MoNuSeg", "labels": 4, "steps": 3, "prompts": "captions", "learning": learning}
    return Published.model_validate({"pairs": pairs | more.pop("pairs", {}), "run": run | more.pop("run", {}), **more})


def _base(folders):
    text, image = folders
    model = {
        "like": "base",
        "embedding": 16,
        "dense": 8,
        "tile": 64,
        "overlap": 16,
        "whole": 64,
        "text_encoder": {"repository": str(text), "width": 16, "layers": 1},
        "image_encoder": {"hidden": 16, "layers": 2, "heads": 2, "mlp_ratio": 1, "grid": 4},
        "unet": {"channels": [8, 8, 8, 8, 8], "groups": 4, "tokens": 4, "text": 8},
    }
    return {"model": model, "vit": str(image)}


@pytest.mark.parametrize("name", ["qata", "bmseg", "monuseg", "mrspineseg"])
def test_every_published_recipe_can_be_used(name):
    recipe = read_recipe(Published, _RECIPES / f"published-{name}.toml")

    one, two = recipe.step_one(320), recipe.step_two(None)

    assert (one.batch, one.steps, one.model.whole, one.model.text_encoder.layers) == (32, 1000, 224, 6)
    assert one.step_one.ambiguity == "sigmoid"
    assert (two.published, two.learning_config().square, two.labels) == (True, 224, "25%")


def test_both_steps_run_stop_and_go_on(discs_data, tiny_config, text_encoder, tmp_path):
    recipe, out = _recipe(tiny_config.model_dump(), epochs=1.5), tmp_path / "out"
    asked = iter([False, True])

    with pytest.raises(Cancelled, match="of 3 steps of step 1"):
        publish(recipe, discs_data, out, device=_CPU, text_encoder=text_encoder, should_stop=lambda: next(asked))
    scores = publish(recipe, discs_data, out, device=_CPU, text_encoder=text_encoder, should_stop=lambda: False)

    steps = [json.loads(line) for line in (out / "step-1" / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in steps if "ita" in r] == [1, 2, 3]
    assert all({"css", "icl", "r T2V", "w T2V"} <= r.keys() for r in steps if "ita" in r)
    assert "segmentation" not in steps[0]
    assert (out / "step-1" / "ambiguity.png").stat().st_size > 5000
    assert read_info(out / "step-1" / "step-1.safetensors").config.concepts == ()
    assert list(scores["scores"]["captions"]) == ["224"]
    assert "L_tg acted in" in (out / "step-2" / "report.md").read_text()


def test_a_step_1_of_losses_that_weigh_nothing_leaves_random_weights(discs_data, tiny_config, text_encoder, tmp_path):
    recipe = _recipe(tiny_config.model_dump(), pairs={"step_one": {"ita": 0, "css": 0, "icl": 0}, "seed": 1})

    publish(recipe, discs_data, tmp_path / "out", device=_CPU, text_encoder=text_encoder, should_stop=lambda: False)

    model, info = load_model(tmp_path / "out" / "step-1" / "step-1.safetensors", text_encoder=text_encoder)
    random = build_model(info.config, text_encoder=text_encoder, seed=1).state_dict()
    assert all(torch.equal(value.half(), random[name].half()) for name, value in model.state_dict().items())


def test_a_run_of_one_meaning_says_that_l_tg_did_not_act(discs_data, tiny_config, text_encoder, tmp_path):
    recipe, run = _recipe(tiny_config.model_dump(), captions="masks", run={"prompts": "fixed"}), tmp_path / "out/step-2"

    publish(recipe, discs_data, tmp_path / "out", device=_CPU, text_encoder=text_encoder, should_stop=lambda: False)
    again = evaluate(str(run), run_recipe(str(run), None, ()), discs_data, device=_CPU, protocols=("224",))

    # squares that were learnt are looked at in their own size, by the run and by whoever scores it again
    assert again["scores"]["fixed"]["224"] == RunFolder(run).read("scores.json")["scores"]["fixed"]["224"]
    assert "L_tg did not act" in (tmp_path / "out" / "step-2" / "report.md").read_text()
    assert "made of masks" in (tmp_path / "out" / "step-1" / "data.json").read_text()


def test_base_from_saved_folders_steps(discs_data, folders, tmp_path):
    recipe = _recipe({}, pairs=_base(folders))

    publish(recipe, discs_data, tmp_path / "out", device=_CPU, should_stop=lambda: False)

    info = read_info(tmp_path / "out" / "step-2" / "model.safetensors")
    assert info.config.text_encoder.trainable
    assert (info.config.image_encoder.stem, info.config.unet.patch) == (None, 1)


def test_a_vit_of_another_grid_or_size(folders, text_encoder):
    config = Published.model_validate(_recipe({}, pairs=_base(folders)).model_dump()).step_one(4).model
    model = build_model(
        config.model_copy(update={"text_encoder": text_encoder.config}), text_encoder=text_encoder, seed=1
    )
    published = ViTModel.from_pretrained(folders[1])

    load_vit(model.image_encoder, str(folders[1]))

    learnt, start = model.image_encoder.vit.state_dict(), published.state_dict()
    alike = [k for k in learnt if k in start and torch.equal(learnt[k], start[k])]
    assert len(alike) == len(learnt) - 1  # all but the positions
    assert learnt["embeddings.position_embeddings"].shape[1] == 17
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load_vit(model.image_encoder, str(folders[1] / "nowhere"))


def test_a_text_encoder_that_is_a_pickle_is_refused(folders, discs_data, tmp_path):
    (folders[0] / "model.safetensors").rename(folders[0] / "pytorch_model.bin")

    with pytest.raises(TextEncoderError, match="is a pickle, which is never opened; set `revision`"):
        publish(_recipe({}, pairs=_base(folders)), discs_data, tmp_path / "out", device=_CPU, should_stop=lambda: False)


def test_captions_that_do_not_differ_cannot_teach_step_one(discs_data, tiny_config, tmp_path):
    (discs_data / "MoNuSeg" / "Train_Folder" / "Data_text.csv").unlink()

    with pytest.raises(DatasetError, match=r"0 different captions on 0 training images.*captions = .masks."):
        publish(_recipe(tiny_config.model_dump()), discs_data, tmp_path / "out", device=_CPU, should_stop=lambda: False)


def test_a_caption_made_of_masks_says_what_how_often_and_where():
    mask = np.zeros((90, 90), np.bool_)
    assert caption_of({"spot": mask}) == "no spot"
    mask[5:15, 70:80] = mask[70:80, 40:50] = True

    assert caption_of({"spot": mask}) == "two areas of spot, upper right and lower centre"
    assert caption_of({"spot": mask, "line": ~mask, "none": mask & False}) == "spot, line"


@pytest.mark.slow
def test_base_on_two_processes_has_the_losses_of_one(discs_data, folders, tmp_path):
    recipe = _recipe({}, pairs=_base(folders) | {"accumulate": 2})
    file = tmp_path / "base.json"
    file.write_text(recipe.model_dump_json())
    code = (
        "import sys; from pathlib import Path; import torch; from training.published import Published, publish\n"
        "recipe = Published.model_validate_json(Path(sys.argv[1]).read_text()); torch.set_num_threads(1)\n"
        "from napari_amvlm.errors import Cancelled\n"
        "data, out = map(Path, sys.argv[2:4])\n"
        "try: publish(recipe, data, out, device=torch.device('cpu'), should_stop=lambda: False)\n"
        "except Cancelled: pass\n"
    )
    script = tmp_path / "both.py"
    script.write_text(code)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    root = Path(__file__).parents[2]
    found = []
    for name, command in (("one", [sys.executable]), ("two", launcher)):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        told = [*command, str(script), str(file), str(discs_data), str(tmp_path / name)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
        done = subprocess.run(told, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        log = (tmp_path / name / "step-1" / "log.jsonl").read_text().splitlines()
        found.append([r for r in map(json.loads, log) if "ita" in r])

    assert [r["step"] for r in found[0]] == [1, 2, 3]
    for one, two in zip(*found, strict=True):
        for name in ("ita", "css", "icl"):
            assert two[name] == pytest.approx(one[name], rel=2e-3, abs=2e-4), name


_LARGE = """
import sys
from pathlib import Path
import torch
from training import published
from training.runs import learning

torch.set_num_threads(1)
several, data_of = published.captioned_images, learning.learning_data

def filled(images):
    for image in images[:1800]:  # as many as the cache holds, as after many steps
        image.image.bytes()

def captioned_images(*told):
    images = several(*told)
    filled(images)
    return images

def learning_data(*told, **more):
    data = data_of(*told, **more)
    filled((*data.labelled, *data.unlabelled))
    return data

published.captioned_images, learning.learning_data = captioned_images, learning_data
recipe = published.Published.model_validate_json(Path(sys.argv[1]).read_text())
device, never = torch.device("cpu"), lambda: False
published.publish(recipe, Path(sys.argv[2]), Path(sys.argv[3]), device=device, should_stop=never)
"""


def _many_images(root, count):
    """Write a set in LViT layout, its captions in workbooks, whose pictures are copies of a few."""
    chance, held_out = np.random.default_rng(0), 10
    for folder, number in (("Train_Folder", count), ("Val_Folder", held_out)):
        for part in ("img", "labelcol"):
            (root / folder / part).mkdir(parents=True)
        rows = [("Image", "Description")]
        sources = []
        for index in range(8):
            pair = root / f"{folder}-{index}.png", root / f"{folder}-{index}-mask.png"
            imsave(pair[0], chance.integers(0, 255, (224, 224), dtype=np.uint8), check_contrast=False)
            mask = np.zeros((224, 224), np.uint8)
            mask[20 + 8 * index : 90, 30:120] = 255
            imsave(pair[1], mask, check_contrast=False)
            sources.append([path.read_bytes() for path in pair])
        for index in range(number):
            name, (image, mask_file) = f"sub-S{folder[0]}{index}_run-1", sources[index % 8]
            # A few bytes behind the end make each file its own: copies of a labelled image are left out.
            (root / folder / "img" / f"{name}.png").write_bytes(image + str((folder, index)).encode())
            (root / folder / "labelcol" / f"mask_{name}.png").write_bytes(mask_file)
            rows.append((f"{name}.png", f"infection, area {index % 40}, left lung"))
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(root / folder / f"{folder}_text.xlsx")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the memory of a process is asked of POSIX")
def test_five_thousand_images_take_less_than_two_gigabytes_and_go_on_after_a_kill(tmp_path):
    _many_images(tmp_path / "data" / "QaTa-COV19", 5000)
    pairs = {"steps": 10, "batch": 8, "save_every_seconds": 0, "crop": 224}
    learning = {"square": 224, "crop": 224, "labelled_batch": 2, "unlabelled_batch": 2, "validations": 1}
    run = {"dataset": "QaTa-COV19", "labels": "25%", "steps": 10, "learning": learning, "save_every_seconds": 0}
    file, script, out = tmp_path / "recipe.json", tmp_path / "large.py", tmp_path / "out"
    file.write_text(_recipe("tiny", pairs=pairs, run=run).model_dump_json())
    script.write_text(_LARGE)
    told = [sys.executable, str(script), str(file), str(tmp_path / "data"), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}

    before, peaks = {}, []
    for step in ("step-1", "step-2"):
        log = out / step / "log.jsonl"
        process = subprocess.Popen(told, env=environment)
        while process.poll() is None and (not log.is_file() or log.read_text().count("\n") < 4):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        peaks.append(_peak(process))
        assert process.returncode == -signal.SIGKILL
        before[step] = RunFolder(out / step).logged(), _kept(out / step)
    process = subprocess.Popen(told, env=environment)
    peaks.append(_peak(process))

    assert process.returncode == 0
    assert max(peaks) < 2_000_000, peaks
    for step, (records, kept) in before.items():
        logged = _steps(RunFolder(out / step).logged())
        assert [r["step"] for r in logged] == list(range(1, 11))
        assert 0 < kept < 10
        assert logged[:kept] == _steps(records)[:kept]  # made before the kill


def _peak(process):
    """Wait until a process ends, and return the most memory that it held, in kilobytes."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_maxrss


def _kept(run):
    """Return the step of a run's saved state."""
    with safe_open(run / "state.safetensors", "pt") as file:
        told = file.metadata()
    return int(told["step"] if "step" in told else json.loads(told["progress"])["step"])


def _steps(records):
    return [r for r in records if "ita" in r or r.get("event") == "step"]
