"""AMVLM as published, both steps, on your own copy of a data set: one command.

    python -m training.published training/recipes/published-qata.toml --data PATH --out runs/published-qata

Step 1 learns from the images and captions of the training folder (`OUT/step-1`), step 2 from a share of its masks and
the unlabelled rest (`OUT/step-2`), at 224x224. Both can be stopped at any time; the same command goes on. `--minutes`
bounds one sitting. What the publication leaves open, and where the recipe departs from it, stands in its comments.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Any

import typer
from pydantic import Field, model_validator

from napari_amvlm.config import Config
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import Cancelled
from napari_amvlm.files import sha256_of_file
from training import command
from training.datasets import open_dataset
from training.pretraining.pairs import CaptionSource, PairRun, captioned_images
from training.pretraining.recipe import Recipe
from training.pretraining.workers import Workers
from training.runs.charts import draw_ambiguity
from training.runs.folder import DATA, SCORES, RunFolder, environment
from training.runs.recipe import RunRecipe, read_recipe, validated
from training.runs.scores import summary_lines
from training.runs.weights import save_as
from training.semi_supervised import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from napari_amvlm.models.text_encoder import TextEncoder
    from training.datasets import DatasetSplit

log = logging.getLogger("training.published")


class Published(Config):
    """Both steps of one data set.

    Attributes
    ----------
    captions
        "workbook": the captions of the set; "masks": sentences made of its masks, for sets without.
    epochs
        Length of step 1 in passes over the pairs; None leaves the steps of `pairs`.
    pairs
        Fields of the recipe of step 1 (`training.pretraining.recipe.Recipe`).
    run
        Fields of the recipe of step 2 (`training.runs.recipe.RunRecipe`); it is always published.
    """

    captions: CaptionSource = "workbook"
    epochs: float | None = Field(None, gt=0)
    pairs: dict[str, Any]
    run: dict[str, Any]

    @model_validator(mode="after")
    def _check(self) -> Published:
        self.step_one(1)
        self.step_two(None)
        return self

    def step_one(self, images: int) -> Recipe:
        """Return the recipe of step 1 over so many images; L_CSS has PDT, as in the release."""
        told = {"licence": "that of the data", "training_data": "the user's copy", "version": "1", "weight_decay": 0.0}
        step_one = {"ambiguity": "sigmoid"} | self.pairs.get("step_one", {})
        recipe = validated(Recipe, told | {"name": "step-1"} | self.pairs | {"step_one": step_one}, "pairs")
        if self.epochs is None:
            return recipe
        steps = math.ceil(self.epochs * images / (min(recipe.batch, images) * recipe.accumulate))
        return recipe.model_copy(update={"steps": steps})

    def step_two(self, start: Path | None) -> RunRecipe:
        """Return the recipe of step 2 from the weights of step 1."""
        values = {**self.run, "published": True, "start": None if start is None else str(start)}
        return validated(RunRecipe, values, "run")


def publish(
    recipe: Published,
    data: Path,
    out: Path,
    *,
    device: torch.device,
    text_encoder: TextEncoder | None = None,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Make both steps, or go on with them, and return the scores of step 2.

    Raises
    ------
    Cancelled
        `should_stop` said so; the same call goes on.
    InputError, DatasetError
        Recipe, data or folder do not fit.
    """
    two = recipe.step_two(None)
    split = open_dataset(two.spec(), data, two, seed=two.seed)
    how: dict[str, Any] = {"device": device, "text_encoder": text_encoder, "should_stop": should_stop}
    weights = align(recipe, split, out / "step-1", **how)
    if Workers(recipe.step_one(1).accumulate, device).count > 1:
        raise Cancelled("Step 1 is finished; step 2 uses one process: give the same command without the launcher.")
    return execute(recipe.step_two(weights), data, out / "step-2", **how)


def align(
    recipe: Published,
    split: DatasetSplit,
    out: Path,
    *,
    device: torch.device,
    text_encoder: TextEncoder | None = None,
    should_stop: Callable[[], bool],
) -> Path:
    """Make step 1, or go on with it, and return the file of its weights; where no loss weighs they stay random."""
    folder, images = RunFolder(out), captioned_images(split, recipe.captions, recipe.step_one(1).crop)
    one = recipe.step_one(len(images))
    weights = out / f"{one.name}.safetensors"
    run = PairRun(one, images, out, device, text_encoder=text_encoder)
    if run.workers.leads:
        folder.claim({"recipe": one.model_dump(mode="json"), "environment": environment(device)})
        source = "the set's captions" if recipe.captions == "workbook" else "captions made of masks, of all images"
        folder.write(DATA, {"dataset": split.spec.name, "captions": source, "images": [i.name for i in images]})
    if folder.finished:
        return weights
    if one.step_one.acts and not run.run(should_stop):
        raise Cancelled(f"Stopped after {run.step} of {one.steps} steps of step 1; the same command goes on.")
    if run.workers.leads:
        origin = f"{one.training_data}: {len(images)} pairs of {split.spec.name}"
        save_as(run.averaged_model(), weights, one, training_data=origin)
        draw_ambiguity(folder.logged(), out / "ambiguity.png")
        folder.write(SCORES, {"name": one.name, "steps": run.step, "scores": {}, "weights": sha256_of_file(weights)})
    return weights


def main(
    recipe: command.RecipeArgument,
    data: command.DataOption,
    out: command.OutOption,
    minutes: command.MinutesOption = None,
    settings: command.SettingsOption = None,
    device: command.DeviceOption = "auto",
) -> None:
    """Make both steps of AMVLM as published, and print the scores."""
    resolved = read_recipe(Published, recipe, settings)
    out.mkdir(parents=True, exist_ok=True)
    with command.sitting(minutes) as over:
        scores = publish(resolved, data, out, device=resolve_device(device), should_stop=over)
    for line in summary_lines(scores["scores"]):
        typer.echo(line)


if __name__ == "__main__":
    command.run(main)
