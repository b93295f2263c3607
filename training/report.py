"""Tables and paired tests out of a folder of runs, or of single runs.

    python -m training.report runs/ablation --out runs/ablation
    python -m training.report runs/with runs/without
    python -m training.report runs/ablation --keep docs/experiments/results/ablation.json

Writes `tables.md`, which a page of the documentation can include, and `tables.json`. Single runs are told apart by
their folders where they have one name, and are printed where no folder is named for the files. A kept file stands for
the folder that it was made of.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from napari_amvlm.errors import InputError
from training.command import run_command
from training.runs.folder import CONFIG, DATA, SCORES, RunFolder
from training.runs.grid import GRID, folder_name
from training.runs.kept import as_folder, keep
from training.runs.markdown import table, write_tables
from training.runs.paired import ALPHA, compare
from training.runs.published import ANOTHER_PROTOCOL, published

if TYPE_CHECKING:
    from collections.abc import Sequence


_MANY = 3
"""Above so many data sets there is one table for all."""
_MANY_ROWS = 8
"""Above so many rows each is tested against one alone."""
_OURS = "AMVLM"


@dataclass(frozen=True)
class Measured:
    """The scores of one run, asked in one way, in one protocol.

    Attributes
    ----------
    dataset, protocol, labels, row
        Where it stands: labels as the recipe has them; a row is a run's name and way of asking.
    labelled, training
        Number of labelled and of all training images.
    dice, iou
        Means over images.
    per_image
        Dice by image.
    """

    dataset: str
    protocol: str
    labels: str
    row: str
    seed: int
    labelled: int
    training: int
    dice: float
    iou: float
    per_image: dict[str, float]
    path: Path


def read_runs(*roots: Path) -> list[Measured]:
    """Return the scores of all finished runs below folders, of each in the order of the grid's rows, then of the paths.

    Runs of one name, labels and seed in several folders are rows of their own, called by their folders too. A root may
    be a file of kept runs (`training.runs.kept`).

    Raises
    ------
    InputError
        One of the folders holds none.
    """
    measured: list[Measured] = []
    for root in dict.fromkeys(roots):
        with as_folder(root) as folder:
            measured += _runs_below(folder)
    paths: dict[tuple[str, ...], set[Path]] = defaultdict(set)
    for run in measured:
        paths[_key(run)].add(run.path)
    alike = {run.row for run in measured if len(paths[_key(run)]) > 1}
    return [replace(run, row=f"{run.row} ({run.path.name})") if run.row in alike else run for run in measured]


def _key(run: Measured) -> tuple[str, ...]:
    return run.dataset, run.protocol, run.labels, run.row, str(run.seed)


def _runs_below(root: Path) -> list[Measured]:
    runs: list[Measured] = []
    grid = RunFolder(root).read(GRID) or {"rows": []}
    order = {folder_name(row): number for number, row in enumerate(grid["rows"])}

    def position(path: Path) -> tuple[int, str]:
        return min(order.get(part, len(order)) for part in path.relative_to(root).parts), str(path)

    for path in sorted(root.rglob(SCORES), key=position):
        folder = RunFolder(path.parent)
        scores, config, data = (folder.read(name) for name in (SCORES, CONFIG, DATA))
        if scores is None or config is None or data is None:
            raise InputError(f"{path.parent} has {SCORES}, but not {CONFIG} and {DATA}; remove it or run it again.")
        recipe = config["recipe"]
        if "sources" in recipe:
            continue  # a pretraining run: it is no row of any table
        split = data["split"]
        for mode, protocols in scores["scores"].items():
            row = recipe["name"] if mode == recipe["prompts"] == "fixed" else f"{recipe['name']}, asked {mode}"
            for protocol, report in protocols.items():
                per_image = {name: values["dice"] for name, values in report["per_image"].items()}
                where = (scores["dataset"], protocol, _labels(recipe["labels"]), row, int(recipe["seed"]))
                counts = (len(split["labelled"]), data["training_images"])
                runs.append(Measured(*where, *counts, report["dice"], report["iou"], per_image, path.parent))
    if not runs:
        raise InputError(f"{root} holds no finished run (a folder with {SCORES}); finish one first.")
    return runs


def _labels(labels: int | str | list[str]) -> str:
    """Return the labelled images as a column is called: named ones by their number."""
    return f"{len(labels)} named" if isinstance(labels, list) else str(labels)


def tables(runs: Sequence[Measured]) -> dict[str, Any]:
    """Return means, spreads and tests as JSON: a list of tables, one for each data set and protocol."""
    groups: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for run in runs:
        groups[run.dataset, run.protocol].append(run)
    report: dict[str, Any] = {
        "tables": [_table(dataset, protocol, group) for (dataset, protocol), group in groups.items()]
    }
    together = [_together(protocol, runs) for protocol in dict.fromkeys(run.protocol for run in runs)]
    return report | {"together": found} if (found := [each for each in together if each]) else report


def _together(protocol: str, runs: Sequence[Measured]) -> dict[str, Any] | None:
    """Return what two rows differ by over the data sets that both have; None with one data set.

    Every data set counts the same in means, and every image in tests.
    """
    cells: dict[tuple[str, str], dict[str, list[Measured]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run.protocol == protocol:
            cells[run.row, run.labels][run.dataset].append(run)
    pairs = []
    for (one, labels), (other, same) in itertools.combinations(cells, 2):
        first, second = cells[one, labels], cells[other, same]
        shared = {
            name: sorted({run.seed for run in first[name]} & {run.seed for run in second[name]})
            for name in first.keys() & second.keys()
        }
        shared = {name: seeds for name, seeds in sorted(shared.items()) if seeds}
        if labels != same or len(shared) < 2:
            continue
        sides = [
            {name: _per_image([run for run in side[name] if run.seed in seeds]) for name, seeds in shared.items()}
            for side in (first, second)
        ]
        means = [np.array([np.mean(list(side[name].values())) for name in shared]) for side in sides]
        images = [{f"{name}/{image}": dice for name in side for image, dice in side[name].items()} for side in sides]
        test = compare(*images).to_json()
        pairs.append(
            {
                "labels": labels,
                "first": one,
                "second": other,
                "datasets": len(shared),
                "runs": sum(map(len, shared.values())),
                "dice": [float(mean.mean()) for mean in means],
                "difference": float((means[0] - means[1]).mean()),
                "ahead": int((means[0] > means[1]).sum()),
                "images": test["images"],
                "t_p": test["t_p"],
                "w_p": test["w_p"],
            }
        )
    return {"protocol": protocol, "pairs": pairs} if pairs else None


def _table(dataset: str, protocol: str, runs: Sequence[Measured]) -> dict[str, Any]:
    cells: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for run in runs:
        cells[run.row, run.labels].append(run)
    columns = sorted({run.labels for run in runs}, key=lambda labels: _count(runs, labels))
    rows = {
        row: {labels: _cell(cells[row, labels]) for labels in columns if (row, labels) in cells}
        for row in dict.fromkeys(row for row, _ in cells)
    }
    tests = []
    for labels in columns:
        present = [row for row in rows if labels in rows[row]]
        for one, other in itertools.combinations(present, 2):
            test = compare(_per_image(cells[one, labels]), _per_image(cells[other, labels]))
            tests.append({"labels": labels, "first": one, "second": other, **test.to_json()})
    counts = {labels: next((r.labelled, r.training) for r in runs if r.labels == labels) for labels in columns}
    return {
        "dataset": dataset,
        "protocol": protocol,
        "columns": {labels: {"labelled": counts[labels][0], "training": counts[labels][1]} for labels in columns},
        "rows": rows,
        "published": {labels: published(dataset, labels, *counts[labels]) for labels in columns},
        "tests": tests,
    }


def _cell(runs: Sequence[Measured]) -> dict[str, Any]:
    """Return mean and sample standard deviation over seeds; the latter is None with one seed."""
    dice, iou = np.array([run.dice for run in runs]), np.array([run.iou for run in runs])
    several = len(runs) > 1
    return {
        "seeds": sorted(run.seed for run in runs),
        "dice": float(dice.mean()),
        "dice_sd": float(dice.std(ddof=1)) if several else None,
        "iou": float(iou.mean()),
        "iou_sd": float(iou.std(ddof=1)) if several else None,
    }


def _per_image(runs: Sequence[Measured]) -> dict[str, float]:
    """Return each image's Dice, the mean over the seeds that scored it: an image counts once in a test."""
    values: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for name, dice in run.per_image.items():
            values[name].append(dice)
    return {name: float(np.mean(scores)) for name, scores in values.items()}


