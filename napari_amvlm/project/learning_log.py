"""The part of a project that tells of learning: models, which one serves, runs, and what they were scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_amvlm.project.models import ModelTable
from napari_amvlm.project.runs import RunTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_amvlm.project.ledger import Ledger
    from napari_amvlm.project.records import (
        ImageScore,
        ModelRecord,
        RunRecord,
        RunState,
        Serving,
    )


class LearningLog:
    """Models and runs of a project; the base of `Project`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._models = ModelTable(ledger)
        self._runs = RunTable(ledger)

    def add_model(
        self,
        path: str | Path,
        parent: str | None = None,
        scores: Mapping[str, float] | None = None,
        licence: str = "unknown",
    ) -> ModelRecord:
        """Enter a model file, copied into `models/` if it lies elsewhere; it is not served by that."""
        return self._models.add(Path(path), parent=parent, scores=scores or {}, licence=licence)

    def new_model_path(self) -> Path:
        """Return where the next learnt model may be written; `ProjectError` when open for reading only."""
        return self._models.new_path()

    def models(self, *, discarded: bool = False) -> list[ModelRecord]:
        """Return the models learnt here, oldest first; with `discarded` those too that were put aside."""
        return self._models.all(discarded=discarded)

    def serve(self, model_id: int | None) -> None:
        """Serve one of the project's models from now on; None goes back to the installed one.

        This promotes a new model, and rolls back to any earlier one; a discarded model is taken up again by it.

        Raises
        ------
        ProjectError
            There is no such model, or its file is gone or was changed.
        """
        self._models.serve(model_id)

    def roll_back(self) -> ModelRecord | None:
        """Serve what served before the present model first did, and return it; None is the installed model."""
        return self._models.roll_back()

    def discard(self, model_id: int) -> None:
        """Put a model aside: it is not listed any more, but its file and its history stay.

        Raises
        ------
        ProjectError
            There is no such model, or it serves.
        """
        self._models.discard(model_id)

    def servings(self) -> list[Serving]:
        """Return which model served from when, oldest first."""
        return self._models.servings()

    def served_model(self) -> ModelRecord | None:
        """Return the served model; None is the installed one."""
        return self._models.served()

    def record_run(
        self,
        config: Mapping[str, Any],
        *,
        parent: str | None = None,
        train: Iterable[int] = (),
        validate: Iterable[int] = (),
        unlabelled: Iterable[int] = (),
    ) -> RunRecord:
        """Enter a run that starts now.

        Parameters
        ----------
        config
            The resolved `LearningConfig`, as JSON types.
        parent
            Name of the model it starts from.
        train, validate
            Ids of the corrections it learns from and is scored on.
        unlabelled
            Ids of the images that it sees without labels.

        Raises
        ------
        ProjectError
            A held-out image is among those to learn from.
        """
        return self._runs.start(config, parent=parent, train=train, validate=validate, unlabelled=unlabelled)

    def finish_run(
        self,
        run_id: int,
        state: RunState = "finished",
        *,
        result: Mapping[str, Any] | None = None,
        message: str | None = None,
        model_id: int | None = None,
    ) -> RunRecord:
        """Enter how a run ended."""
        return self._runs.finish(run_id, state, result=result or {}, message=message, model_id=model_id)

    def runs(self) -> list[RunRecord]:
        """Return all runs, oldest first."""
        return self._runs.all()

    def run_corrections(self, run_id: int) -> dict[int, str]:
        """Return the corrections of a run by id, each "train" or "validate"."""
        return self._runs.corrections(run_id)

    def run(self, run_id: int) -> RunRecord:
        """Return one run; `ProjectError` when there is none of that id."""
        return self._runs.get(run_id)

    def run_that_made(self, sha256: str) -> RunRecord | None:
        """Return the run whose model's file has this hash, None where no run of this project made it."""
        return self._runs.that_made(sha256)

    def student_path(self, run_id: int) -> Path:
        """Return where the student of a run lies, if it was kept; `ProjectError` when there is no such run."""
        return self._runs.student_path(run_id)

    def run_unlabelled(self, run_id: int) -> list[int]:
        """Return the ids of the images that a run saw without labels."""
        return self._runs.unlabelled(run_id)

    def store_run_scores(self, run_id: int, scores: Mapping[int, tuple[float | None, float | None]]) -> None:
        """Store Dice before and after a run for each held-out image, by image id."""
        self._runs.store_scores(run_id, scores)

    def run_scores(self, run_id: int) -> list[ImageScore]:
        """Return Dice before and after a run for each held-out image, the worst after it first."""
        return self._runs.scores(run_id)
