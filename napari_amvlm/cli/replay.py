"""A run of a project's ledger, done again: the same start, the same masks and images, the same random choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm.config import LearningConfig
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project, RunRecord


@dataclass(frozen=True)
class Replay:
    """What it takes to do a run again.

    Attributes
    ----------
    config
        Its configuration; a budget of time is the number of steps that were done in it.
    exact
        False where the run had a budget of time: the learning rate followed the clock then.
    """

    run: RunRecord
    config: LearningConfig
    steps: int
    exact: bool


def find_replay(project: Project, number: int | None) -> Replay:
    """Return what a run needs to be done again.

    Parameters
    ----------
    number
        The run's number in the ledger, from 1 on; 0 is the last one that gave a model.

    Raises
    ------
    InputError
        There is no such run, or it gave no model.
    """
    from napari_amvlm.config import LearningConfig

    runs = [run for run in project.runs.all() if run.model_id is not None]
    chosen = runs[-1:] if not number else [run for run in runs if run.id == number]
    if not chosen:
        known = ", ".join(str(run.id) for run in runs) or "none"
        raise InputError(f"{project.root} has no run {number or ''} that gave a model; runs that did: {known}.")
    (run,) = chosen
    config, steps = LearningConfig.model_validate(run.config), int(str(run.result["steps"]))
    exact = config.steps is not None
    if not exact:
        config = config.model_copy(update={"minutes": None, "steps": steps})
    return Replay(run, config, steps, exact)


def parent_file(project: Project, run: RunRecord) -> Path | None:
    """Return the file of the model of the project, or installed, that a run started from; None where it is neither."""
    from napari_amvlm.models.catalog import installed_model

    own = (model.path for model in project.models.all(discarded=True) if model.sha256 == run.parent)
    installed = installed_model(run.parent)
    return next(own, installed.path if installed else None)


def check_parent(predictor: Predictor, run: RunRecord) -> None:
    """Raise an `InputError` where a model is not the one that a run started from."""
    given = predictor.info.sha256 if predictor.info else None
    if run.parent is not None and given != run.parent:
        raise InputError(
            f"Run {run.id} started from the model with the hash {run.parent[:12]}, but this one has "
            f"{(given or 'none')[:12]}; give the original with --model."
        )
