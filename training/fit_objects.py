"""Adds the head that tells touching objects apart to finished weights; all other weights stay as they are.

    python -m training.fit_objects WEIGHTS --data PATH --out WEIGHTS_WITH_HEAD

The probability of each image is computed once, so that it takes about twelve minutes of one core. The recipe
`training/recipes/objects.toml` learns from sets that open weights may learn from, `objects-research.toml` also from
MoNuSeg's training images.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from napari_amvlm.device import resolve_device
from napari_amvlm.errors import InputError
from napari_amvlm.models.checkpoint import load_model
from training import command
from training.objects.data import ObjectCrops, load_objects
from training.objects.fit import fit_head, mean_row, score_objects, with_head
from training.objects.recipe import ObjectRecipe
from training.runs.markdown import table
from training.runs.recipe import read_recipe
from training.runs.weights import save_as

log = logging.getLogger("training.objects")
RECIPE = Path(__file__).parent / "recipes" / "objects.toml"


def main(
    weights: Annotated[Path, typer.Argument(help="Weights to add the head to; they are not changed.")],
    data: command.DataSetsOption,
    out: Annotated[Path, typer.Option("--out", help="File of the weights with the head.")],
    recipe: Annotated[Path, typer.Option("--recipe", help="TOML file of the recipe.")] = RECIPE,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.01, help="Bound of the fit, minutes of one core.")
    ] = 10.0,
    device: command.DeviceOption = "auto",
) -> None:
    """Fit the head for separate objects, write the weights with it, and print scores of validation images."""
    resolved = read_recipe(ObjectRecipe, recipe)
    start, info = load_model(weights, device=resolve_device(device))
    if resolved.licence != info.licence:
        raise InputError(
            f"{recipe} learns from data for weights under {resolved.licence}, but {weights} is under {info.licence}; "
            "give the recipe of that licence with --recipe."
        )
    model = with_head(start, resolved)
    learnt = load_objects(resolved, data, model.config, validation=False)
    log.info("%d images; computing the probability of each", len(learnt))
    crops = ObjectCrops(model, resolved, learnt)
    log.info("fitting the head")
    steps = fit_head(model, crops, resolved, minutes=minutes)
    scores = score_objects(model, load_objects(resolved, data, model.config, validation=True))
    rows = {name: mean_row([with_it for with_it, _ in each]) for name, each in scores.items()}
    lines = [
        [name, len(each), way, *mean_row([pair[number] for pair in each]).values()]
        for name, each in scores.items()
        for number, way in enumerate(("head", "watershed"))
    ]
    typer.echo("\n".join(table(["set", "n", "objects by", "AJI", "PQ", "F1", "count error"], lines)))
    own = {f"{title} of objects ({name})": value for name in list(rows)[:1] for title, value in rows[name].items()}
    save_as(model, out, info, scores={**info.scores, **own})
    log.info("wrote %s after %d steps", out, steps)


if __name__ == "__main__":
    command.run(main)
