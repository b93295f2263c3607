"""Teaching a vocabulary on tiny sets: reading, splitting, structure, batches, and a run that goes on after a stop."""

import json
import random

import numpy as np
import pytest
import torch
from skimage.io import imread, imsave

from napari_amvlm.errors import DatasetError, InputError
from napari_amvlm.imaging.spine_levels import LEVELS, spine_levels
from napari_amvlm.models.build import build_model
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.models.inference import auto_scale, decode_prompt, encode_image
from napari_amvlm.models.model_info import read_info
from training.datasets.word_sets import SetSpec
from training.plain_unets import main as plain_unets
from training.plain_unets import train_and_score
from training.presence import main as presence
from training.pretrain import teach_words
from training.pretraining.recipe import Recipe
from training.runs.folder import RunFolder, StateFile
from training.word_answers import main as word_answers
from training.word_table import main as word_table
from training.words.answers import Answered, calibration_error
from training.words.batches import WordSource
from training.words.corpus import LabelledImage, load_set, split_subjects, words_of
from training.words.fields import EVERYDAY, deniable
from training.words.presence import fit_word_presence
from training.words.referents import View, held_out_combination
from training.words.scores import boundary_f1
from training.words.vocabulary import concepts_of

HEART = SetSpec(name="Heart", kind="whole", modality="cardiac MR", subject=r"^(\d+)_")
CELLS = SetSpec(name="Cells", kind="tiles", modality="fluorescence microscopy", prompts=("nuclei",))


def _write(root, name, labels):
    for part in ("img", "labelcol"):
        (root / part).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).integers(0, 60, labels.shape, dtype=np.uint8)
    imsave(root / "img" / f"{name}.png", np.minimum(labels, 2) * 80 + noise, check_contrast=False)
    imsave(root / "labelcol" / f"{name}.png", labels, check_contrast=False)


@pytest.fixture
def data(tmp_path):
    """Return a folder with a set of two chambers (4 subjects, 2 slices each) and one of 5 pictures of cells."""
    root = tmp_path / "data"
    for subject in range(4):
        for number in range(2):
            labels = np.zeros((80, 64), np.uint8)
            labels[10:40, 8:28] = 1
            if number:
                labels[45:70, 30:56] = 2
            _write(root / "Heart", f"{subject}_{number}", labels)
    (root / "Heart" / "classes.csv").write_text("value,prompt\n1,left ventricle\n2,aorta\n")
    for index in range(5):
        labels = np.zeros((70, 90), np.uint8)
        labels[10:22, 10:22], labels[40:60, 50:70] = 255, 255
        _write(root / "Cells", f"cell{index}", labels)
    return root


@pytest.fixture
def images(data):
    return [*load_set(HEART, data), *load_set(CELLS, data)]


def test_labels_are_numbered_by_class_and_held_as_bytes(images):
    heart, cells = images[1], images[-1]

    assert heart.words == ("left ventricle", "aorta")
    assert heart.shown() == ("left ventricle", "aorta")
    assert heart.image.dtype == heart.labels.dtype == np.uint8
    assert int(heart.mask("aorta").sum()) == 25 * 26
    assert cells.words == ("nuclei",)
    assert np.unique(cells.labels).tolist() == [0, 1]
    assert 10 < cells.object_size < 25


def test_a_value_without_a_class_and_an_empty_folder_are_named(data):
    (data / "Heart" / "classes.csv").write_text("value,prompt\n1,left ventricle\n")
    with pytest.raises(DatasetError, match=r"0_1\.png holds the value 2, which classes\.csv does not name"):
        load_set(HEART, data)
    (data / "Empty" / "img").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no image"):
        load_set(SetSpec(name="Empty", kind="whole", prompts=("x",)), data)
    with pytest.raises(DatasetError, match=r"give one prompt or a classes\.csv"):
        load_set(CELLS.model_copy(update={"prompts": ()}), data)
    with pytest.raises(DatasetError, match="make both agree"):
        load_set(HEART.model_copy(update={"prompts": ("aorta", "liver")}), data)


