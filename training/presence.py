"""Fits the presence score of finished weights that know a vocabulary.

python -m training.presence MODEL RECIPE --data PATH --out FILE [--images 8]

Weights of the four old sets need no such command: `training.pretrain` ends with a fit of its own.
"""

from __future__ import annotations

import logging
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from napari_amvlm.device import resolve_device
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.models.words.taught import learnt
from training import command
from training.pretraining.recipe import Recipe
from training.runs.recipe import read_recipe
from training.runs.weights import save_as
from training.words.corpus import split_subjects
from training.words.known import describe_words
from training.words.presence import fit_word_presence
from training.words.run import load_corpus

log = logging.getLogger("training.presence")


def main(
    model: command.ModelArgument,
    recipe: command.RecipeArgument,
    data: command.DataSetsOption,
    output: Annotated[Path, typer.Option("--out", "-o", help="Where the fitted model goes.")],
    device: command.DeviceOption = "auto",
    images: Annotated[int, typer.Option(min=1, help="Images of each set that are asked.")] = 8,
) -> None:
    """Fit the presence score of a trained model, and write down how well it finds each word; masks do not change."""
    network, info = load_model(model, device=resolve_device(device))
    corpus, _ = load_corpus(read_recipe(Recipe, recipe), data)
    training, validation = split_subjects(corpus)
    found = fit_word_presence(network, training, count=images)
    log.info("calibration error on training subjects that were kept: %(before).3f, now %(after).3f", found)
    network.config = describe_words(network, corpus, validation)
    weak = [concept.name for concept in network.config.concepts if not learnt(concept)]
    log.info("words that it does not find, and which count as not taught: %s", ", ".join(weak) or "none")
    scores = info.scores | {"presence calibration error": round(found["after"], 4)}
    save_as(network, output, info, scores=scores)


if __name__ == "__main__":
    command.run(main)
