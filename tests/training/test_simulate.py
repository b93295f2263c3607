"""The simulated annotator: real projects, predictions and learning on small pictures, stopped, killed and gone on."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage.io import imread

from napari_amvlm.device import bounded_threads
from napari_amvlm.errors import DatasetError, InputError, PromptError
from napari_amvlm.imaging import read_folder
from napari_amvlm.models.model_info import read_info
from napari_amvlm.project import TO_DO, Project, Region
from training.runs.folder import RunFolder
from training.runs.recipe import read_toml, validated
from training.simulate import simulate
from training.simulation.mouse import MouseModel, correct
from training.simulation.person import SimulatedPerson
from training.simulation.project import (
    cut_folder,
    enter_images,
    in_random_order,
    read_material,
    some_images,
    work_to_do,
)
from training.simulation.recipe import ARMS, SimulationRecipe
from training.simulation.report import read_rounds

_CPU = torch.device("cpu")
_ROOT = Path(__file__).parents[2]
_RUN = """
import json, sys
from pathlib import Path
import torch
from training.simulate import simulate
from training.simulation.project import read_material
from training.simulation.recipe import SimulationRecipe

torch.set_num_threads(1)
recipe = SimulationRecipe.model_validate(json.loads(sys.argv[1]))
material = read_material(recipe, Path(sys.argv[2]))
tell = lambda share, note: print(note, flush=True)
simulate(recipe, material, Path(sys.argv[3]), device=torch.device("cpu"), show=tell)
"""


@pytest.fixture(autouse=True)
def _one_thread():
    """Let sums be taken in one order."""
    with bounded_threads(1):
        yield


@pytest.fixture
def values(tiny_checkpoint):
    """Return a recipe of two short rounds in regions of 40 pixels, four an image."""
    return {
        "name": "discs",
        "dataset": "MoNuSeg",
        "start": str(tiny_checkpoint),
        "region": 40,
        "rounds": 2,
        "accept_every": 3,
        "learn_steps": 2,
        "arms": ["ours"],
        "learning": {"crop": 64, "labelled_batch": 1, "unlabelled_batch": 1, "validations": 1},
    }


@pytest.fixture
def material(discs_data):
    return read_material(SimulationRecipe(name="discs", dataset="MoNuSeg", learn_steps=1), discs_data)


def _simulate(values, material, out, encoder, **how):
    recipe = SimulationRecipe.model_validate(values)
    simulate(recipe, material, out, device=_CPU, text_encoder=encoder, **how)
    return {name: read_rounds(RunFolder(out / name)) for name in recipe.arms}


def _repeatable(rounds):
    """Return rounds without what the clock of the machine told."""
    return [replace(each, learning=0.0, prediction=0.0, ordering=0.0) for each in rounds]


def test_an_arm_leaves_a_real_project_with_all_that_was_corrected_and_learnt(values, material, text_encoder, tmp_path):
    rounds = _simulate(values, material, tmp_path / "out", text_encoder)["ours"]

    assert [(each.number, each.accepted) for each in rounds] == [(0, 0), (1, 3), (2, 6)]
    assert rounds[0].annotation == 0
    assert all(each.learning > 0 and each.prediction > 0 and each.ordering > 0 for each in rounds[1:])
    mouse = MouseModel()
    with Project.open(tmp_path / "out" / "ours" / "project.amvlm", read_only=True) as project:
        corrections = project.corrections.select(history=True)
        spent = sum(each.seconds_spent for each in corrections)
        assert spent >= 6 * mouse.look_seconds
        assert rounds[-1].annotation * 60 >= spent - 1e-6
        assert len(project.queue.items(("accepted",))) == 6
        assert [run.config["seed"] for run in project.runs.all()] == [1, 2]
        pairs = {pair.image.name: pair for pair in material.train.pairs}
        for each in project.corrections.select():
            record = project.images.get(each.image_id)
            reviewed = project.corrections.reviewed(each)
            truth = material.truth(pairs[record.path.name], record.shape)
            assert 0 < reviewed.sum() < reviewed.size
            wrong = (project.corrections.mask(each) != truth) & reviewed
            depth = np.maximum(*(ndimage.distance_transform_edt(side) for side in (truth, ~truth)))
            assert (depth[wrong] <= mouse.tolerance).all()
        assert project.queue.scored_by(project.queue.items(("accepted",))[0].id)


def test_accepting_costs_what_the_mouse_says(values, material, text_encoder, tmp_path):
    _simulate(values | {"rounds": 1, "accept_every": 1}, material, tmp_path / "out", text_encoder)

    with Project.open(tmp_path / "out" / "ours" / "project.amvlm", read_only=True) as project:
        (each,) = project.corrections.select()
        (item,) = project.queue.items(("accepted",))
        assert item.region is not None
        place = np.s_[item.region.y : item.region.y + 40, item.region.x : item.region.x + 40]
        before = project.corrections.before(each)
        assert before is not None
        name = project.images.get(each.image_id).path.name
        truth = imread(material.train.root / "labelcol" / name) > 0
        wanted = correct(before[place], truth[place], MouseModel())
        assert each.seconds_spent == pytest.approx(wanted.seconds)
        assert np.array_equal(project.corrections.mask(each)[place], wanted.mask)


def test_each_arm_does_what_it_is_called_and_the_figures_tell_of_all(values, material, text_encoder, tmp_path):
    out = tmp_path / "out"

    _simulate(values | {"rounds": 1, "arms": list(ARMS)}, material, out, text_encoder)

    runs, seen, parents, ordered = {}, {}, {}, {}
    for name in ARMS:
        with Project.open(out / name / "project.amvlm", read_only=True) as project:
            (run,) = project.runs.all()
            runs[name], parents[name] = run.config, run.parent
            items = project.queue.items(("accepted",))
            seen[name] = {item.id for item in items}
            ordered[name] = any(item.position is not None for item in project.queue.items())
    without = {name for name, config in runs.items() if (config["unlabelled_batch"], config["consistency"]) == (0, 0)}
    given = read_info(Path(values["start"])).sha256
    assert without == {"no-unlabelled", "plain"}
    assert {name for name, parent in parents.items() if parent != given} == {"scratch"}
    assert parents["scratch"] == read_info(out / "scratch" / "start.safetensors").sha256
    assert {name for name, known in ordered.items() if not known} == {"random-order", "plain"}
    assert seen["random-order"] == seen["plain"]
    assert seen["ours"] == seen["no-unlabelled"]
    with (out / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["number"]) for row in rows] == [(name, str(i)) for name in ARMS for i in (0, 1)]
    for row in rows:
        parts = sum(float(row[part]) for part in ("learning", "prediction", "ordering"))
        assert float(row["waiting"]) == pytest.approx(parts, abs=2e-4)
    assert json.loads((out / "reached.json").read_text())["arms"].keys() == ARMS.keys()
    with Image.open(out / "curves.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or ()}
    assert {(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (120, 120, 120)} <= colours


def test_a_stopped_simulation_goes_on_as_if_nothing_had_been(values, material, text_encoder, tmp_path):
    values |= {"score_images": 3}
    whole = _simulate(values, material, tmp_path / "whole", text_encoder)["ours"]
    moments = ["ours, round 1, 2 accepted", "ours, round 1, learning", "ours, round 2, 5 accepted"]

    for moment in moments:
        notes = []
        _simulate(
            values,
            material,
            tmp_path / "stopped",
            text_encoder,
            should_stop=lambda notes=notes, moment=moment: moment in notes,
            show=lambda share, note, notes=notes: notes.append(note),
        )
        assert moment in notes
        assert len(read_rounds(RunFolder(tmp_path / "stopped" / "ours"))) < 3
    resumed = _simulate(values, material, tmp_path / "stopped", text_encoder)["ours"]

    assert _repeatable(resumed) == _repeatable(whole)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
@pytest.mark.slow
def test_a_killed_simulation_goes_on_with_all_that_was_accepted(values, material, text_encoder, tmp_path):
    values |= {"rounds": 1}
    data = material.train.root.parent
    command = [sys.executable, "-c", _RUN, json.dumps(values), str(data), str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ours, round 1, learning":
                process.kill()
                break
        process.stdout.read()
    assert process.returncode == -9

    whole = _simulate(values, material, tmp_path / "whole", text_encoder)["ours"]
    resumed = _simulate(values, material, tmp_path / "killed", text_encoder)["ours"]

    assert _repeatable(resumed) == _repeatable(whole)
    with Project.open(tmp_path / "killed" / "ours" / "project.amvlm", read_only=True) as project:
        assert len(project.corrections.select(history=True)) == 3


def test_a_finished_arm_is_not_repeated_and_can_be_told_to_go_further(values, material, text_encoder, tmp_path):
    first = _simulate(values | {"rounds": 1}, material, tmp_path / "out", text_encoder)["ours"]

    assert _simulate(values | {"rounds": 1}, material, tmp_path / "out", text_encoder)["ours"] == first
    further = _simulate(values, material, tmp_path / "out", text_encoder)["ours"]
    assert (further[:2], len(further)) == (first, 3)
    with pytest.raises(InputError, match="holds a run with another recipe"):
        _simulate(values | {"accept_every": 4}, material, tmp_path / "out", text_encoder)


def test_an_arm_ends_where_nothing_is_left(values, material, text_encoder, tmp_path):
    few = replace(material, train=replace(material.train, pairs=material.train.pairs[:1]))

    rounds = _simulate(values | {"rounds": 9}, few, tmp_path / "out", text_encoder)["ours"]

    assert [each.accepted for each in rounds] == [0, 3, 4]


def test_an_arm_may_end_at_the_target(values, material, text_encoder, tmp_path):
    easy = values | {"target": 1e-9, "stop_at_target": True}

    rounds = _simulate(easy, material, tmp_path / "out", text_encoder)["ours"]

    assert len(rounds) < 3
    assert rounds[-1].dice >= 1e-9


def test_stopped_at_once_an_arm_leaves_everything_for_later(values, material, text_encoder, tmp_path):
    assert _simulate(values, material, tmp_path / "out", text_encoder, should_stop=lambda: True)["ours"] == []
    assert not (tmp_path / "out" / "curves.csv").exists()


def test_a_model_that_is_not_better_on_held_out_images_never_serves(values, material, text_encoder, tmp_path):
    values |= {"rounds": 1, "cut": True, "accept_every": 12, "learn_steps": 1}
    values["learning"] = values["learning"] | {"learning_rate": 1e-12, "keep": "last"}

    rounds = _simulate(values, material, tmp_path / "out", text_encoder)["ours"]

    assert (rounds[1].held_out, rounds[1].verdict) == (3, "not better")
    assert rounds[1].dice == rounds[0].dice
    with Project.open(tmp_path / "out" / "ours" / "project.amvlm", read_only=True) as project:
        (model,) = project.models.all(discarded=True)
        assert project.models.served() is None
        assert model.discarded
        assert model.scores["after"] <= model.scores["before"]


def test_masks_that_fit_better_are_preferred_though_outlining_anew_costs_as_much(material, tmp_path, monkeypatch):
    with Project.open_or_create(tmp_path / "project.amvlm") as project:
        pairs = enter_images(project, material, None)
        person = SimulatedPerson(
            project, material, pairs, MouseModel(tolerance=0), spend=lambda *_: None, should_stop=lambda: False
        )

        def proposed(item, part_of_the_truth):
            return material.truth(pairs[item.image_id], (80, 72)) & part_of_the_truth

        items, nothing = project.queue.items(TO_DO)[:3], np.zeros((80, 72), bool)
        chequered = np.indices((80, 72)).sum(0) % 8 > 0  # so many pieces are missing that clearing is cheaper
        monkeypatch.setattr(person, "_proposed", proposed)
        cost = [
            sum(person._corrected(each, proposed(each, part)).seconds for each in items)
            for part in (nothing, chequered)
        ]
        assert cost[0] < cost[1]
        assert person.prefers(chequered, nothing, items)
        assert not person.prefers(nothing, chequered, items)
        assert not person.prefers(nothing, nothing, items)


def test_regions_that_were_cut_are_images_of_their_own(material, tmp_path):
    cut = cut_folder(material.train, tmp_path / "tiles", 40)

    assert len(cut.pairs) == 4 * len(material.train.pairs)
    first = material.train.pairs[0]
    part = next(pair for pair in cut.pairs if pair.name == f"{first.name}-y40-x32")
    assert np.array_equal(imread(part.image), imread(first.image)[40:80, 32:72])
    assert np.array_equal(imread(part.required_mask()), imread(first.required_mask())[40:80, 32:72])
    assert cut_folder(material.train, tmp_path / "tiles", 40) == cut
    assert [path.name for path in tmp_path.iterdir() if "tiles" in path.name] == ["tiles"]


def test_images_that_nobody_annotates_are_in_the_project_but_not_in_the_work(material, discs_data, tmp_path):
    more = read_folder(discs_data / "MoNuSeg" / "Unlabelled_Folder", masks="none").pairs
    with Project.create(tmp_path / "p.amvlm") as project:
        known = enter_images(project, replace(material, unlabelled=more), 40)
        again = enter_images(project, replace(material, unlabelled=more), 40)

        assert known == again
        assert len(project.images.all()) == len(known) + 1 == 9
        assert {item.image_id for item in work_to_do(project, 1)} == set(known)
        assert len(work_to_do(project, 1)) == 4 * 8
        assert project.images.counts().unlabelled == 9


def test_further_regions_of_a_held_out_image_are_left_out(material, tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project:
        enter_images(project, material, 40)
        project.images.set_held_out(1, True)
        first = next(item for item in work_to_do(project, 1) if item.image_id == 1)
        project.queue.set_status(first.id, "accepted")

        assert 1 not in {item.image_id for item in work_to_do(project, 1)}
        assert sum(item.image_id == 1 for item in work_to_do(project, 2)) == 3


def test_work_is_taken_in_the_order_of_the_queue_from_the_images_that_were_drawn(
    values, material, text_encoder, tmp_path
):
    _simulate(values | {"rounds": 1, "score_images": 3}, material, tmp_path / "out", text_encoder)

    with Project.open(tmp_path / "out" / "ours" / "project.amvlm") as project:
        scored = [item for item in project.queue.items() if project.queue.scored_by(item.id)]
        accepted = {item.id for item in project.queue.items(("accepted",))}
        assert len({item.image_id for item in scored}) == 3
        for item_id in accepted:
            project.queue.set_status(item_id, "predicted")
        first = [item.id for item in project.queue.sort(prompts=["nuclei"])[:3]]
    assert accepted == set(first)


def test_random_order_and_drawn_images_follow_the_seed(material, tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project:
        enter_images(project, material, 40)
        items = work_to_do(project, 1)

    assert in_random_order(items, 0) == in_random_order(reversed(items), 0)
    assert in_random_order(items, 0) != in_random_order(items, 1)
    left = [item for item in in_random_order(items, 0) if item.image_id != 3]
    assert in_random_order([item for item in items if item.image_id != 3], 0) == left
    assert len({item.image_id for item in some_images(items, 3, "a")}) == 3
    assert some_images(items, None, "a") == some_images(items, 99, "a") == items


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arms": ["theirs"]}, "there is no arm theirs; choose from ours, no-unlabelled"),
        ({"region": None, "cut": True}, "cut needs the side of the regions"),
        ({"learning": {"steps": 3}}, "set learn_steps of the recipe itself"),
        ({"learn_minutes": 1.0}, "give either minutes or steps"),
        ({"learning": {"wrong": 3}}, "Extra inputs are not permitted"),
        ({"mouse": {"pixels_per_second": -1}}, "mouse.pixels_per_second: Input should be greater than 0"),
    ],
)
def test_a_wrong_recipe_is_told(values, change, words):
    with pytest.raises(InputError, match=words):
        validated(SimulationRecipe, values | change, "recipe.toml")


@pytest.mark.parametrize(("name", "target"), [("simulate-monuseg.toml", 0.80), ("simulate-heart.toml", 0.85)])
def test_the_recipes_that_are_shipped_are_valid(name, target):
    path = _ROOT / "training" / "recipes" / name

    recipe = validated(SimulationRecipe, read_toml(path), str(path))

    assert (recipe.target, recipe.arms) == (target, tuple(ARMS))
    assert recipe.learning_config(ARMS["plain"], 2).consistency == 0


def test_the_prompt_is_one_that_the_masks_know(values, spine_data):
    def read(prompt):
        changes = {"dataset": spine_data.name, "scale": "whole", "prompt": prompt}
        return read_material(SimulationRecipe.model_validate(values | changes), spine_data.parent)

    material = read("vertebrae")
    assert (material.prompt, material.value) == ("vertebrae", 1)
    names = [{pair.name for pair in part.pairs} for part in (material.train, material.validate)]
    assert all(names)
    assert not names[0] & names[1]
    with pytest.raises(PromptError, match=r"nuclei.*classes\.csv; choose one of: vertebrae, intervertebral discs"):
        read("nuclei")
    with pytest.raises(PromptError, match=r"shows vertebrae, intervertebral discs.*; set the recipe's prompt to one"):
        read(None)


def test_a_validation_image_in_the_project_is_told(values, discs_data):
    root = discs_data / "MoNuSeg"
    same = (root / "Val_Folder" / "img" / "TCGA-BB-0001.png").read_bytes()
    (root / "Unlabelled_Folder" / "img" / "other.png").write_bytes(same)

    with pytest.raises(DatasetError, match=r"other\.png is the validation image TCGA-BB-0001, byte by byte"):
        read_material(SimulationRecipe.model_validate(values), discs_data)


def test_a_whole_image_is_a_piece_of_work_where_no_region_is_given(values, material, text_encoder, tmp_path):
    _simulate(values | {"rounds": 1, "region": None, "accept_every": 1}, material, tmp_path / "out", text_encoder)

    with Project.open(tmp_path / "out" / "ours" / "project.amvlm", read_only=True) as project:
        (each,) = project.corrections.select()
        assert project.corrections.reviewed(each).all()
        assert len(project.queue.items()) == 9
        assert len(project.queue.items(("skipped",))) == 1  # nobody annotates it
        assert project.queue.items(("accepted",))[0].region is None


@pytest.mark.slow
def test_the_command_prints_the_figures_and_loads_no_qt(values, material, tmp_path):
    recipe = tmp_path / "recipe.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key != "learning"]
    learning = [f"{key} = {json.dumps(value)}" for key, value in values["learning"].items()]
    recipe.write_text("\n".join([*lines, "[learning]", *learning]))
    script = (
        "import sys\nfrom training.simulate import main\nfrom training.command import run\n"
        "try:\n    run(main)\nfinally:\n"
        "    print([m for m in ('qtpy', 'PyQt6', 'napari') if m in sys.modules])"
    )
    options = ["--data", material.train.root.parent, "--out", tmp_path / "out"]
    options += ["--arms", "plain", "--set", "rounds=1", "--device", "cpu"]
    command = [sys.executable, "-c", script, recipe, *options]

    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=_ROOT, check=True)

    first, last = ended.stdout.splitlines()
    assert first.startswith("plain: best Dice 0.")
    assert "0.78 was not reached" in first
    assert last == "[]"
    assert "plain, round 1 of 1: 3 accepted" in ended.stderr


def test_regions_lie_where_they_should(material, tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project:
        enter_images(project, material, 40)

        regions = {item.region for item in project.queue.items(image_id=1)}

    assert regions == {Region(y, x, 40, 40) for y in (0, 40) for x in (0, 32)}