def test_captions_of_other_images_and_gray_sections_are_refused(data):
    with pytest.raises(DatasetError, match=r"cell0\.png is gray, but Cells is H&E histology"):
        load_set(CELLS.model_copy(update={"modality": "H&E histology"}), data)
    (data / "Cells" / "a_text.csv").write_text("Image,Description\nother.png,many cells\n")
    with pytest.raises(DatasetError, match="has captions of 'other' and others, but of none of its images"):
        load_set(CELLS, data)
    (data / "Cells" / "a_text.csv").write_text("Image,Description\ncell1.png,many cells\n")
    assert [image.caption for image in load_set(CELLS, data)][:2] == [None, "many cells"]


def test_a_word_in_two_kinds_or_never_shown_is_refused(data, images):
    other = load_set(CELLS.model_copy(update={"name": "Whole", "folder": "Cells", "kind": "whole"}), data)
    with pytest.raises(DatasetError, match=r"'nuclei' is in tiles in one of Cells and Whole"):
        words_of([*images, *other])
    with pytest.raises(DatasetError, match=r"No mask of Heart shows 'aorta'"):
        words_of([image for image in images if "aorta" not in image.shown()])


def test_the_split_is_by_subject_leaves_every_word_and_is_the_same_again(images):
    training, validation = split_subjects(images)

    subjects = {image.subject for image in validation if image.spec is HEART or image.spec == HEART}
    assert len(subjects) == 1
    assert all(image.subject not in subjects for image in training)
    assert {word for image in training for word in image.shown()} == {"left ventricle", "aorta", "nuclei"}
    assert [i.key for i in split_subjects(images[::-1])[1]][::-1] == [i.key for i in validation]


def test_one_subject_is_all_for_training(images):
    training, validation = split_subjects([i for i in images if i.subject == "0"])

    assert (len(training), len(validation)) == (2, 0)


def _view(image, shown):
    return View(image.labels, image.words, shown, np.ones(image.labels.shape, np.bool_))


def test_structure_is_made_of_masks(images):
    view = _view(images[1], images[1].words)
    heart, aorta = view.masks["left ventricle"], view.masks["aorta"]

    assert np.array_equal(view.union("aorta", "left ventricle").mask, heart | aorta)
    assert np.array_equal(view.all_but("aorta").mask, ~aorta)
    upper = view.part("aorta", "upper")
    assert upper is not None
    assert np.nonzero(upper.mask.any(1))[0].tolist() == list(range(45, 53))
    background = view.structured("background", random.Random(0), lambda *_: True)
    assert background is not None
    assert np.array_equal(background.mask, ~(heart | aorta))


def test_the_largest_is_named_only_where_there_is_no_doubt(images):
    view = _view(images[-1], ("nuclei",))
    largest, leftmost = view.extreme("nuclei", "largest"), view.extreme("nuclei", "leftmost")
    assert largest is not None
    assert leftmost is not None
    assert largest.mask.sum() == 20 * 20
    assert leftmost.mask.sum() == 12 * 12
    assert "largest nucleus" in largest.wordings

    same = images[-1].labels.copy()
    same[40:60, 50:70] = 0
    same[40:52, 50:62] = 1
    view = View(same, ("nuclei",), ("nuclei",), np.ones(same.shape, np.bool_))
    assert view.extreme("nuclei", "largest") is None


def test_a_quarter_of_the_combinations_is_held_out_and_the_known_exclusion_is_not():
    held = [held_out_combination("union", "lungs", f"word {i}") for i in range(400)]

    assert 60 < sum(held) < 140
    assert held_out_combination("union", "a", "b") == held_out_combination("union", "b", "a")
    assert not held_out_combination("except", "nuclei")
    assert not held_out_combination("plain", "nuclei")


def _spine():
    """Return a column of discs and bodies in front of a canal; the lowest is a disc."""
    labels = np.zeros((160, 80), np.uint8)
    for index in range(6):
        bottom = 150 - 24 * index
        labels[bottom - 5 : bottom, 20:40] = 2
        labels[bottom - 22 : bottom - 7, 20:40] = 1
        labels[bottom - 18 : bottom - 10, 60:75] = 1  # behind the canal
    labels[5:150, 48:54] = 3
    return labels


