"""A run in the project's ledger: entered when it starts, and its model and scores kept when it ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import StorageError
from napari_amvlm.session.learning_data import image_names, present_entries
from napari_amvlm.session.student_weights import keep_student

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_amvlm.config import LearningConfig
    from napari_amvlm.learning.data import LearningData
    from napari_amvlm.learning.reports import FineTuneResult
    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.project import ModelRecord, Project, RunRecord


def start_run(
    project: Project, config: LearningConfig, parent_info: ModelInfo | None, data: LearningData | None = None
) -> RunRecord:
    """Enter a run into the ledger, with all that it learns from, is scored on, and sees without labels.

    Parameters
    ----------
    project
        A project open for writing.
    config
        The run's configuration.
    parent_info
        Header of the model that it starts from.
    data
        What `learning_data` gave for the run; None enters what it would give now.
    """
    entries = data.entries if data is not None and data.entries is not None else present_entries(project)
    return project.runs.start(
        config.model_dump(mode="json"),
        parent=parent_info.sha256 if parent_info else None,
        train=entries.train,
        validate=entries.validate,
        unlabelled=entries.unlabelled,
    )


def keep_model(
    project: Project,
    result: FineTuneResult,
    parent_info: ModelInfo | None,
    prompts: Iterable[str],
    run: RunRecord | None = None,
) -> ModelRecord:
    """Save the model of a run in the project; it is not served by that.

    Parameters
    ----------
    project
        A project open for writing.
    result
        What `fine_tune` returned.
    parent_info
        Header of the model that the run started from; its licence holds for the new one too.
    prompts
        What the run learnt.
    run
        The run's entry, which is finished with this model; the student is kept beside it.

    Raises
    ------
    StorageError
        The disk refused; the project is as it was.
    """
    from napari_amvlm.models.checkpoint import save_model

    path = project.models.new_path()
    scores = {k: v for k, v in (("before", result.before), ("after", result.after)) if v is not None}
    licence = parent_info.licence if parent_info else "unknown"
    parent = parent_info.sha256 if parent_info else None
    save_model(
        result.model,
        path,
        name=path.stem,
        licence=licence,
        training_data=_statement(project, parent_info, prompts, run),
        parent=parent,
        scores=scores,
    )
    try:
        record = project.models.add(path, parent, scores, licence)
    except StorageError:
        path.unlink(missing_ok=True)
        raise
    if run is not None:
        names = {name: image_id for image_id, name in image_names(project).items()}
        project.runs.store_scores(run.id, {names[n]: pair for n, pair in result.per_image.items() if n in names})
        outcome: dict[str, Any] = {"steps": result.steps, "seconds": result.seconds, **scores}
        # Without it the queue is ordered by other signs; the model itself is safe.
        with contextlib.suppress(StorageError):
            keep_student(project, run.id, result.student)
        project.runs.finish(run.id, "stopped" if result.stopped else "finished", result=outcome, model_id=record.id)
    return record


def _statement(project: Project, parent_info: ModelInfo | None, prompts: Iterable[str], run: RunRecord | None) -> str:
    """Say what a model was trained on; masks that were accepted while the run went on are no part of it."""
    if run is None:
        counts = project.images.counts()
        trained = counts.accepted - counts.held_out
    else:
        roles = project.runs.corrections(run.id)
        trained = len({c.image_id for c in project.corrections.select(history=True) if roles.get(c.id) == "train"})
    own = f"{trained} accepted images of the project {project.name} ({', '.join(prompts)})"
    return f"{parent_info.training_data}; {own}" if parent_info else own
