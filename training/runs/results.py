"""Scores of finished runs: read from disk, and summed up as means, spreads and paired tests."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import InputError
from training.runs.folder import CONFIG, DATA, SCORES, RunFolder
from training.runs.grid import GRID, folder_name
from training.runs.kept import as_folder
from training.runs.paired import compare
from training.runs.published import published

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
        shared = {name: _same_seeds(first[name], second[name]) for name in sorted(first.keys() & second.keys())}
        shared = {name: both for name, both in shared.items() if both[0]}
        if labels != same or len(shared) < 2:
            continue
        sides = [{name: _per_image(both[side]) for name, both in shared.items()} for side in (0, 1)]
        means = [np.array([np.mean(list(side[name].values())) for name in shared]) for side in sides]
        images = [{f"{name}/{image}": dice for name in side for image, dice in side[name].items()} for side in sides]
        test = compare(*images).to_json()
        pairs.append(
            {
                "labels": labels,
                "first": one,
                "second": other,
                "datasets": len(shared),
                "runs": sum(len(both[0]) for both in shared.values()),
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
            first, second = _same_seeds(cells[one, labels], cells[other, labels])
            if first:
                test = compare(_per_image(first), _per_image(second)).to_json()
                tests.append({"labels": labels, "first": one, "second": other, "seeds": len(first), **test})
    counts = {labels: next((r.labelled, r.training) for r in runs if r.labels == labels) for labels in columns}
    return {
        "dataset": dataset,
        "protocol": protocol,
        "columns": {labels: {"labelled": counts[labels][0], "training": counts[labels][1]} for labels in columns},
        "rows": rows,
        "published": {labels: published(dataset, labels, *counts[labels]) for labels in columns},
        "tests": tests,
    }


def _same_seeds(first: Sequence[Measured], second: Sequence[Measured]) -> tuple[list[Measured], list[Measured]]:
    """Return the runs of two rows whose seeds both have: other seeds have other labelled images."""
    seeds = {run.seed for run in first} & {run.seed for run in second}
    one, other = ([run for run in runs if run.seed in seeds] for runs in (first, second))
    return one, other


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
