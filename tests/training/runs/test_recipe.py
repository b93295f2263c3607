"""Recipes: settings from the command line, and what is said of a recipe that cannot be used."""

from pathlib import Path

import pytest

from napari_amvlm.config import LearningConfig
from napari_amvlm.errors import InputError
from training.runs.grid import Grid
from training.runs.recipe import RunRecipe, read_toml, validated, with_settings

_RECIPES = Path(__file__).parents[3] / "training" / "recipes"
_SINGLE = ("monuseg", "qata", "bmseg", "mrspineseg", "cxr-covid", "spider-spine")


@pytest.mark.parametrize("name", _SINGLE)
def test_every_recipe_can_be_used(name):
    recipe = validated(RunRecipe, read_toml(_RECIPES / f"{name}.toml"), name)

    assert recipe.labels == "25%"
    assert recipe.learning_config().keep == "last"


def test_the_ablation_has_the_rows_of_the_publication():
    grid = validated(Grid, read_toml(_RECIPES / "ablation-monuseg.toml"), "grid")

    runs = {run.folder: run.recipe for run in grid.runs({"css-icl": Path("full.safetensors")}, "grid")}

    assert len(runs) == len(grid.rows) * len(grid.fractions) * len(grid.seeds)
    supervised = runs["supervised-only/labels-2/seed-0"]
    assert (supervised.learning_config().unlabelled_batch, supervised.start) == (0, "plain")
    assert runs["mean-teacher/labels-25-percent/seed-1"].learning_config().text_evidence == 0
    assert runs["text-mask/labels-25-percent/seed-1"].learning_config().text_evidence > 0
    assert runs["mean-teacher/labels-25-percent/seed-1"].learning_config().anchor == 0
    defaults = LearningConfig()
    last = runs["anchor-after-a-supervised-share/labels-2/seed-0"].learning_config()
    for key in ("anchor", "supervised_share", "ramp", "labelled_weight", "text_evidence"):
        assert getattr(last, key) == getattr(defaults, key)
    full = runs["l-tg/labels-100-percent/seed-0"]
    assert (full.start, full.prompts, full.learning_config().text_guidance > 0) == (
        "full.safetensors",
        "captions",
        True,
    )


def test_published_step_two_is_what_the_publication_says_with_own_changes():
    recipe = {"name": "p", "dataset": "QaTa-COV19", "steps": 10, "published": True, "learning": {"square": 64}}

    run = RunRecipe.model_validate(recipe)

    config = run.learning_config()
    assert (config.anchor, config.supervised_share, config.text_evidence, config.ema_warmup) == (0, 0, 1, True)
    assert (config.crop, config.square, config.steps, config.keep) == (224, 64, 10, "last")
    assert run.protocols == ("224",)


def test_settings_reach_into_tables_and_leave_the_rest():
    values = {"seed": 0, "learning": {"crop": 64}}

    changed = with_settings(values, ["learning.ramp=0.5", "seed=3", 'labels="25%"', "start=some/path", "steps = 4"])

    assert changed == {
        "seed": 3,
        "learning": {"crop": 64, "ramp": 0.5},
        "labels": "25%",
        "start": "some/path",
        "steps": 4,
    }
    assert values == {"seed": 0, "learning": {"crop": 64}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 5}, "r.toml: give either minutes or steps"),
        ({"dataset": "X"}, "r.toml: There is no data set 'X'; choose one of"),
        ({"labels": "0%"}, "r.toml: labels: expected labels as a number of images, or a share"),
        ({"learning": {"seed": 1}}, "r.toml: seed belongs to the recipe itself"),
        ({"learning": {"typo": 1}}, "r.toml: .*typo.*"),
        ({"typo": 1}, "r.toml: typo: Extra inputs are not permitted"),
        ({"method": "plain-unet", "prompts": "captions"}, "a U-Net reads no text"),
        ({"subject": "("}, "is no regular expression"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        validated(RunRecipe, {"name": "n", "dataset": "MoNuSeg", "minutes": 1} | changes, "r.toml")


@pytest.mark.parametrize("setting", ["seed", "=1", "seed.x=1"])
def test_a_setting_that_cannot_be_is_refused(setting):
    with pytest.raises(InputError, match="Setting"):
        with_settings({"seed": 0}, [setting])


def test_a_file_that_is_no_toml_is_told(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("labels = ")

    with pytest.raises(InputError, match=r"broken\.toml cannot be read as TOML"):
        read_toml(path)


def _write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)


def test_a_recipe_is_put_on_top_of_the_one_that_it_extends(tmp_path):
    _write(
        tmp_path,
        first="seed = 1\nsteps = 5\n[sides]\nvessels = 640\n"
        '[[sets]]\nname = "A"\nshare = 1\n[[index]]\nfile = "a"\nweights = ["w"]\n',
        second='extends = "first.toml"\nseed = 2\n[sides]\nlesions = 512\n[[sets]]\nname = "B"\nshare = 4\n',
        third='extends = "second.toml"\n[[sets]]\nname = "A"\nshare = 3\n[[index]]\nfile = "b"\n',
    )

    assert read_toml(tmp_path / "third.toml") == {
        "seed": 2,
        "steps": 5,
        "sides": {"vessels": 640, "lesions": 512},
        "sets": [{"name": "A", "share": 3}, {"name": "B", "share": 4}],
        "index": [{"file": "b"}],
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"first": 'extends = "none.toml"'}, r"none\.toml, which first\.toml extends, cannot be read"),
        ({"first": "extends = 3"}, r"first\.toml: extends must name another recipe's file, but is 3"),
        ({"first": 'extends = "first.toml"'}, r"first\.toml extends first\.toml, which is extended already"),
        (
            {"first": 'extends = "second.toml"', "second": 'extends = "first.toml"'},
            r"second\.toml extends first\.toml, which is extended already \(first\.toml, second\.toml\)",
        ),
    ],
)
def test_what_cannot_be_extended_is_told(tmp_path, texts, message):
    _write(tmp_path, **texts)

    with pytest.raises(InputError, match=message):
        read_toml(tmp_path / "first.toml")