def test_levels_are_counted_from_the_lowest_disc():
    words = ("vertebrae", "intervertebral discs", "spinal canal")
    labels = _spine()

    levels = spine_levels(labels, words)

    assert levels is not None
    rows = {name: np.nonzero((levels == i).any(1))[0].mean() for i, name in enumerate(LEVELS, start=1)}
    assert rows["L5/S1 disc"] > rows["L5 vertebra"] > rows["L4/L5 disc"] > rows["L4 vertebra"] > rows["L1 vertebra"]
    assert not levels[:, 55:].any()
    labels[145:150] = 0
    assert spine_levels(labels, words) is None


def test_words_are_denied_across_fields_alone(images):
    wordings = {"nuclei": ("nuclei",), "aorta": ("aorta",), "left ventricle": ("left ventricle",)}

    absent = deniable(images, wordings)

    assert absent == {"Heart": ("nuclei",), "Cells": ("left ventricle", "aorta")}
    unknown = [i for i in images if i.spec == HEART]
    odd = [
        LabelledImage(
            i.name, i.subject, CELLS.model_copy(update={"modality": "thermography"}), i.image, i.labels, ("heat",)
        )
        for i in images[-1:]
    ]
    assert deniable([*unknown, *odd], wordings)["Cells"] == ()


def test_a_batch_asks_for_what_its_masks_show(images):
    concepts = concepts_of(images, {"aorta": ("aorta", "aortic lumen")}, {})
    source = WordSource(images, concepts, seed=0, batch=4, size=64)
    plain = absent = structured = 0
    for step in range(40):
        batch = source.draw(step)
        assert batch.images.shape == (4, 3, 64, 64)
        assert len(batch.prompts) == len(batch.index) == len(batch.targets)
        for meaning, target in zip(batch.concepts, batch.targets, strict=True):
            structured += "|" in meaning or meaning == "background"
            plain += meaning in ("aorta", "left ventricle", "nuclei") and bool(target.any())
            absent += not bool(target.any())
            assert not (meaning in EVERYDAY and bool(target.any()))
    assert min(plain, absent, structured) > 5
    one, again = source.draw(3), source.draw(3)
    assert torch.equal(one.images, again.images)
    assert one.prompts == again.prompts


def test_smaller_views_come_first(images):
    source = WordSource(images, concepts_of(images, {}, {}), seed=0, batch=2, size=64, first=(2, 32))

    assert [source.draw(step).images.shape[-1] for step in (0, 1, 2)] == [32, 32, 64]


def test_an_emphasised_set_is_drawn_more_often(images):
    concepts = concepts_of(images, {}, {})

    def share(emphasis):
        source = WordSource(images, concepts, seed=0, batch=8, size=32, emphasis=emphasis)
        return float(torch.cat([source.draw(step).whole for step in range(20)]).float().mean())

    assert share({HEART.name: 10.0}) > share({}) > share({CELLS.name: 10.0})


def test_negatives_are_seen_at_the_other_scale_and_asked_in_vain(images):
    scale = {concept.name: concept.scale for concept in concepts_of(images, {}, {})}
    source = WordSource(images, concepts_of(images, {}, {}), seed=0, batch=2, size=32, negatives=1)

    for step in range(20):
        batch = source.draw(step)
        rows = zip(batch.index.tolist(), batch.concepts, batch.targets, strict=True)
        for word, target in [(word, target) for row, word, target in rows if row == 0]:
            assert (scale[word] == "whole") == bool(batch.whole[0])
            assert not bool(target.any())


def test_what_people_ask_most_wrongly_is_asked_in_vain_more_often(images):
    concepts = concepts_of(images, {}, {})

    def first_asked(factors):
        source = WordSource(images, concepts, seed=0, batch=2, size=32, negatives=1, in_vain=factors)
        return [source.draw(step).concepts[0] for step in range(20)]

    alike = first_asked({})
    assert 0 < alike.count("aorta") < len(alike)
    assert first_asked({"aorta": 1e6}).count("aorta") > alike.count("aorta")
    assert first_asked({"aorta": 1e-6}).count("aorta") == 0