def _count(runs: Sequence[Measured], labels: str) -> int:
    return min(run.labelled for run in runs if run.labels == labels)


def markdown(report: dict[str, Any]) -> str:
    """Return the tables as Markdown: one table for each data set, or one for all where they are many."""
    together = [line for each in report.get("together", ()) for line in _together_lines(each)]
    protocols: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in report["tables"]:
        protocols[each["protocol"]].append(each)
    for protocol, contents in protocols.items():
        many = len(contents) > _MANY
        together += (
            _overview_lines(protocol, contents) if many else [line for each in contents for line in _lines(each)]
        )
    return "\n".join(together)


def _overview_lines(protocol: str, contents: Sequence[dict[str, Any]]) -> list[str]:
    """Return one table of all data sets, a line for each and its labels."""
    names = list(dict.fromkeys(row for content in contents for row in content["rows"]))
    images = {(c["dataset"], t["labels"]): t["images"] for c in contents for t in c["tests"]}
    lines = [
        [
            content["dataset"],
            labels,
            images.get((content["dataset"], labels)),
            *(_brief(content["rows"].get(name, {}).get(labels)) for name in names),
        ]
        for content in sorted(contents, key=lambda content: content["dataset"])
        for labels in content["columns"]
    ]
    return [
        f"### By data set, protocol {protocol}",
        "",
        "Dice of validation images, mean over seeds ± standard deviation (number of seeds); per cent.",
        "",
        *table(["data set", "labelled images", "images", *names], lines),
        "",
    ]


