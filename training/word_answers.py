"""Asks weights what images show, and draws how right "present", "absent" and "not taught" are.

python -m training.word_answers MODEL RECIPE --data PATH --out FOLDER [--more none] [--most 8]

Validation images of the recipe are asked; with --more, also images of sets of its index files that trained nothing.
The folder gets answers.md (confusion matrix, and a row for each word), answers.png (the same as a picture, beside how
often presence is right at what it says), and answers.json (every answer).
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.errors import InputError
from napari_amvlm.files import write_text
from napari_amvlm.models.checkpoint import load_model
from training import command
from training.benchmarks.taught import UNKNOWN
from training.datasets.word_sets import read_index
from training.pretraining.recipe import Recipe
from training.runs.charts import draw_answers
from training.runs.recipe import read_recipe
from training.words.answers import answers, answers_page, calibration_bins, confusion
from training.words.corpus import load_set, split_subjects
from training.words.run import load_corpus, sets_of
from training.words.scores import few_of_each

if TYPE_CHECKING:
    from training.words.corpus import LabelledImage

log = logging.getLogger("training.word_answers")


def main(
    model: command.ModelArgument,
    recipe: command.RecipeArgument,
    data: command.DataSetsOption,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for page, picture and answers.")],
    more: Annotated[
        list[str] | None, typer.Option("--more", help="Also sets whose column `weights` says this; may be repeated.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Images of each of these sets.")] = 8,
) -> None:
    """Count answers against what is so, and measure how well presence is calibrated."""
    network, info = load_model(model)
    resolved = read_recipe(Recipe, recipe)
    corpus, _ = load_corpus(resolved, data)
    images = [*split_subjects(corpus)[1], *few_of_each(_others(resolved, data, tuple(more or ())), most)]
    if not images:
        raise InputError(f"The sets of {recipe} have no validation image to ask; give it more subjects, or --more.")
    log.info("%d images", len(images))
    found = answers(network, images, UNKNOWN)
    page = answers_page(found, f"{info.name} {info.version}")
    content = json.dumps({"sha256": info.sha256, "answers": [dataclasses.asdict(each) for each in found]}, indent=1)
    write_text(output / "answers.json", content)
    write_text(output / "answers.md", page)
    draw_answers(calibration_bins(found), confusion(found), output / "answers.png")
    typer.echo(page.split("\n## ", maxsplit=1)[0])


def _others(recipe: Recipe, data: Path, weights: tuple[str, ...]) -> list[LabelledImage]:
    """Return the images of sets that the recipe's index files name for other weights.

    Raises
    ------
    InputError
        The recipe teaches one of these sets.
    """
    if not weights:
        return []
    own = {spec.name for spec in sets_of(recipe, data)}
    specs = [spec for index in recipe.index for spec in read_index(data / index.file, weights)]
    taught = next((spec.name for spec in specs if spec.name in own), None)
    if taught is not None:
        raise InputError(f"The recipe teaches {taught}, so it is no other set; give --more another name.")
    return [image for spec in specs for image in load_set(spec, data)]


if __name__ == "__main__":
    command.run(main)
