"""A plain U-Net for each set of a vocabulary, with as many images drawn as the vocabulary's run drew of that set.

    python -m training.plain_unets RECIPE --data PATH -o unets.json [--steps N] [--set NAME] [--minutes M]

What is in the file already is not trained again, and a set that was stopped goes on where it was: its state lies beside
the file, in the folder unets. A run that went on ends as one that was not stopped. `training.word_table --plain-unets
unets.json` puts the scores beside those of weights.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from napari_amvlm.config import LearningConfig
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import InputError
from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.files import write_text
from napari_amvlm.learning.data import LabelledImage as Learnt
from napari_amvlm.learning.data import LearningData
from napari_amvlm.learning.loop import never
from napari_amvlm.metrics import dice
from training import command
from training.methods.teachers import UNetMethod
from training.methods.train import train
from training.pretraining.recipe import Recipe
from training.runs.folder import RunFolder, StateFile
from training.runs.plain_unet import PlainPredictor
from training.runs.recipe import read_recipe
from training.words.batches import WordSource
from training.words.corpus import split_subjects
from training.words.run import load_corpus
from training.words.vocabulary import concepts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from napari_amvlm.learning.run_state import StateKeeper
    from training.words.corpus import LabelledImage

log = logging.getLogger("training.plain_unets")
_BATCH = 4
_SAVE_EVERY = 120
"""Seconds between two states of a set that learns."""


def steps_of(recipe: Recipe, images: Sequence[LabelledImage], steps: int) -> dict[str, int]:
    """Return for each set in how many steps a plain U-Net sees as many of its images as a run of `steps` steps."""
    concepts = concepts_of(images, {}, recipe.sides)
    source = WordSource(images, concepts, seed=0, batch=recipe.batch, size=recipe.crop, emphasis=recipe.emphasis)
    return {name: max(1, math.ceil(steps * recipe.batch * part / _BATCH)) for name, part in source.shares.items()}


def train_and_score(
    training: Sequence[LabelledImage],
    validation: Sequence[LabelledImage],
    steps: int,
    device: torch.device,
    seed: int = 0,
    *,
    keeper: StateKeeper | None = None,
    should_stop: Callable[[], bool] = never,
) -> dict[str, Any] | None:
    """Train a plain U-Net on one set, and return its mean Dice for each word that the validation images show.

    Stopped before its last step, it returns None, and `keeper` has its state.
    """
    data = LearningData(labelled=tuple(_learnt(image) for image in training))
    words = tuple(dict.fromkeys(word for image in data.labelled for word in image.masks))
    config = LearningConfig(minutes=None, steps=steps, seed=seed, labelled_batch=_BATCH)
    network, made = train(UNetMethod(), data, config, device, keeper=keeper, should_stop=should_stop)
    if made < steps:
        return None
    predictor = PlainPredictor(network, device, words)
    scores: dict[str, list[float]] = {}
    for image in validation:
        predictor.set_image(image.image)
        for word in (*image.shown(), *image.spec.paired):
            found = predictor.predict(word, scale=image.spec.kind).probability >= THRESHOLD
            scores.setdefault(word, []).append(float(dice(found, image.mask(word))))
    return {"steps": steps, "dice": {word: round(float(np.mean(each)), 4) for word, each in scores.items()}}


def _learnt(image: LabelledImage) -> Learnt:
    words = image.shown() if image.spec.partial else image.words
    masks = {word: image.mask(word) for word in (*words, *image.spec.paired)}
    return Learnt(image.name, image.pixels, masks, dict.fromkeys(masks, image.spec.kind))


def main(
    recipe: command.RecipeArgument,
    data: command.DataSetsOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON file for the scores; what it has is kept.")],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the vocabulary's run, all parts; the recipe's unless given.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--set", help="Only this set; may be repeated.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Stop after this time; the same command goes on from there.")
    ] = None,
    device: command.DeviceOption = "auto",
) -> None:
    """Train a plain U-Net on each set alone, and score it on that set's validation images."""
    resolved = read_recipe(Recipe, recipe)
    images, _ = load_corpus(resolved, data)
    training, validation = split_subjects(images)
    counts = steps_of(resolved, training, steps or resolved.steps)
    unknown = sorted(set(only or ()) - set(counts))
    if unknown:
        raise InputError(f"The recipe has no set {unknown[0]!r}; it has {', '.join(counts)}.")
    done = _done(output)
    with_scores = {image.spec.name for image in validation}
    unscored = sorted(set(only or ()) - with_scores)
    if unscored:
        raise InputError(f"The set {unscored[0]!r} has no validation image to score a plain U-Net on; leave it out.")
    todo = [name for name in counts if name not in done and name in with_scores and (not only or name in only)]
    with command.sitting(minutes) as over:
        for number, name in enumerate(todo):
            folder = RunFolder(output.with_suffix("") / name)
            folder.claim({"set": name, "steps": counts[name], "seed": resolved.seed})
            keeper = StateFile(folder, _SAVE_EVERY)
            scored = train_and_score(
                [image for image in training if image.spec.name == name],
                [image for image in validation if image.spec.name == name],
                counts[name],
                resolve_device(device),
                resolved.seed,
                keeper=keeper,
                should_stop=over,
            )
            if scored is None:
                left = len(todo) - number
                typer.echo(f"Stopped with {left} of {len(counts)} sets to do; the same command goes on with {name}.")
                return
            done[name] = scored
            write_text(output, json.dumps(done, indent=1))
            keeper.remove()
            log.info("%s: %s", name, scored)


def _done(output: Path) -> dict[str, Any]:
    """Return the scores that the file has; none where there is no file."""
    if not output.is_file():
        return {}
    try:
        done: dict[str, Any] = dict(json.loads(output.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{output} is no file of this command ({error}); give another -o.") from error
    return done


if __name__ == "__main__":
    command.run(main)
