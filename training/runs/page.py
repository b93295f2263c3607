"""The one-page report of a run: `report.md` with its curves and overlays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.datasets.asking import wordings
from training.runs.charts import draw_curves
from training.runs.markdown import table
from training.runs.pictures import draw_overlay, spread_by_score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_amvlm.evaluation import PromptPredictor
    from training.datasets.opening import DatasetSplit
    from training.runs.folder import RunFolder
    from training.runs.recipe import RunRecipe

_OVERLAYS = 6


def write_page(
    folder: RunFolder, recipe: RunRecipe, split: DatasetSplit, predictor: PromptPredictor, scores: Mapping[str, Any]
) -> None:
    """Write `curve.png`, up to six overlays from the worst image to the best, and `report.md`.

    Parameters
    ----------
    folder
        The run; its log gives the curves.
    recipe, split
        What the run was told and what it used.
    scores
        What `scores.json` will hold.
    """
    draw_curves(folder.logged(), folder.path / "curve.png")
    main = scores["scores"][recipe.prompts][recipe.protocols[0]]
    texts = wordings(split, split.validation, recipe.prompts, seed=recipe.seed)
    pairs = {pair.name: pair for pair in split.validation}
    names = spread_by_score(main["per_image"], _OVERLAYS)
    for number, name in enumerate(names, start=1):
        path = folder.path / f"overlay-{number}.png"
        draw_overlay(predictor, pairs[name], split.prompts(), texts[name], split.spec.scale, path)
    lines = [
        f"# {recipe.name}: {recipe.dataset}, labels {recipe.labels}, seed {recipe.seed}",
        "",
        f"{len(split.labelled)} labelled, {scores['unlabelled']} unlabelled and {len(split.validation)} validation "
        f"images; {scores['learning']['steps']} steps in {scores['learning']['seconds']:.0f} s on {scores['device']}; "
        f"method {recipe.method}, prompts {recipe.prompts}.",
        "",
        *_table(scores["scores"]),
        "",
        *_guidance(folder, recipe),
        "![Loss and validation Dice over the steps](curve.png)",
        "",
        "Outlines: green is the given mask, magenta what was found.",
        "",
    ]
    for number, name in enumerate(names, start=1):
        lines.append(f"![{name}](overlay-{number}.png) {name}: Dice {main['per_image'][name]['dice']:.3f}")
        lines.append("")
    (folder.path / "report.md").write_text("\n".join(lines), encoding="utf-8")


def _guidance(folder: RunFolder, recipe: RunRecipe) -> list[str]:
    """Say in how many steps L_tg acted, where the run was told to use it."""
    if recipe.method != "amvlm" or not recipe.learning_config().text_guidance:
        return []
    steps = [record for record in folder.logged() if record.get("event") == "step"]
    acted = [record["guidance"] for record in steps if record.get("guidance") is not None]
    if not acted:
        return ["L_tg did not act: what was present in a batch had one meaning. Ask captions, or several prompts.", ""]
    return [f"L_tg acted in {len(acted)} of {len(steps)} steps; its last value is {acted[-1]:.3f}.", ""]


def _table(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Return the means of every way of asking and every protocol, and of every class."""
    rows = [
        [mode, protocol, name, values["n"], f"{values['dice']:.4f}", f"{values['iou']:.4f}"]
        for mode, protocols in scores.items()
        for protocol, report in protocols.items()
        for name, values in {"all": report, **report.get("prompts", {})}.items()
    ]
    return table(["prompts", "protocol", "of", "images", "Dice", "IoU"], rows)
