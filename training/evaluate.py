"""Scores of any weights on a data set: per image, per class, in both protocols, as one JSON object.

    python -m training.evaluate runs/monuseg --data PATH
    python -m training.evaluate amvlm-open --dataset MoNuSeg --data PATH --prompts fixed --prompts captions
    python -m training.evaluate runs/monuseg --data PATH --beside amvlm-open --share 0.3

A run's folder knows its data set and its split. With `--beside`, the logits of two models are averaged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from napari_amvlm.cli.console import ViewsOption, views_of
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import InputError
from napari_amvlm.models.catalog import find_model
from training import command
from training.datasets import open_dataset
from training.datasets.asking import PromptMode
from training.datasets.opening import open_part
from training.runs.folder import CONFIG, RunFolder
from training.runs.recipe import RunRecipe, validated
from training.runs.scores import PROTOCOLS, score_split
from training.runs.weights import AveragedPredictor, load_predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_amvlm.evaluation import EvaluationProtocol, PromptPredictor
    from napari_amvlm.imaging.turning import Views

PARTS = ("validation", "test", "train")


def evaluate(
    model: str,
    recipe: RunRecipe,
    data: Path,
    *,
    device: torch.device,
    part: str = "validation",
    protocols: Sequence[EvaluationProtocol] = PROTOCOLS,
    beside: str | None = None,
    share: float | None = None,
    views: Views = 1,
) -> dict[str, Any]:
    """Return the scores of weights on a part of a recipe's data set.

    Parameters
    ----------
    model
        Folder of a run, weights file, or name of an installed model.
    recipe
        Says the data set, how it is split, and how images are asked.
    data
        The data set's folder, or one that holds it.
    part
        "validation": as the recipe splits; "train" or "test": that folder of the data set.
    beside
        A second model that answers together with the first; None means the first alone.
    share
        Of the second in the mean of the logits, 0 to 1; None means one half.
    views
        As of `Predictor`.

    Raises
    ------
    InputError, DatasetError, ModelFileError
        Something that was given does not fit.
    """
    if share is not None and beside is None:
        raise InputError("--share is of a second model; name that with --beside, or leave --share out.")
    share = 0.5 if share is None else share
    if not 0 <= share <= 1:
        raise InputError(f"Expected the share to lie between 0 and 1, but got {share}.")
    if part not in PARTS:
        raise InputError(f"Expected the part to be one of {', '.join(PARTS)}, but got {part!r}.")
    split = open_dataset(recipe.spec(), data, recipe, seed=recipe.seed)
    pairs = split.validation if part == "validation" else open_part(split.spec, data, part).pairs
    predictor = _predictor(model, device, views)
    if beside is not None:
        predictor = AveragedPredictor(predictor, _predictor(beside, device, views), share)
    modes = (recipe.prompts, *recipe.score_prompts)
    square = recipe.learning_config().square
    scores = score_split(predictor, split, pairs, modes, seed=recipe.seed, protocols=protocols, square=square)
    together = {"views": views} if beside is None else {"views": views, "beside": beside, "share": share}
    return {"model": model, **together, "dataset": split.spec.name, "part": part, "n": len(pairs), "scores": scores}


def _predictor(model: str, device: torch.device, views: Views) -> PromptPredictor:
    return load_predictor(Path(model) if Path(model).exists() else find_model(model), device, views=views)


def run_recipe(model: str, dataset: str | None, prompts: Sequence[str]) -> RunRecipe:
    """Return the recipe of a run's folder, or one of `dataset` alone; `prompts` replace its ways of asking.

    Raises
    ------
    InputError
        There is no run, and no data set was named.
    """
    stored = RunFolder(Path(model)).read(CONFIG) if (Path(model) / CONFIG).is_file() else None
    if stored is None and dataset is None:
        raise InputError(f"{model} is no folder of a run, so the data set is not known; give --dataset NAME.")
    values = {"name": model, "steps": 1} if stored is None else dict(stored["recipe"])
    if dataset is not None:
        values["dataset"] = dataset
    if prompts:
        values |= {"prompts": prompts[0], "score_prompts": list(prompts[1:])}
    return validated(RunRecipe, values, model)


def main(
    model: Annotated[str, typer.Argument(help="Folder of a run, weights file, or an installed model's name.")],
    data: command.DataOption,
    dataset: Annotated[str | None, typer.Option(help="Name of the data set; a run's folder knows its own.")] = None,
    part: Annotated[str, typer.Option(help="validation, test or train.")] = "validation",
    prompts: Annotated[
        list[str] | None, typer.Option(help=f"How to ask: {', '.join(get_args(PromptMode))}; may be repeated.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="native or 224; both where it is left out.")] = None,
    beside: Annotated[str | None, typer.Option(help="A second model; the logits of both are averaged.")] = None,
    share: Annotated[float | None, typer.Option(help="Of the second model in the mean, 0 to 1; one half.")] = None,
    views: ViewsOption = "1",
    out: Annotated[Path | None, typer.Option(help="Write the JSON here instead of printing it.")] = None,
    device: command.DeviceOption = "auto",
) -> None:
    """Score weights on a data set."""
    recipe = run_recipe(model, dataset, prompts or ())
    protocols = PROTOCOLS if protocol is None else (cast("EvaluationProtocol", protocol),)
    where = resolve_device(device)
    report = evaluate(
        model,
        recipe,
        data,
        device=where,
        part=part,
        protocols=protocols,
        beside=beside,
        share=share,
        views=views_of(views),
    )
    if out is None:
        typer.echo(json.dumps(report))
    else:
        out.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    command.run(main)
