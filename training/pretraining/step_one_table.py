"""The tables of a grid of short pretraining runs: what each row has aligned, beside the first row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import InputError
from training.runs.folder import SCORES, RunFolder
from training.runs.grid import GRID, folder_name
from training.runs.kept import ALIGNED, as_folder
from training.runs.markdown import table
from training.runs.paired import compare, shown_ps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_Finished = tuple[dict[str, Any], dict[str, Any]]
"""A run's scores, and what it has aligned."""


def tables(root: Path) -> dict[str, Any]:
    """Return the means over seeds of each row's finished runs, and tests of each row against the first.

    Parameters
    ----------
    root
        Folder of the grid, or a file of its kept runs (`training.runs.kept`).

    Raises
    ------
    InputError
        No run is finished.
    """
    with as_folder(root) as folder:
        names = (RunFolder(folder).read(GRID) or {"rows": []})["rows"]
        runs = {name: _finished(folder / folder_name(name)) for name in names}
    finished = {name: of_row for name, of_row in runs.items() if of_row}
    if not finished:
        raise InputError(f"{root} holds no finished run of a grid of step 1; give the command more --minutes.")
    first = next(iter(finished))
    rows = {name: _means(of_row) for name, of_row in finished.items()}
    images = {name: _per_image(of_row) for name, of_row in finished.items()}
    tests = [
        {"row": name, "against": first, "of": what, **compare(images[name].get(what, {}), base).to_json()}
        for what, base in images[first].items()
        for name in finished
        if name != first
    ]
    return {"rows": rows, "tests": tests}


def _finished(row: Path) -> list[_Finished]:
    """Return the finished runs in the folder of a row, one for each seed."""
    runs = (
        tuple(RunFolder(path.parent).read(name) for name in (SCORES, ALIGNED))
        for path in sorted(row.glob(f"*/{ALIGNED}"))
    )
    return [(scores, aligned) for scores, aligned in runs if scores is not None and aligned is not None]


def _means(of_row: Sequence[_Finished]) -> dict[str, Any]:
    """Return the means of one row over its seeds."""
    figures: dict[str, list[float | None]] = {}
    for scores, aligned in of_row:
        for name, value in (aligned.get("figures") or _figures(scores, aligned)).items():
            figures.setdefault(name, []).append(value)
    means = {k: None if None in v else round(float(np.mean(np.array(v, float))), 4) for k, v in figures.items()}
    return {"seeds": len(of_row), **means}


def _figures(scores: Mapping[str, Any], aligned: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures of a run on images of few concepts; one on a vocabulary says its own."""
    right, wrong = (aligned["groups"][f"{side} captions"] for side in ("right", "wrong"))
    return {
        "text_mask": float(np.mean([*scores["text_mask"].values()])),
        "dice": float(np.mean([scores["scores"][concept] for concept in scores["text_mask"]])),
        "retrieval": aligned["retrieval"],
        "right_nearer": aligned["right_nearer"]["captions"],
        "cosine_right": right["cosine"],
        "cosine_wrong": wrong["cosine"],
        "spread": right["spread"],
        "ratio": right["ratio"],
        "sigma": right["sigma"],
    }


def _per_image(of_row: Sequence[_Finished]) -> dict[str, dict[str, float]]:
    """Return what rows are compared by: each image's values, the mean over seeds."""
    values: dict[str, dict[str, list[float]]] = {}
    for scores, aligned in of_row:
        of_run = aligned.get("per_image") or {
            "text_mask": {k: float(np.mean([*v["text_mask"].values()])) for k, v in scores["per_image"].items()},
            "spread": aligned["spread_per_image"],
        }
        for what, of_images in of_run.items():
            for image, value in of_images.items():
                values.setdefault(what, {}).setdefault(image, []).append(value)
    return {what: {image: float(np.mean(of_image)) for image, of_image in of.items()} for what, of in values.items()}


def markdown(report: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    names = [name for name in next(iter(report["rows"].values())) if name != "seeds"]
    rows = (
        [row, figures["seeds"], *(None if figures[name] is None else f"{figures[name]:.4f}" for name in names)]
        for row, figures in report["rows"].items()
    )
    tests = (
        [
            *(test["of"].replace("_", " "), test["row"], test["against"], test["images"], f"{test['difference']:+.4f}"),
            *shown_ps(test),
        ]
        for test in report["tests"]
    )
    heads = ["of", "row", "against", "images", "difference", "t-test p", "Wilcoxon p"]
    lines = table(["row", "seeds", *(name.replace("_", " ") for name in names)], rows)
    if report["tests"]:
        lines += ["", *table(heads, tests)]
    return "\n".join(lines) + "\n"
