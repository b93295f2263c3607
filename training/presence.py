"""Fits the presence score of finished weights: of a vocabulary's, or of those of the four old sets.

python -m training.presence MODEL [RECIPE] --data PATH --out FILE [--images 8]
"""

from __future__ import annotations

import logging
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.device import resolve_device
from napari_amvlm.models.words.taught import learnt
from training.command import DataSetsOption, DeviceOption, run_command
from training.pretraining.data import SOURCES, load_taught_images
from training.pretraining.presence import fit_presence
from training.pretraining.recipe import Recipe
from training.runs.recipe import read_recipe
from training.words.corpus import split_subjects
from training.words.known import describe_words
from training.words.presence import fit_word_presence
from training.words.run import load_corpus

if TYPE_CHECKING:
    from napari_amvlm.models.amvlm import AMVLM

log = logging.getLogger("training.presence")


def main(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    data: DataSetsOption,
    output: Annotated[Path, typer.Option("--out", "-o", help="Where the fitted model goes.")],
    recipe: Annotated[Path | None, typer.Argument(help="TOML file of the recipe that taught it words.")] = None,
    device: DeviceOption = "auto",
    steps: Annotated[int, typer.Option(help="Length of the fit without a recipe.")] = 300,
    images: Annotated[int, typer.Option(min=1, help="With a recipe: images of each set that are asked.")] = 8,
) -> None:
    """Fit the presence score of a trained model, and write down how well it finds each word; masks do not change."""
    from napari_amvlm.models.checkpoint import load_model, save_model

    network, info = load_model(model, device=resolve_device(device))
    taught = None if recipe is None else read_recipe(Recipe, recipe)
    if taught is not None and taught.teaches_words:
        scores = _of_words(network, taught, data, images)
    else:
        old = [i for s in SOURCES for i in load_taught_images(data, s, whole=info.config.whole)]
        scores = {"presence AUC": fit_presence(network, old, steps=steps)["after"]}
    log.info("%s", scores)
    save_model(
        network,
        output,
        name=info.name,
        version=info.version,
        licence=info.licence,
        training_data=info.training_data,
        parent=info.parent,
        scores=info.scores | {name: round(value, 4) for name, value in scores.items()},
    )


def _of_words(network: AMVLM, recipe: Recipe, data: Path, images: int) -> dict[str, float]:
    corpus, _ = load_corpus(recipe, data)
    training, validation = split_subjects(corpus)
    found = fit_word_presence(network, training, count=images)
    log.info("calibration error on training subjects that were kept: %(before).3f, now %(after).3f", found)
    network.config = describe_words(network, corpus, validation)
    weak = [concept.name for concept in network.config.concepts if not learnt(concept)]
    log.info("words that it does not find, and which count as not taught: %s", ", ".join(weak) or "none")
    return {"presence calibration error": found["after"]}


if __name__ == "__main__":
    run_command(main)