def _sides(images, left, right):
    """Return for views that show two words whether the first lies on the left of the second."""
    source = WordSource(images, concepts_of(images, {}, {}), seed=1, batch=4, size=64)
    columns = torch.arange(64.0)
    found = []
    for step in range(60):
        batch = source.draw(step)
        centres = {}
        for index, meaning, target in zip(batch.index.tolist(), batch.concepts, batch.targets, strict=True):
            if float(target.sum()) > 50:
                centres[index, meaning] = float((target[0].sum(0) * columns).sum() / target.sum())
        for index in range(4):
            pair = centres.get((index, left)), centres.get((index, right))
            if pair[0] is not None and pair[1] is not None:
                found.append(pair[0] < pair[1])
    return found


def test_a_mirrored_chest_shows_the_other_lung(tmp_path):
    labels = np.zeros((64, 64), np.uint8)
    labels[10:50, 6:26] = 255
    labels[10:50, 36:60] = 255
    _write(tmp_path / "CXR", "one", labels)
    spec = SetSpec(name="CXR", kind="whole", modality="chest X-ray", prompts=("lungs",), paired=("lungs",))

    sides = _sides(load_set(spec, tmp_path), "right lung", "left lung")

    assert len(sides) > 3
    assert all(sides)


def test_a_heart_whose_chambers_have_sides_is_never_mirrored(images):
    sides = _sides([image for image in images if len(image.shown()) == 2], "left ventricle", "aorta")

    assert len(sides) > 3
    assert all(sides)


def test_boundaries_within_reach_count():
    mask = np.zeros((64, 64), np.bool_)
    mask[10:40, 10:40] = True

    assert boundary_f1(mask, mask) == 1.0
    assert boundary_f1(np.roll(mask, 1, 0), mask) == 1.0
    assert boundary_f1(np.roll(mask, 12, 0), mask) < 0.7
    assert boundary_f1(np.zeros_like(mask), mask) == 0.0


_RECIPE = """
name = "t"
version = "0"
licence = "CC0-1.0"
training_data = "noise"
[[sets]]
name = "Heart"
kind = "whole"
modality = "cardiac MR"
subject = "^(\\\\d+)_"
[[sets]]
name = "Cells"
kind = "tiles"
modality = "fluorescence microscopy"
prompts = ["nuclei"]
"""


def _recipe(model, **changes):
    values = {
        "name": "t",
        "version": "0",
        "licence": "CC0-1.0",
        "training_data": "noise",
        "model": model,
        "sets": (HEART, CELLS),
        "steps": 3,
        "warmup": 1,
        "batch": 2,
        "crop": 64,
        "loaders": 0,
        "step_one_weight": 0,
        "score_every": 2,
    }
    return Recipe.model_validate(values | changes)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(data, tiny_config, tmp_path):
    device = torch.device("cpu")
    recipe = _recipe(tiny_config)
    assert teach_words(recipe, data, tmp_path / "whole", device)
    stop = iter([False, True])
    assert not teach_words(recipe, data, tmp_path / "broken", device, should_stop=lambda: next(stop))
    assert teach_words(recipe, data, tmp_path / "broken", device)

    whole, broken = (read_info(tmp_path / run / "t.safetensors") for run in ("whole", "broken"))
    assert whole.prompts == ("left ventricle", "aorta", "nuclei")
    assert whole.sha256 != ""
    assert whole.scores == broken.scores
    assert (tmp_path / "whole" / "best.safetensors").is_file()
    with pytest.raises(InputError):
        teach_words(_recipe(tiny_config, steps=4), data, tmp_path / "whole", device)