def _brief(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    spread = "" if cell["dice_sd"] is None else f" ± {100 * cell['dice_sd']:.1f}"
    return f"{100 * cell['dice']:.1f}{spread} ({len(cell['seeds'])})"


def _together_lines(content: dict[str, Any]) -> list[str]:
    heads = ["labelled images", "first", "second", "data sets", "runs of each", "Dice of both", "first - second"]
    rows = [
        [
            *(pair[key] for key in ("labels", "first", "second", "datasets", "runs")),
            " and ".join(f"{100 * dice:.2f}" for dice in pair["dice"]),
            f"{100 * pair['difference']:+.2f}",
            f"{pair['ahead']} of {pair['datasets']}",
            pair["images"],
            _p(pair["t_p"]),
            _p(pair["w_p"]),
        ]
        for pair in content["pairs"]
    ]
    return [
        f"### All data sets together, protocol {content['protocol']}",
        "",
        "Dice in per cent, over the data sets and seeds that both rows have; every data set counts the same, and in "
        "tests every image, its mean over seeds.",
        "",
        *table([*heads, "first ahead in", "images", "t-test p", "Wilcoxon p"], rows),
        "",
    ]


def _lines(content: dict[str, Any]) -> list[str]:
    columns, ours, theirs = content["columns"], content["rows"], content["published"]
    methods = dict.fromkeys(method for row in theirs.values() for method in row)
    heads = [f"{labels} ({c['labelled']} of {c['training']})" for labels, c in columns.items()]
    rows = [[row, *(_shown(cells.get(labels)) for labels in columns)] for row, cells in ours.items()]
    for method in methods:
        values = (theirs[labels].get(method) for labels in columns)
        rows.append([f"*published: {method}* †", *("" if v is None else f"*{v:.2f}*" for v in values)])
    lines = [
        f"### {content['dataset']}, protocol {content['protocol']}",
        "",
        "Dice (IoU) of validation images, mean over seeds ± standard deviation; per cent.",
        "",
        *table(["labelled images", *heads], rows),
        *(["", f"† {ANOTHER_PROTOCOL}."] if methods else []),
        "",
    ]
    return [*lines, *_test_lines(_shown_tests(content)), ""] if content["tests"] else lines


def _shown_tests(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tests of each pair of rows; of many rows those against ours, or the first."""
    rows = list(content["rows"])
    tests: list[dict[str, Any]] = content["tests"]
    if len(rows) <= _MANY_ROWS:
        return tests
    one = next((row for row in rows if row.split(",")[0] == _OURS), rows[0])
    return [test for test in tests if one in (test["first"], test["second"])]


def _test_lines(tests: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        [
            *(test[key] for key in ("labels", "first", "second", "images")),
            *(f"{100 * test['difference']:+.2f}", _p(test["t_p"]), _p(test["w_p"])),
        ]
        for test in tests
    ]
    return [
        f"Paired tests on per-image Dice (mean over seeds), two-sided; bold below {ALPHA}, without correction for the "
        "number of tests. Where two rows agree on every image p is 1.",
        "",
        *table(["labels", "first", "second", "images", "first - second", "t-test p", "Wilcoxon p"], rows),
    ]


def _shown(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    dice, iou = (
        f"{100 * cell[key]:.2f}" + ("" if cell[f"{key}_sd"] is None else f" ± {100 * cell[f'{key}_sd']:.2f}")
        for key in ("dice", "iou")
    )
    return f"{dice} ({iou}), n = {len(cell['seeds'])}"


def _p(value: float | None) -> str:
    if value is None:
        return "n/a"
    text = "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"**{text}**" if value < ALPHA else text


def main(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders that hold runs at any depth or are runs themselves, or files of --keep."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables.md and tables.json; by default the one of the runs.")
    ] = None,
    keep_in: Annotated[
        Path | None,
        typer.Option("--keep", help="Writes settings and scores of one folder's runs into this file, and no tables."),
    ] = None,
) -> None:
    """Write the tables of all finished runs below folders."""
    for path in runs:
        if not path.exists():
            raise InputError(f"{path} is not there; give a folder of training.ablate or training.semi_supervised.")
    if keep_in is not None:
        if len(runs) != 1 or not runs[0].is_dir():
            raise InputError("--keep takes the runs of one folder; name that one alone.")
        typer.echo(f"Kept {keep(runs[0], keep_in)} runs in {keep_in}.")
        return
    report = tables(read_runs(*runs))
    target = out or (runs[0] if len(runs) == 1 and runs[0].is_dir() else None)
    if target is None:
        typer.echo(markdown(report))
        return
    target.mkdir(parents=True, exist_ok=True)
    write_tables(target, "tables", report, markdown(report))
    typer.echo(f"Wrote {target / 'tables.md'} and {target / 'tables.json'}.")


if __name__ == "__main__":
    run_command(main)
