"""Scores any weights on the validation images of a vocabulary: Dice and boundary F1 for each word of each set.

python -m training.word_table MODEL RECIPE --data PATH [-o FILE] [--part validation|all] [--structured] [--answers]
    [--plain-unets FILE]
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Any

import numpy as np
import typer

from napari_amvlm.errors import InputError
from napari_amvlm.models.checkpoint import load_model
from training import command
from training.benchmarks.taught import UNKNOWN
from training.pretraining.recipe import Recipe
from training.runs.recipe import read_recipe
from training.words.answers import answers, calibration_error, confusion
from training.words.corpus import split_subjects
from training.words.run import load_corpus
from training.words.scores import by_pair, mean_dice, score_words
from training.words.structure_scores import by_form, complement_overlap, score_structure

log = logging.getLogger("training.word_table")


def main(
    model: command.ModelArgument,
    recipe: command.RecipeArgument,
    data: command.DataSetsOption,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file for all figures.")] = None,
    part: Annotated[str, typer.Option(help="validation, or all images (for weights that saw none).")] = "validation",
    structured: Annotated[bool, typer.Option(help="Also ask prompts with structure.")] = False,
    unets: Annotated[
        Path | None, typer.Option("--plain-unets", help="Scores of training.plain_unets, shown beside.")
    ] = None,
    asked: Annotated[bool, typer.Option("--answers", help="Also count present, absent and not taught.")] = False,
) -> None:
    """Print n, Dice and boundary F1 (2 px at 512) of each word in each set, and the means."""
    if part not in ("validation", "all"):
        raise InputError(f"There is no part {part!r}; choose validation or all.")
    network, info = load_model(model)
    images, _ = load_corpus(read_recipe(Recipe, recipe), data)
    scored = images if part == "all" else split_subjects(images)[1]
    if not scored:
        raise InputError(f"The sets of {recipe} have no validation image to score; give --part all, or more subjects.")
    each = score_words(network, scored)
    rows = by_pair(each)
    report: dict[str, Any] = {
        "model": f"{info.name} {info.version}",
        "sha256": info.sha256,
        "pairs": rows,
        "mean_dice": round(mean_dice(rows), 4),
        "mean_boundary_f1": round(sum(r["boundary_f1"] for r in rows) / max(1, len(rows)), 4),
        "per_image": [dataclasses.asdict(score) for score in each],
    }
    beside = _beside(rows, unets)
    for row in rows:
        other = f" {row['plain_unet']:.3f}" if "plain_unet" in row else ""
        typer.echo(f"{row['set']:34} {row['word']:34} {row['n']:4} {row['dice']:.3f} {row['boundary_f1']:.3f}{other}")
    typer.echo(f"{'mean of':34} {len(rows):4} pairs {'':29} {report['mean_dice']:.3f} {report['mean_boundary_f1']:.3f}")
    if beside:
        report["beside plain U-Nets"] = beside
        typer.echo(
            f"{'of these with a plain U-Net':34} {beside['pairs']:4} pairs: {beside['dice']:.3f}, "
            f"the plain U-Nets {beside['plain_unet']:.3f}"
        )
    if structured:
        report["structured"] = by_form(score_structure(network, scored))
        for row in report["structured"]:
            typer.echo(f"{row['form']:18} {row['trained']:8} {row['n']:4} {row['dice']:.3f} {row['plain']:.3f}")
        overlaps = [complement_overlap(network, image, "nuclei") for image in scored if "nuclei" in image.shown()]
        if overlaps:
            nuclei, rest = (round(float(np.mean(part)), 4) for part in zip(*overlaps, strict=True))
            report["everything except nuclei"] = [nuclei, rest]
            typer.echo(f"everything except nuclei: IoU with nuclei {nuclei}, with the rest {rest}")
    if asked:
        given = answers(network, scored, UNKNOWN)
        report["answers"] = {"confusion": confusion(given), "calibration_error": round(calibration_error(given), 4)}
        typer.echo(json.dumps(report["answers"]))
    if output is not None:
        output.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _beside(rows: list[dict[str, Any]], path: Path | None) -> dict[str, Any]:
    """Enter the plain U-Nets' Dice into the rows, and return both means over the pairs that have one."""
    if path is None:
        return {}
    try:
        scores = {name: each["dice"] for name, each in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no file of training.plain_unets ({error}); write it by that command.") from error
    both = [row for row in rows if row["word"] in scores.get(row["set"], {})]
    for row in both:
        row["plain_unet"] = scores[row["set"]][row["word"]]
    if not both:
        return {}
    means = {key: round(float(np.mean([row[key] for row in both])), 4) for key in ("dice", "plain_unet")}
    return {"pairs": len(both), **means}


if __name__ == "__main__":
    command.run(main)
