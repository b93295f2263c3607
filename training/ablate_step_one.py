"""Runs a grid of short pretraining runs that differ in the parts of step 1, and compares what each has aligned.

    python -m training.ablate_step_one training/recipes/ablation-step-one.toml --data PATH --out runs/step-one

Finished runs are skipped and an unfinished one goes on, so the same command can be stopped and given again; `--minutes`
bounds one sitting. `--row NAME` takes some rows alone, so that several commands can share a grid, and `--kept FILE`
counts the runs as finished that `training.report --keep` kept of another folder. The tables of what is finished are
written at the end: Dice of the text mask and of the segmentation, how often an image finds its caption among one of
each meaning, and the spread of its similarity over paraphrases, with paired tests against the first row. A recipe that
teaches a vocabulary is also asked in wordings and for words that it was not told, and each run is fine-tuned on the
grid's tasks of `step_two`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from pydantic import Field, field_validator

from napari_amvlm.device import resolve_device
from napari_amvlm.errors import Cancelled, InputError
from napari_amvlm.learning.loop import never
from napari_amvlm.models.catalog import DEFAULT, WEIGHTS
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.models.text_encoder import load_text_encoder
from training import command
from training.datasets.splits import spread_evenly
from training.pretrain import pretrain, teach_words
from training.pretraining.aligned import load_aligned
from training.pretraining.data import is_validation, load_taught_images
from training.pretraining.paraphrases import compared, retrieval, summary
from training.pretraining.recipe import Recipe
from training.pretraining.step_one_table import markdown, tables
from training.runs.folder import RunFolder
from training.runs.grid import GridRun, NamedRow, RowGrid, folder_name, make_runs
from training.runs.kept import ALIGNED, begin_grid
from training.runs.markdown import write_tables
from training.runs.recipe import RunRecipe, read_recipe, validated
from training.semi_supervised import execute
from training.words.aligned import aligned_words
from training.words.corpus import split_subjects
from training.words.run import load_corpus, sets_of
from training.words.scores import few_of_each
from training.words.vocabulary import concepts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from napari_amvlm.models.text_encoder import TextEncoder
    from training.pretraining.data import TaughtImage

STEP_TWO = "step-2"
"""Folder of the fine-tunes, in that of the run that they start from."""


class StepOneRow(NamedRow):
    """One row: fields of `StepOneConfig` on top of those of the grid's recipe."""

    step_one: dict[str, Any] = Field(default_factory=dict)


