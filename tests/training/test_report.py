"""Tables and paired tests out of runs on disk."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from napari_amvlm.errors import InputError
from training.pages import main as write_pages
from training.pages import rendered
from training.report import main, markdown
from training.runs.kept import keep, restore
from training.runs.paired import compare
from training.runs.published import published
from training.runs.results import read_runs, tables
from training.simulation.report import Round, write_report

_EXPERIMENTS = Path(__file__).parents[2] / "docs" / "experiments"
_NAMES = ("a", "b", "c", "d")


def _write_run(root, row, labels, seed, dice, dataset="MoNuSeg"):
    folder = root / row.replace(" ", "-") / str(labels) / str(seed)
    folder.mkdir(parents=True)
    per_image = {name: {"dice": value, "iou": value / 2} for name, value in zip(_NAMES, dice, strict=True)}
    report = {"n": 4, "dice": float(np.mean(dice)), "iou": float(np.mean(dice)) / 2, "per_image": per_image}
    if isinstance(labels, list):
        labelled = len(labels)
    else:
        labelled = labels if isinstance(labels, int) else round(float(labels[:-1]) / 100 * 24)
    recipe = {"name": row, "labels": labels, "seed": seed, "prompts": "fixed"}
    split = {"labelled": [f"l{i}" for i in range(labelled)], "unlabelled": [], "validation": list(_NAMES)}
    contents = {
        "scores.json": {"dataset": dataset, "scores": {"fixed": {"native": report}}},
        "config.json": {"recipe": recipe},
        "data.json": {"training_images": 24, "split": split},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path):
    """Return a folder with two rows, two seeds each for two images and one for a quarter."""
    _write_run(tmp_path, "second", 2, 0, (0.5, 0.6, 0.7, 0.8))
    _write_run(tmp_path, "second", 2, 1, (0.7, 0.8, 0.9, 1.0))
    _write_run(tmp_path, "first", 2, 0, (0.4, 0.48, 0.5, 0.74))
    _write_run(tmp_path, "first", 2, 1, (0.6, 0.6, 0.7, 0.8))
    _write_run(tmp_path, "first", "25%", 0, (0.8, 0.8, 0.8, 0.8))
    (tmp_path / "grid.json").write_text(json.dumps({"rows": ["second", "first"]}))
    return tmp_path


def test_means_and_spreads_over_seeds(runs):
    table = tables(read_runs(runs))["tables"][0]

    cell = table["rows"]["second"]["2"]
    assert list(table["rows"]) == ["second", "first"]
    assert list(table["columns"]) == ["2", "25%"]
    assert (cell["dice"], cell["seeds"]) == (pytest.approx(0.75), [0, 1])
    assert cell["dice_sd"] == pytest.approx(math.sqrt(2) / 10)
    assert table["rows"]["first"]["25%"]["dice_sd"] is None
    assert "25%" not in table["rows"]["second"]


def test_data_sets_count_alike_and_only_where_both_rows_have_a_run(runs):
    _write_run(runs / "polyps", "second", 2, 0, (0.3, 0.3, 0.3, 0.3), "polyps")
    _write_run(runs / "polyps", "first", 2, 0, (0.4, 0.4, 0.4, 0.4), "polyps")
    _write_run(runs / "polyps", "first", 2, 1, (0.9, 0.9, 0.9, 0.9), "polyps")
    _write_run(runs / "wounds", "second", 2, 0, (0.9, 0.9, 0.9, 0.9), "wounds")

    report = tables(read_runs(runs))

    (together,) = report["together"]
    (pair,) = together["pairs"]
    assert (pair["first"], pair["second"], pair["labels"]) == ("second", "first", "2")
    assert (pair["datasets"], pair["runs"], pair["ahead"], pair["images"]) == (2, 3, 1, 8)
    assert pair["dice"] == pytest.approx([0.525, 0.50125])
    assert pair["difference"] == pytest.approx(0.02375)
    differences = [0.1, 0.16, 0.2, 0.13, -0.1, -0.1, -0.1, -0.1]
    assert pair["t_p"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert "| 2 | second | first | 2 | 3 | 52.50 and 50.1" in markdown(report)


def test_many_rows_are_tested_against_ours(tmp_path):
    for row in ("AMVLM", *"abcdefgh"):
        _write_run(tmp_path, row, 2, 0, (0.5, 0.6, 0.7, 0.8))

    report = tables(read_runs(tmp_path))

    assert len(report["tables"][0]["tests"]) == 36
    assert markdown(report).count("| 2 | AMVLM | ") == 8
    assert "| 2 | a | b |" not in markdown(report)


def test_one_data_set_is_not_summed_up(runs):
    assert "together" not in tables(read_runs(runs))


def test_named_images_have_a_column_by_their_number(tmp_path):
    _write_run(tmp_path, "row", ["l0", "l1"], 0, (0.5, 0.6, 0.7, 0.8))

    table = tables(read_runs(tmp_path))["tables"][0]

    assert table["columns"] == {"2 named": {"labelled": 2, "training": 24}}
    assert "| labelled images | 2 named (2 of 24) |" in markdown(tables(read_runs(tmp_path)))


def test_rows_are_compared_on_their_images_with_seeds_averaged(runs):
    (test,) = tables(read_runs(runs))["tables"][0]["tests"]

    second, first = [0.6, 0.7, 0.8, 0.9], [0.5, 0.54, 0.6, 0.77]
    assert (test["first"], test["second"], test["labels"], test["images"]) == ("second", "first", "2", 4)
    assert test["t_p"] == pytest.approx(stats.ttest_rel(second, first).pvalue)
    assert test["w_p"] == pytest.approx(stats.wilcoxon(np.subtract(second, first)).pvalue)
    assert test["difference"] == pytest.approx(0.1475)


def test_rows_are_compared_over_the_seeds_that_both_have(runs):
    _write_run(runs, "first", 2, 2, (0.0, 0.0, 0.0, 0.0))  # other labelled images, which "second" never saw
    _write_run(runs, "third", 2, 2, (0.0, 0.0, 0.0, 0.1))

    tests = tables(read_runs(runs))["tables"][0]["tests"]

    found = {(test["first"], test["second"]): (test["seeds"], test["difference"]) for test in tests}
    assert found == {
        ("second", "first"): (2, pytest.approx(0.1475)),
        ("first", "third"): (1, pytest.approx(-0.025)),
    }


def test_published_figures_stand_beside_ours_and_say_what_they_are(runs):
    text = markdown(tables(read_runs(runs)))

    assert "| *published: AMVLM* † | *37.28* | *76.63* |" in text
    assert "† test images at 224x224, so another protocol" in text
    assert "| second | 75.00 ± 14.14" in text


def test_two_images_of_monuseg_stand_beside_ten_per_cent():
    assert published("MoNuSeg", "2", 2, 24) == {"AMVLM": 37.28}
    assert published("MoNuSeg", "6", 6, 24)["Mean Teacher"] == 72.80
    assert published("CXR-COVID", "25%", 6, 24) == {}


def test_without_any_difference_p_is_one():
    same = dict.fromkeys(_NAMES, 0.5)

    found = compare(same, same)

    assert (found.t_p, found.w_p, found.difference) == (1.0, 1.0, 0.0)


def test_equal_differences_have_an_infinite_statistic():
    found = compare(dict.fromkeys(_NAMES, 0.75), dict.fromkeys(_NAMES, 0.5))

    assert (found.t, found.t_p) == (math.inf, 0.0)
    assert found.w_p == pytest.approx(0.125)
    assert found.to_json()["t"] is None


def test_one_common_image_is_no_test():
    found = compare({"a": 0.5, "b": 0.1}, {"a": 0.25, "c": 0.9})

    assert (found.images, found.difference, found.t_p, found.w_p) == (1, 0.25, None, None)


def test_one_command_writes_both_files(invoke, runs, tmp_path):
    result = invoke(main, runs, "--out", tmp_path / "tables")

    assert result.exit_code == 0, result.output
    assert len(json.loads((tmp_path / "tables" / "tables.json").read_text())["tables"]) == 1
    assert (tmp_path / "tables" / "tables.md").read_text().startswith("### MoNuSeg, protocol native")


def test_single_runs_of_one_name_are_rows_by_their_folders(invoke, tmp_path):
    _write_run(tmp_path / "with", "tried", 2, 0, (0.5, 0.6, 0.7, 0.8))
    _write_run(tmp_path / "without", "tried", 2, 0, (0.4, 0.6, 0.6, 0.7))
    with_text, without = (tmp_path / name / "tried" / "2" / "0" for name in ("with", "without"))
    with_text = with_text.rename(tmp_path / "a")
    without = without.rename(tmp_path / "b")
    result = invoke(main, with_text, without)

    p = stats.ttest_rel([0.5, 0.6, 0.7, 0.8], [0.4, 0.6, 0.6, 0.7]).pvalue
    assert result.exit_code == 0, result.output
    assert "| tried (a) | 65.00 (32.50), n = 1 |" in result.output
    assert f"| 2 | tried (a) | tried (b) | 1 | 4 | +7.50 | {p:.3f} |" in result.output
    assert not (with_text / "tables.md").exists()


def test_pretraining_runs_beside_are_no_rows(runs):
    folder = runs / "pretrained"
    folder.mkdir()
    recipe = {"name": "first", "sources": ["DSB2018"]}
    for name, content in (("scores", {"per_image": {}}), ("config", {"recipe": recipe}), ("data", {"split": {}})):
        (folder / f"{name}.json").write_text(json.dumps(content))

    assert {run.row for run in read_runs(runs)} == {"first", "second"}
    assert keep(runs, runs / "kept.json") == 5


def test_a_folder_without_runs_is_told(tmp_path):
    with pytest.raises(InputError, match="holds no finished run"):
        read_runs(tmp_path)


def test_kept_runs_make_the_same_tables(invoke, runs, tmp_path):
    kept = tmp_path / "kept" / "runs.json"
    result = invoke(main, runs, "--keep", kept)

    assert result.exit_code == 0, result.output
    assert "Kept 5 runs" in result.output
    assert markdown(tables(read_runs(kept))) == markdown(tables(read_runs(runs)))


def test_what_is_no_file_of_kept_runs_is_told(tmp_path):
    for text in ("no JSON", "[]", '{"a/scores.json": 1}', '{"../scores.json": {}}'):
        (tmp_path / "kept.json").write_text(text)
        with pytest.raises(InputError, match="kept runs"):
            restore(tmp_path / "kept.json", tmp_path / "out")
    assert not (tmp_path / "scores.json").exists()


def test_many_data_sets_have_one_table(runs):
    for name in ("polyps", "wounds", "caries"):
        _write_run(runs / name, "first", 2, 0, (0.3, 0.3, 0.3, 0.3), name)

    text = markdown(tables(read_runs(runs)))

    assert "| caries | 2 |  |  | 30.0 (1) |" in text
    assert "| MoNuSeg | 2 | 4 | 75.0 ± 14.1 (2) | 60.2 ± 10.3 (2) |" in text
    assert "Paired tests on per-image Dice" not in text


@pytest.mark.parametrize("page", sorted(_EXPERIMENTS.glob("*.md")), ids=lambda page: page.stem)
def test_tables_are_those_of_the_kept_runs(page):
    assert page.read_text(encoding="utf-8") == rendered(page)


def test_tables_replace_what_stands_there(runs, tmp_path):
    keep(runs, tmp_path / "kept.json")
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- tables: kept.json, native -->\nstale\n<!-- end of tables -->\n\nend\n")

    text = rendered(page)

    assert text.startswith("# A\n\n<!-- tables: kept.json, native -->\n\n### MoNuSeg, protocol native\n")
    assert "| second | 75.00 ± 14.14 (37.50 ± 7.07), n = 2 |  |" in text
    assert "stale" not in text
    assert text.endswith("\n\n<!-- end of tables -->\n\nend\n")
    page.write_text(text)
    assert rendered(page) == text


def test_a_protocol_that_no_run_has(runs, tmp_path):
    keep(runs, tmp_path / "kept.json")
    page = tmp_path / "page.md"
    page.write_text("<!-- tables: kept.json, 224 -->\n<!-- end of tables -->\n")

    with pytest.raises(InputError, match="holds no run that was scored by the protocol 224"):
        rendered(page)


def test_rounds_of_a_simulation_are_a_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- tables: curves.csv, rounds -->\n<!-- end of tables -->\n")
    write_report(tmp_path, {"ours": [Round(1, 8, 2, 11.26, 2.0, 0.25, 0.5, 0.76543, "serves")]}, 0.8)

    assert "\n| ours | 1 | 8 | 2 | 11.3 | 2.8 | 0.765 | serves |\n" in rendered(page)

    (tmp_path / "curves.csv").write_text("arm,dice\nours,high\n")
    with pytest.raises(InputError, match=r"curves\.csv cannot be read as curves\.csv of training\.simulate"):
        rendered(page)


def test_a_folder_without_pages_is_told(tmp_path):
    with pytest.raises(InputError, match="holds no page"):
        write_pages(tmp_path / "docs")


_BEGIN, _END = "<!-- tables: kept.json, native -->", "<!-- end of tables -->"


@pytest.mark.parametrize(
    ("marks", "lone", "missing"),
    [
        ((_BEGIN,), _BEGIN, f"no end '{_END}' below it"),
        ((_BEGIN, _BEGIN, _END), _BEGIN, f"no end '{_END}' below it"),
        ((_BEGIN, _END, _END), _END, "no opening mark above it"),
        (("<!-- tables: kept.json -->", _END), _END, "no opening mark above it"),
    ],
)
def test_a_mark_without_its_other_one_is_told(runs, tmp_path, marks, lone, missing):
    keep(runs, tmp_path / "kept.json")
    page = tmp_path / "page.md"
    page.write_text("\n".join(marks))

    with pytest.raises(InputError, match=re.escape(f"{page}: the mark '{lone}' has {missing}")):
        rendered(page)
