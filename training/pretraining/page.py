"""What a finished pretraining run leaves for people: the files it used, and a page with curves and overlays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.imaging import read_folder
from napari_amvlm.predictor import Predictor
from training.pretraining.data import KINDS, is_validation
from training.runs.charts import draw_curves
from training.runs.folder import file_hashes
from training.runs.markdown import table
from training.runs.pictures import draw_overlay, spread_by_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.models.amvlm import AMVLM
    from training.pretraining.data import Kind, TaughtImage
    from training.pretraining.recipe import Recipe
    from training.pretraining.scoring import ImageScores
    from training.runs.folder import RunFolder

_DRAWN: Mapping[Kind, Mapping[str, int | None]] = {
    "tissue": {"nuclei": None},
    "xray": {"lungs": None},
    "spine": {"vertebrae": 1, "intervertebral discs": 2, "spinal canal": 3},
}
"""What an overlay shows of each kind of image, with its value in the mask file; None: every value above 0."""
_OVERLAYS = 2
"""Overlays of each data set: its worst image and its best."""


def used_files(data: Path, images: Sequence[TaughtImage]) -> dict[str, Any]:
    """Return the images by name, for training and validation, and the SHA-256 of every image and mask file."""
    names = [f"{image.source}/{image.name}" for image in images]
    held_out = [is_validation(image.source, image.name) for image in images]
    pairs = _pairs(data, {image.source for image in images})
    files = [path for name in names for path in (pairs[name].image, pairs[name].required_mask())]
    return {
        "split": {
            "training": [name for name, validation in zip(names, held_out, strict=True) if not validation],
            "validation": [name for name, validation in zip(names, held_out, strict=True) if validation],
        },
        "sha256": file_hashes(files, data),
    }


def write_pretrain_page(
    folder: RunFolder,
    recipe: Recipe,
    data: Path,
    model: AMVLM,
    each: Sequence[ImageScores],
    scores: Mapping[str, Any],
) -> None:
    """Write `curve.png`, the worst and the best image of each data set as `overlay-N.png`, and `report.md`.

    Parameters
    ----------
    folder
        The run; its log gives the curves.
    each, scores
        Its scores on every validation image, and what `scores.json` will hold.
    """
    draw_curves(curve_records(folder.logged()), folder.path / "curve.png")
    lines = [
        f"# {recipe.name} {recipe.version}: pretraining on {', '.join(recipe.sources)}, seed {recipe.seed}",
        "",
        f"{scores['steps']} steps; {len(each)} validation images; losses of step 1: "
        f"{', '.join(f'{name} {value}' for name, value in recipe.step_one.model_dump().items())}, "
        f"together {recipe.step_one_weight}. Weights: {recipe.licence}.",
        "",
        *_table(each, scores),
        "",
        "![Loss of the segmentation and validation Dice over the steps](curve.png)",
        "",
        "Outlines: green is the given mask, magenta what was found; the worst and the best image of each data set.",
        "",
    ]
    lines += _overlays(folder, recipe, data, model, each)
    (folder.path / "report.md").write_text("\n".join(lines), encoding="utf-8")


def curve_records(logged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the log as `draw_curves` reads it: the segmentation loss, and the mean Dice over concepts.

    A sitting that began again before the last line of the one before it has logged some steps twice; the last counts.
    """
    records: dict[tuple[str, int], dict[str, Any]] = {}
    for record in logged:
        step = record["step"]
        if "segmentation" in record:
            records["step", step] = {"event": "step", "step": step, "loss": record["segmentation"]}
        concepts = [value for name, value in record.get("dice", {}).items() if name != "absent"]
        if concepts:
            records["validation", step] = {"event": "validation", "step": step, "dice": float(np.mean(concepts))}
    return sorted(records.values(), key=lambda record: int(record["step"]))


def _table(each: Sequence[ImageScores], scores: Mapping[str, Any]) -> list[str]:
    of_text, means = scores["text_mask"], scores["scores"]
    rows = [
        [name, sum(name in scored.dice for scored in each), f"{means[name]:.4f}", f"{value:.4f}"]
        for name, value in of_text.items()
    ]
    rows += [[name, None, f"{value:.4f}", None] for name, value in means.items() if name not in of_text]
    return table(["concept", "images", "Dice", "Dice of the text mask"], rows)


def _overlays(folder: RunFolder, recipe: Recipe, data: Path, model: AMVLM, each: Sequence[ImageScores]) -> list[str]:
    pairs = _pairs(data, set(recipe.sources))
    predictor = Predictor(model)
    lines: list[str] = []
    number = 0
    for source in recipe.sources:
        means = {s.image: {"dice": float(np.mean([*s.dice.values()]))} for s in each if s.image.split("/")[0] == source}
        kind = KINDS.get(source, "tissue")
        for name in spread_by_score(means, _OVERLAYS):
            number += 1
            path = folder.path / f"overlay-{number}.png"
            texts = {thing: thing for thing in _DRAWN[kind]}
            draw_overlay(predictor, pairs[name], _DRAWN[kind], texts, "tiles" if kind == "tissue" else "whole", path)
            lines += [f"![{name}]({path.name}) {name}: Dice {means[name]['dice']:.3f}", ""]
    return lines


def _pairs(data: Path, sources: set[str]) -> dict[str, ImagePair]:
    """Return the files of every image, called `SOURCE/NAME`."""
    return {f"{source}/{pair.name}": pair for source in sorted(sources) for pair in read_folder(data / source).pairs}