class StepOneGrid(RowGrid[StepOneRow]):
    """Short pretraining runs.

    Attributes
    ----------
    held_out
        How many validation images of each data set are scored.
    step_two
        Fine-tunes that every run's weights then start, of data sets that the recipe does not teach: fields of
        `RunRecipe` but for name, seed and start.
    """

    held_out: int = Field(8, ge=1)
    step_two: tuple[dict[str, Any], ...] = ()

    @field_validator("step_two")
    @classmethod
    def _check_tasks(cls, tasks: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for task in tasks:
            validated(RunRecipe, {"name": "step 2", **task}, "step_two")
        return tasks

    def runs(self, where: str) -> Iterator[GridRun[Recipe]]:
        """Yield every run, in their order.

        Raises
        ------
        InputError
            A row's settings do not fit.
        """
        for seed in self.seeds:
            for row in self.rows:
                name = folder_name(row.name)
                step_one = {**self.recipe.get("step_one", {}), **row.step_one}
                values = self.recipe | {"name": name, "seed": seed, "step_one": step_one}
                yield GridRun(row.name, f"{name}/seed-{seed}", validated(Recipe, values, f"{where}, row {row.name!r}"))


def run_grid(
    grid: StepOneGrid,
    runs: Sequence[GridRun[Recipe]],
    data: Path,
    out: Path,
    device: torch.device,
    *,
    start: Path,
    text_encoder: TextEncoder | None = None,
    should_stop: Callable[[], bool] = never,
) -> int:
    """Make the runs that are not finished, and return how many are left.

    Parameters
    ----------
    grid, runs
        Some of the grid's own runs.
    start
        Weights to go on from, where the recipe names some.
    text_encoder
        A loaded text encoder to share.
    should_stop
        Asked before every step and run; the run's state is kept then.

    Raises
    ------
    InputError
        The recipe teaches a data set of step 2.
    """
    kind = Vocabulary if runs[0].recipe.teaches_words else Concepts
    lesson = kind(grid, runs[0].recipe, data, device, text_encoder)

    def finished(folder: Path) -> bool:
        return (folder / ALIGNED).is_file()

    def make(recipe: Recipe, folder: Path) -> bool:
        given = None if recipe.start is None else start
        if not lesson.teach(recipe, folder, start=given, should_stop=should_stop):
            return False
        if not finished(folder):
            try:
                RunFolder(folder).write(ALIGNED, lesson.scores(recipe, folder, should_stop))
            except Cancelled:
                return False
        return True

    return make_runs(runs, out, make, finished=finished, over=should_stop)


class Concepts:
    """The images of a recipe's sources: teaches them, and scores what a run has aligned."""

    def __init__(
        self, grid: StepOneGrid, recipe: Recipe, data: Path, device: torch.device, text_encoder: TextEncoder | None
    ) -> None:
        if grid.step_two:
            raise InputError("step_two goes on from runs on a vocabulary; take it out, or give the recipe an index.")
        self._images = _images(data, recipe, grid.held_out)
        self._data, self._device, self._text_encoder = data, device, text_encoder

    def teach(self, recipe: Recipe, folder: Path, **how: Any) -> bool:
        """Make a run, or go on with it, and return whether it is finished."""
        return pretrain(recipe, self._images, self._data, folder, self._device, text_encoder=self._text_encoder, **how)

    def scores(self, recipe: Recipe, folder: Path, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """Return the figures of `summary`, `retrieval`, and each image's spreads."""
        validation = [i for i in self._images if is_validation(i.source, i.name)]
        state = load_aligned(folder, self._device, text_encoder=self._text_encoder)
        rows = compared(state, validation)
        spreads = {row.image: row.spread("right captions") for row in rows}
        return {**summary(state, rows), "retrieval": retrieval(state, validation), "spread_per_image": spreads}


class Vocabulary:
    """The sets of a recipe: teaches their words, scores what a run has aligned, and goes on with it in step 2."""

    def __init__(
        self, grid: StepOneGrid, recipe: Recipe, data: Path, device: torch.device, text_encoder: TextEncoder | None
    ) -> None:
        taught = {spec.name for spec in sets_of(recipe, data)}
        twice = [task["dataset"] for task in grid.step_two if Path(task["dataset"]).name in taught]
        if twice:
            raise InputError(f"The recipe teaches {twice[0]}, a task of step_two; choose a set that it does not teach.")
        self._corpus = load_corpus(recipe, data)
        self._grid, self._data, self._device, self._text_encoder = grid, data, device, text_encoder

    def teach(self, recipe: Recipe, folder: Path, **how: Any) -> bool:
        """Make a run, or go on with it, and return whether it is finished."""
        return teach_words(
            recipe, self._data, folder, self._device, text_encoder=self._text_encoder, corpus=self._corpus, **how
        )

    def scores(self, recipe: Recipe, folder: Path, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """Return the figures of `aligned_words`, r and w as last logged, and the Dice after step 2.

        Raises
        ------
        Cancelled
            `should_stop` said so; what step 2 has learnt is kept.
        """
        images, synonyms = self._corpus
        weights = folder / f"{recipe.name}.safetensors"
        model, _ = load_model(weights, device=self._device, text_encoder=self._text_encoder)
        wordings = {concept.name: concept.prompts for concept in concepts_of(images, synonyms, recipe.sides)}
        scored = few_of_each(split_subjects(images)[1], self._grid.held_out)
        found = aligned_words(model.eval(), scored, wordings)
        found["figures"] |= _observed(RunFolder(folder).logged())
        for task in self._grid.step_two:
            name = Path(task["dataset"]).name
            dice = self._step_two(task, recipe, weights, folder / STEP_TWO / folder_name(name), should_stop)
            found["figures"][f"step 2, {name}"] = round(float(np.mean([*dice.values()])), 4)
            found["per_image"].setdefault("step_two", {}).update({f"{name}/{key}": v for key, v in dice.items()})
        return found

    def _step_two(
        self, task: dict[str, Any], recipe: Recipe, weights: Path, folder: Path, should_stop: Callable[[], bool]
    ) -> dict[str, float]:
        """Fine-tune the weights on a task, and return the Dice of its held-out images."""
        told = {"name": recipe.name, **task, "seed": recipe.seed, "start": str(weights)}
        run = validated(RunRecipe, told, "step_two")
        how: dict[str, Any] = {"device": self._device, "text_encoder": self._text_encoder, "should_stop": should_stop}
        scores = execute(run, self._data, folder, **how)["scores"][run.prompts][run.protocols[0]]
        return {image: values["dice"] for image, values in scores["per_image"].items()}


def _observed(logged: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return r and w of the last logged step, the mean over both directions; None without PDT."""
    last: dict[str, Any] = next((record for record in reversed(logged) if "dice" not in record), {})
    means: dict[str, float | None] = {}
    for name in ("r", "w"):
        values = [value for key, value in last.items() if key.startswith(f"{name} ")]
        means[name] = round(float(np.mean(values)), 4) if values else None
    return means


def main(
    grid: command.GridArgument,
    data: command.DataSetsOption,
    out: command.OutOption,
    minutes: command.MinutesOption = None,
    kept: command.KeptOption = None,
    row: command.RowOption = None,
    settings: command.SettingsOption = None,
    start: Annotated[Path, typer.Option(help="Weights to go on from, where the recipe names some.")] = WEIGHTS
    / f"{DEFAULT}.safetensors",
    device: command.DeviceOption = "auto",
) -> None:
    """Make the runs of a grid of step 1, and write their tables."""
    wanted = read_recipe(StepOneGrid, grid, settings)
    chosen = list(wanted.only(row or ()).runs(str(grid)))
    begin_grid(wanted, out, kept)
    encoder, where = load_text_encoder(chosen[0].recipe.model.text_encoder), resolve_device(device)
    with command.sitting(minutes) as over:
        left = run_grid(wanted, chosen, data, out, where, start=start, text_encoder=encoder, should_stop=over)
    report = tables(out)
    write_tables(out, "step-one", report, markdown(report))
    typer.echo(f"{len(chosen) - left} of {len(chosen)} runs are finished; wrote {out / 'step-one.md'}.")


def _images(data: Path, recipe: Recipe, held_out: int) -> list[TaughtImage]:
    """Return all training images, and some validation images of each data set."""
    chosen: list[TaughtImage] = []
    for source in recipe.sources:
        every = list(load_taught_images(data, source, whole=recipe.model.whole))
        chosen += [i for i in every if not is_validation(source, i.name)]
        chosen += spread_evenly([i for i in every if is_validation(source, i.name)], held_out)
    return chosen


if __name__ == "__main__":
    command.run(main)
