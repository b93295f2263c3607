"""One semi-supervised run: learn from few labels and the unlabelled rest, and score every validation image.

    python -m training.semi_supervised training/recipes/monuseg.toml --data PATH --out runs/monuseg --set labels=2

A run can be killed at any time; the same command goes on from its last state, and with a budget of steps on the CPU
it ends with the very weights of a run that was never interrupted.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Any

import typer

from napari_amvlm.cli.console import progress, quiet
from napari_amvlm.cli.fine_tune import stop_on_interrupt
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import DatasetError
from napari_amvlm.learning.loop import never
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.model_info import read_info
from training import command
from training.datasets import DatasetSplit, open_dataset
from training.datasets.asking import used_unlabelled
from training.runs.folder import DATA, SCORES, RunFolder, StateFile, environment, file_hashes
from training.runs.learning import Show, Sitting, learn, learn_rival
from training.runs.page import write_page
from training.runs.random_start import RANDOM, random_start
from training.runs.recipe import RunRecipe, read_recipe
from training.runs.scores import score_split, summary_lines
from training.runs.weights import load_predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.models.text_encoder import TextEncoder


def execute(
    recipe: RunRecipe,
    data: Path,
    out: Path,
    *,
    device: torch.device,
    text_encoder: TextEncoder | None = None,
    should_stop: Callable[[], bool] = never,
    show: Show = quiet,
) -> dict[str, Any]:
    """Run a recipe, or go on with it, and return what `scores.json` holds.

    Parameters
    ----------
    data
        The data set's folder, or one that holds it.
    out
        The run's folder; a finished run there is not repeated.
    text_encoder
        A loaded sentence encoder to share between runs.
    should_stop
        Asked after every step; the state is kept then.
    show
        Told the share that is done, and a note.

    Raises
    ------
    Cancelled
        `should_stop` said so; the same call goes on.
    InputError, DatasetError
        Recipe, data or folder do not fit, or another process works on the folder.
    """
    folder = RunFolder(out)
    split = open_dataset(recipe.spec(), data, recipe, seed=recipe.seed)
    settings = {
        "recipe": recipe.model_dump(mode="json"),
        "learning": recipe.learning_config().model_dump(mode="json"),
        "start": _start_hash(recipe),
        "environment": environment(device),
    }
    folder.claim(settings)
    scores = folder.read(SCORES)
    if scores is not None:
        return scores
    with folder.held():
        scores = _made(Sitting(recipe, split, folder, device, should_stop, show), text_encoder)
        folder.write(SCORES, scores)
        StateFile(folder, 0).remove()
    return scores


def _made(sitting: Sitting, text_encoder: TextEncoder | None) -> dict[str, Any]:
    """Learn what is not learnt yet, and return the scores."""
    recipe, split, folder = sitting.recipe, sitting.split, sitting.folder
    rival = recipe.rival()
    learns_unlabelled = (rival is None or rival.unlabelled) and recipe.learning_config().unlabelled_batch > 0
    unlabelled = _distinct(folder, split, used_unlabelled(split, recipe.prompts) if learns_unlabelled else ())
    if not folder.weights.is_file():
        if rival is not None:
            learn_rival(sitting, rival, unlabelled, text_encoder)
        else:
            learn(sitting, unlabelled, _start(recipe, folder, text_encoder), text_encoder)
    return _scored(recipe, split, folder, len(unlabelled), sitting.device, text_encoder)


def _start_hash(recipe: RunRecipe) -> str | None:
    """Return the hash of the start weights, "random", or None for a plain U-Net."""
    if recipe.method != "amvlm":
        return None
    return RANDOM if recipe.start == RANDOM else read_info(find_model(recipe.start)).sha256


def _start(recipe: RunRecipe, folder: RunFolder, text_encoder: TextEncoder | None) -> Path:
    if recipe.start == RANDOM:
        return random_start(folder.path, recipe.seed, text_encoder=text_encoder)
    return find_model(recipe.start)


def _distinct(folder: RunFolder, split: DatasetSplit, unlabelled: Sequence[ImagePair]) -> tuple[ImagePair, ...]:
    """Write the hash of every file that is used, and return the unlabelled images that differ from all others.

    Raises
    ------
    DatasetError
        A validation image is a labelled one too.
    """
    known = (*split.labelled, *split.validation)
    files = [pair.image for pair in (*known, *unlabelled)] + [pair.required_mask() for pair in known]
    hashes = file_hashes(files, split.root)

    def content(pair: ImagePair) -> str:
        return hashes[pair.image.relative_to(split.root).as_posix()]

    labelled = {content(pair): pair.name for pair in split.labelled}
    for pair in split.validation:
        if content(pair) in labelled:
            raise DatasetError(
                f"{split.spec.name}: the validation image {pair.name} is the labelled image {labelled[content(pair)]}, "
                "byte by byte; take one of them out."
            )
    taken = {content(pair) for pair in known}
    used = tuple(pair for pair in unlabelled if content(pair) not in taken)
    parts = {"labelled": split.labelled, "unlabelled": used, "validation": split.validation}
    names = {part: [pair.name for pair in pairs] for part, pairs in parts.items()}
    dataset = split.spec.model_dump(mode="json")
    folder.write(DATA, {"dataset": dataset, "training_images": split.training, "split": names, "sha256": hashes})
    return used


def _scored(
    recipe: RunRecipe,
    split: DatasetSplit,
    folder: RunFolder,
    unlabelled: int,
    device: torch.device,
    text_encoder: TextEncoder | None,
) -> dict[str, Any]:
    """Score the run's weights as they are on disk, and write its page."""
    predictor = load_predictor(folder.weights, device, text_encoder)
    learnt = [record for record in folder.logged() if record.get("event") == "learnt"]
    scores: dict[str, Any] = {
        "name": recipe.name,
        "dataset": split.spec.name,
        "labelled": len(split.labelled),
        "unlabelled": unlabelled,
        "device": str(device),
        "learning": {
            "steps": learnt[-1]["step"] if learnt else 0,
            "seconds": learnt[-1]["seconds"] if learnt else 0.0,
        },
    }
    modes = (recipe.prompts, *recipe.score_prompts)
    square = recipe.learning_config().square
    scores["scores"] = score_split(
        predictor, split, split.validation, modes, seed=recipe.seed, protocols=recipe.protocols, square=square
    )
    write_page(folder, recipe, split, predictor, scores)
    return scores


def main(
    recipe: command.RecipeArgument,
    data: command.DataOption,
    out: command.OutOption,
    settings: command.SettingsOption = None,
    device: command.DeviceOption = "auto",
) -> None:
    """Run a recipe and print the mean scores."""
    resolved = read_recipe(RunRecipe, recipe, settings)
    with stop_on_interrupt() as stopped, progress("Learning") as show:
        scores = execute(resolved, data, out, device=resolve_device(device), should_stop=stopped, show=show)
    for line in summary_lines(scores["scores"]):
        typer.echo(line)


if __name__ == "__main__":
    command.run(main)
