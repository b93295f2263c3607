"""Weights that learn from all labelled images of a data set, and what to expect of them by cross-validation.

    python -m training.cross_validate training/recipes/amvlm-research.toml --data PATH --out runs/amvlm-research

Each fold learns from the training images of the others and is scored on its own, so that every training image is
scored once by a model that never saw it. Then the released weights learn from all labelled images, the validation
images among them, in the same way. A fold that is finished is not repeated.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Any

import typer
from pydantic import Field, model_validator

from napari_amvlm.cli.console import progress
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import DatasetError
from napari_amvlm.files import sha256_of_file
from napari_amvlm.generators import drain
from napari_amvlm.learning import fine_tune
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.predictor import Predictor
from training import command
from training.datasets import open_dataset
from training.datasets.asking import learning_data, used_unlabelled
from training.datasets.splits import SplitConfig
from training.runs.folder import RunFolder, environment
from training.runs.recipe import RunRecipe, read_recipe
from training.runs.scores import score_split
from training.runs.weights import save_as

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.models.amvlm import AMVLM
    from training.datasets import DatasetSplit


_NOT_USED = (
    *("labels", "pick", "holding_out", "validation_share", "validation_seed"),
    *("score_prompts", "method", "published"),
)
"""Keys of single runs that have no meaning here: all images are learnt from, and every training image is scored."""


class ReleaseRecipe(RunRecipe):
    """A run whose weights are released, with what their file says of them.

    Attributes
    ----------
    folds
        Number of parts that the training images are divided into.
    version, licence, training_data
        Stored in the file of the released weights.
    """

    folds: int = Field(3, ge=2)
    version: str
    licence: str
    training_data: str

    @model_validator(mode="after")
    def _check_keys(self) -> ReleaseRecipe:
        given = [key for key in _NOT_USED if key in self.model_fields_set]
        if given:
            raise ValueError(f"{given[0]} has no meaning in a cross-validation; leave it out")
        return self


def folds_of(
    pairs: Sequence[ImagePair], count: int, *, seed: int, subject_of: Callable[[str], str] = str
) -> list[tuple[ImagePair, ...]]:
    """Return `count` disjoint parts that hold all images, drawn by `seed`, sorted by name.

    Parameters
    ----------
    count
        Number of parts; they hold nearly equally many subjects.
    seed
        Of the order in which subjects are dealt out.
    subject_of
        Gives the subject of an image's name. Images of one subject stay together.

    Raises
    ------
    DatasetError
        There are fewer subjects than parts.
    """
    subjects = sorted({subject_of(pair.name) for pair in pairs})
    if len(subjects) < count:
        raise DatasetError(f"{count} folds are wanted, but there are {len(subjects)} subjects; choose fewer folds.")
    random.Random(seed).shuffle(subjects)
    fold = {subject: number % count for number, subject in enumerate(subjects)}
    ordered = sorted(pairs, key=lambda pair: pair.name)
    return [tuple(pair for pair in ordered if fold[subject_of(pair.name)] == k) for k in range(count)]


def settings_of(recipe: ReleaseRecipe, split: DatasetSplit, device: torch.device) -> dict[str, Any]:
    """Return the settings of a cross-validation: finished folds are used again only under the same."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "learning": recipe.learning_config().model_dump(mode="json"),
        "start": sha256_of_file(find_model(recipe.start)),
        "training": sorted(pair.name for pair in split.labelled),
        "environment": environment(device),
    }


def learnt_model(
    split: DatasetSplit, recipe: ReleaseRecipe, device: torch.device, show: Callable[[float, str], None]
) -> AMVLM:
    """Fine-tune the recipe's start weights on a split; its validation images are not looked at."""
    model, _ = load_model(find_model(recipe.start), device=device)
    data = learning_data(split, used_unlabelled(split, recipe.prompts), recipe.prompts, seed=recipe.seed)
    run = fine_tune(model, replace(data, validation=()), recipe.learning_config(), device=device)
    return drain(run, lambda report: show(report.fraction, f"step {report.step}")).model


def cross_validate(
    split: DatasetSplit,
    recipe: ReleaseRecipe,
    out: Path,
    device: torch.device,
    show: Callable[[float, str], None],
) -> dict[str, Any]:
    """Return Dice of each training image by the model that never saw it, and their mean, by protocol."""
    folder = RunFolder(out)
    parts = folds_of(split.labelled, recipe.folds, seed=recipe.seed, subject_of=split.spec.subject_of)
    per_image: dict[str, dict[str, float]] = {}
    for index, held_out in enumerate(parts):
        name = f"fold-{index}.json"
        scores = folder.read(name)
        if scores is None:
            rest = tuple(p for k, part in enumerate(parts) if k != index for p in part)
            model = learnt_model(replace(split, labelled=rest, validation=()), recipe, device, show)
            found = score_split(Predictor(model), split, held_out, (recipe.prompts,), seed=recipe.seed)
            scores = found[recipe.prompts]
            folder.write(name, scores)
        for protocol, report in scores.items():
            dices = {image: row["dice"] for image, row in report["per_image"].items()}
            per_image.setdefault(protocol, {}).update(dices)
    means = {protocol: sum(dices.values()) / len(dices) for protocol, dices in per_image.items()}
    return {"folds": recipe.folds, "dice": means, "per_image": per_image}


def release(
    split: DatasetSplit,
    recipe: ReleaseRecipe,
    out: Path,
    device: torch.device,
    show: Callable[[float, str], None],
    scores: dict[str, float],
) -> Path:
    """Learn from all labelled images and write the weights."""
    everything = replace(split, labelled=(*split.labelled, *split.validation), validation=())
    path = out / f"{recipe.name}.safetensors"
    save_as(learnt_model(everything, recipe, device, show), path, recipe, scores=scores)
    return path


def main(
    recipe: command.RecipeArgument,
    data: command.DataSetsOption,
    out: command.OutOption,
    device: command.DeviceOption = "auto",
) -> None:
    """Cross-validate, and train the weights to release."""
    resolved = read_recipe(ReleaseRecipe, recipe)
    split = open_dataset(resolved.spec(), data, SplitConfig(), seed=resolved.seed)
    where = resolve_device(device)
    folder = RunFolder(out)
    folder.claim(settings_of(resolved, split, where))
    with progress("learning") as show:
        report = cross_validate(split, resolved, out, where, show)
        folder.write("cross-validation.json", report)
        typer.echo(json.dumps(report["dice"]))
        named = {f"{resolved.dataset} cross-validation, {k}": round(v, 4) for k, v in report["dice"].items()}
        path = release(split, resolved, out, where, show, named)
    typer.echo(f"wrote {path}")


if __name__ == "__main__":
    command.run(main)
