"""Trains released weights from the shippable data sets.

    python -m training.pretrain training/recipes/amvlm-open.toml --data PATH --out runs/first

A run can be killed at any time; the same command goes on from its last state. `--minutes` bounds one sitting, not the
run. Several processes can share it: see `training.pretraining.workers`.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_amvlm.device import resolve_device
from napari_amvlm.errors import InputError
from napari_amvlm.files import sha256_of_file
from napari_amvlm.learning.loop import never
from training import command
from training.pretraining.data import load_taught_images
from training.pretraining.page import used_files, write_pretrain_page
from training.pretraining.presence import fit_presence
from training.pretraining.recipe import Recipe
from training.pretraining.run import Pretraining
from training.pretraining.scoring import by_concept, mean_scores
from training.runs.folder import DATA, SCORES, RunFolder, environment
from training.runs.recipe import read_recipe
from training.runs.weights import save_as
from training.words.run import Corpus, WordRun, load_corpus
from training.words.scores import by_pair, mean_dice, score_words

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from napari_amvlm.models.text_encoder import TextEncoder
    from training.pretraining.data import TaughtImage

log = logging.getLogger("training.pretrain")


def pretrain(
    recipe: Recipe,
    images: list[TaughtImage],
    data: Path,
    out: Path,
    device: torch.device,
    *,
    start: Path | None = None,
    text_encoder: TextEncoder | None = None,
    should_stop: Callable[[], bool] = never,
) -> bool:
    """Run a recipe, or go on with it, and return whether it is finished.

    Parameters
    ----------
    out
        The run's folder; a finished run there is not repeated.
    start
        Weights to go on from; None where the recipe begins at random weights.
    text_encoder
        A loaded text encoder to share; None loads the configured one.
    should_stop
        Asked before every step; the state is kept then.

    Raises
    ------
    InputError
        The folder holds a run that was told otherwise, or the weights are not those that the recipe names.
    """
    check_start(recipe, start)
    folder = RunFolder(out)
    settings = _settings(recipe, start, device)
    if folder.finished:
        folder.claim(settings)
        return True
    run = Pretraining(recipe, images, out, device, text_encoder=text_encoder)
    if run.workers.leads:
        folder.claim(settings)
        folder.write(DATA, used_files(data, images))
    if start is not None:
        run.start_from(start)
    finished = run.run(should_stop)
    if finished and run.workers.leads:
        _finish(run, images, data, folder)
    return finished


def teach_words(
    recipe: Recipe,
    data: Path,
    out: Path,
    device: torch.device,
    *,
    start: Path | None = None,
    text_encoder: TextEncoder | None = None,
    should_stop: Callable[[], bool] = never,
    corpus: Corpus | None = None,
) -> bool:
    """Run a recipe that teaches a vocabulary, or go on with it, and return whether it is finished.

    Nothing is written before the sets are read.

    Parameters
    ----------
    recipe, data, out, device, start, text_encoder, should_stop
        As those of `pretrain`.
    corpus
        What `load_corpus` returns, where runs share it; of these the few validation images that are watched are scored
        at the end, and else all.

    Raises
    ------
    InputError
        A set cannot be used, the folder holds a run of another recipe, or the weights are not those it names.
    """
    folder, settings = RunFolder(out), _settings(recipe, start, device)
    if folder.finished:
        folder.claim(settings)
        return True
    images, wordings = corpus or load_corpus(recipe, data)
    run = WordRun(recipe, images, out, device, wordings=wordings, text_encoder=text_encoder)
    if run.workers.leads:
        folder.claim(settings)
        folder.write(DATA, run.split())
    log.info("%d images for training, %d for validation", len(run.training), len(run.validation))
    if start is not None:
        run.start_from(start)
    finished = run.run(should_stop)
    if finished and run.workers.leads:
        rows = by_pair(run.scored() if corpus else score_words(run.averaged_model(), run.validation))
        run.write(out / f"{recipe.name}.safetensors", {"mean Dice": round(mean_dice(rows), 4)})
        folder.write(SCORES, {"name": recipe.name, "steps": run.step, "mean": mean_dice(rows), "pairs": rows})
    return finished


def _settings(recipe: Recipe, start: Path | None, device: torch.device) -> dict[str, Any]:
    """Return what a run's folder is claimed for."""
    digest = None if start is None else sha256_of_file(start)
    return {"recipe": recipe.model_dump(mode="json"), "start": digest, "environment": environment(device)}


def check_start(recipe: Recipe, start: Path | None) -> None:
    """Make sure that there are weights to go on from where the recipe wants some, and only there.

    Raises
    ------
    InputError
        They are missing, or were given to a recipe that begins at random weights.
    """
    if recipe.start is not None and start is None:
        raise InputError(f"{recipe.name} {recipe.version} goes on from weights; name them with --start WEIGHTS.")
    if recipe.start is None and start is not None:
        raise InputError(f"{recipe.name} {recipe.version} begins at random weights; leave --start {start} out.")


def _finish(run: Pretraining, images: list[TaughtImage], data: Path, folder: RunFolder) -> None:
    """Write the weights, the scores of every validation image, and the run's page."""
    recipe = run.recipe
    model, each = run.averaged_model(), run.scored()
    means = mean_scores(each)
    if recipe.presence_steps:
        presence = fit_presence(model, images, steps=recipe.presence_steps, seed=recipe.seed)
        if math.isfinite(presence):
            means["presence AUC"] = round(presence, 4)
    path = folder.path / f"{recipe.name}.safetensors"
    save_as(model, path, recipe, scores=means)
    log.info("wrote %s", path)
    per_image = {s.image: {"dice": s.dice, "text_mask": s.text_dice, "absent": s.absent} for s in each}
    scores: dict[str, Any] = {
        "name": recipe.name,
        "steps": run.step,
        "scores": means,
        "text_mask": by_concept([s.text_dice for s in each]),
        "per_image": per_image,
    }
    write_pretrain_page(folder, recipe, data, model, each, scores)
    folder.write(SCORES, scores)


def main(
    recipe: command.RecipeArgument,
    data: command.DataSetsOption,
    out: command.OutOption,
    device: command.DeviceOption = "auto",
    minutes: command.MinutesOption = None,
    start: Annotated[
        Path | None, typer.Option(metavar="WEIGHTS", help="Weights to go on from; for recipes that name a start.")
    ] = None,
) -> None:
    """Train released weights."""
    resolved = read_recipe(Recipe, recipe)
    check_start(resolved, start)
    where = resolve_device(device)
    with command.sitting(minutes) as over:
        if resolved.teaches_words:
            finished = teach_words(resolved, data, out, where, start=start, should_stop=over)
        else:
            out.mkdir(parents=True, exist_ok=True)
            side = resolved.model.whole
            images = [i for source in resolved.sources for i in load_taught_images(data, source, whole=side)]
            log.info("%d images", len(images))
            finished = pretrain(resolved, images, data, out, where, start=start, should_stop=over)
    if not finished:
        typer.echo(f"Stopped before the last step; the same command goes on with {out}.")


if __name__ == "__main__":
    command.run(main)