def test_nothing_is_written_where_a_set_cannot_be_used(data, tiny_config, tmp_path):
    recipe = _recipe(tiny_config, sets=(HEART, CELLS.model_copy(update={"name": "Nowhere"})))
    with pytest.raises(DatasetError, match="Nowhere does not exist"):
        teach_words(recipe, data, tmp_path / "run", torch.device("cpu"))
    with pytest.raises(InputError, match="no set teaches it"):
        teach_words(_recipe(tiny_config, sides={"veins": 512}), data, tmp_path / "run", torch.device("cpu"))
    with pytest.raises(InputError, match="emphasis names 'Veins'"):
        teach_words(_recipe(tiny_config, emphasis={"Veins": 2.0}), data, tmp_path / "run", torch.device("cpu"))
    with pytest.raises(InputError, match="in_vain names 'veins'"):
        teach_words(_recipe(tiny_config, in_vain={"veins": 2.0}), data, tmp_path / "run", torch.device("cpu"))
    assert not (tmp_path / "run").exists()


def test_the_table_scores_words_structure_and_answers(invoke, data, tiny_config, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(_RECIPE)
    assert teach_words(_recipe(tiny_config), data, tmp_path / "run", torch.device("cpu"))
    out = tmp_path / "table.json"
    model = str(tmp_path / "run" / "t.safetensors")
    unets = tmp_path / "unets.json"
    told = [str(recipe), "--data", str(data), "-o", str(unets), "--steps", "1", "--device", "cpu"]
    assert invoke(plain_unets, *told).exit_code == 0
    options = ["--data", str(data), "-o", str(out), "--structured", "--answers", "--plain-unets", str(unets)]

    result = invoke(word_table, model, recipe, *options)

    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    pairs = {(row["set"], row["word"]): row["n"] for row in found["pairs"]}
    assert pairs == {("Cells", "nuclei"): 1, ("Heart", "aorta"): 1, ("Heart", "left ventricle"): 2}
    assert 0 <= found["mean_dice"] <= 1
    scores = json.loads(unets.read_text())
    assert {name: each["steps"] for name, each in scores.items()} == {"Heart": 2, "Cells": 1}
    assert found["beside plain U-Nets"]["pairs"] == 3
    assert all(row["plain_unet"] == scores[row["set"]]["dice"][row["word"]] for row in found["pairs"])
    assert {row["trained"] for row in found["structured"]} == {"trained", "held out"}
    assert len(found["everything except nuclei"]) == 2
    matrix = found["answers"]["confusion"]
    assert sum(matrix["present"].values()) == 4
    assert matrix["not taught"] == {"present": 0, "absent": 0, "not taught": 3}
    assert 0 <= found["answers"]["calibration_error"] <= 1
    recipe.write_text(_RECIPE.replace("[[sets]]", '[[sets]]\nsplit = "none"'))
    nothing, untaught = invoke(word_table, model, recipe, *options), [*told, "--set", "Cells"]
    assert "have no validation image to score" in str(nothing.exception)
    unets.unlink()
    assert "'Cells' has no validation image" in str(invoke(plain_unets, *untaught).exception)


def test_answers_are_counted_and_drawn_with_images_of_sets_that_trained_nothing(invoke, data, tiny_config, tmp_path):
    cells, spleen = tmp_path / "data" / "Cells", tmp_path / "data" / "Spleen"
    cells.rename(spleen)
    (data / "sets.csv").write_text(
        "set,prompts,modality,kind,licence,weights,subject,notes\n"
        "Heart,left ventricle;aorta,cardiac MR,whole,CC0,open,^(\\d+)_,\nSpleen,spleen,abdominal CT,whole,CC0,none,,\n"
    )
    text = _RECIPE.split("[[sets]]", maxsplit=1)[0] + '[[index]]\nfile = "sets.csv"\nweights = ["open"]\n'
    (tmp_path / "r.toml").write_text(text)
    concepts = concepts_of(load_set(HEART, data), {}, {})
    model, out = tmp_path / "m.safetensors", tmp_path / "out"
    network = build_model(tiny_config.model_copy(update={"concepts": concepts}), seed=0)
    save_model(network, model, name="t", licence="CC0-1.0", training_data="none", version="7")
    told = [str(model), str(tmp_path / "r.toml"), "--data", str(data), "-o", str(out)]

    result = invoke(word_answers, *told, "--more", "none", "--most", "2")
    own = invoke(word_answers, *told, "--more", "open")

    assert result.exit_code == 0, result.output
    given = json.loads((out / "answers.json").read_text())["answers"]
    assert {(a["prompt"], a["truth"]) for a in given if a["image"].startswith("Spleen/")} >= {("spleen", "not taught")}
    assert {a["truth"] for a in given if a["prompt"] == "aorta" and a["image"].startswith("Heart/")} == {"present"}
    assert len({a["image"] for a in given}) == 4
    assert "# Answers of t 7" in (out / "answers.md").read_text()
    assert imread(out / "answers.png").shape[1] > 500
    assert "The recipe teaches Heart" in str(own.exception)


def test_a_plain_unet_that_was_stopped_ends_as_one_that_was_not(images, tmp_path):
    hearts = [image for image in images if image.spec.name == "Heart"]
    keeper, calls = StateFile(RunFolder(tmp_path / "run"), 1e9), iter([False, True])
    (tmp_path / "run").mkdir()

    stopped = train_and_score(
        hearts[2:], hearts[:2], 2, torch.device("cpu"), keeper=keeper, should_stop=lambda: next(calls)
    )
    resumed = train_and_score(hearts[2:], hearts[:2], 2, torch.device("cpu"), keeper=keeper)
    whole = train_and_score(hearts[2:], hearts[:2], 2, torch.device("cpu"))

    assert stopped is None
    assert resumed == whole
    assert whole is not None
    assert set(whole["dice"]) == {"left ventricle", "aorta"}


def test_presence_that_is_as_often_right_as_it_says_has_no_calibration_error():
    even = [Answered("i", "p", "present" if i < 8 else "absent", "present", 0.8) for i in range(10)]

    assert calibration_error(even) == pytest.approx(0)
    assert calibration_error([Answered("i", "p", "absent", "present", 0.9)]) == pytest.approx(0.9)


def test_presence_is_fitted_and_calibrated_and_the_masks_stay(invoke, data, tiny_config, text_encoder, tmp_path):
    recipe, start, fitted = tmp_path / "r.toml", tmp_path / "start.safetensors", tmp_path / "fitted.safetensors"
    recipe.write_text(_RECIPE)
    images = [*load_set(HEART, data), *load_set(CELLS, data)]
    config = tiny_config.model_copy(update={"concepts": concepts_of(images, {}, {})})
    save_model(build_model(config, text_encoder=text_encoder, seed=0), start, name="t", licence="x", training_data="x")

    result = invoke(presence, start, recipe, "--data", data, "--out", fitted)

    assert result.exit_code == 0, result.output
    before, after = (load_model(path, text_encoder=text_encoder)[0] for path in (start, fitted))
    given = {name: float(f.presence) for name, f in _asked(after, images[0]).items()}
    assert given["left ventricle"] > 0.5 > given["nuclei"]
    for name, answer in _asked(before, images[0]).items():
        assert np.array_equal(answer.probability, _asked(after, images[0])[name].probability)
    assert 0 <= read_info(fitted).scores["presence calibration error"] < 0.3


def _asked(model, image):
    pixels = image.image.astype(np.float32) / np.float32(255)
    words = ("left ventricle", "nuclei")
    scales = {word: auto_scale(model, word, image.labels.shape) for word in words}
    return {word: decode_prompt(model, encode_image(model, pixels, scales[word]), word) for word in words}


def test_presence_of_one_subject_cannot_be_calibrated(tiny_model, images):
    model = build_model(
        tiny_model.config.model_copy(update={"concepts": concepts_of(images, {}, {})}),
        text_encoder=tiny_model.text_encoder,
        seed=0,
    )
    with pytest.raises(InputError, match="as many to calibrate on; give it more sets"):
        fit_word_presence(model, images[:2])
    with pytest.raises(InputError, match="no training image to fit presence on"):
        fit_word_presence(model, [])
