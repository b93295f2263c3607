"""Tables and paired tests out of a folder of runs, or of single runs.

    python -m training.report runs/ablation --out runs/ablation
    python -m training.report runs/with runs/without
    python -m training.report runs/ablation --keep docs/experiments/results/ablation.json

Writes `tables.md`, which a page of the documentation can include, and `tables.json`. Single runs are told apart by
their folders where they have one name, and are printed where no folder is named for the files. A kept file stands for
the folder that it was made of.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_amvlm.errors import InputError
from training import command
from training.runs.kept import keep
from training.runs.markdown import table, write_tables
from training.runs.paired import ALPHA
from training.runs.published import ANOTHER_PROTOCOL
from training.runs.results import read_runs, tables

if TYPE_CHECKING:
    from collections.abc import Sequence


_MANY = 3
"""Above so many data sets there is one table for all."""
_MANY_ROWS = 8
"""Above so many rows each is tested against one alone."""
_OURS = "AMVLM"


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
            *(test[key] for key in ("labels", "first", "second", "seeds", "images")),
            *(f"{100 * test['difference']:+.2f}", _p(test["t_p"]), _p(test["w_p"])),
        ]
        for test in tests
    ]
    return [
        f"Paired tests on per-image Dice, its mean over the seeds that both rows have, two-sided; bold below {ALPHA}, "
        "without correction for the number of tests. Where two rows agree on every image p is 1.",
        "",
        *table(["labels", "first", "second", "seeds", "images", "first - second", "t-test p", "Wilcoxon p"], rows),
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
    command.run(main)
