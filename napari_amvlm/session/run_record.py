"""A run in the ledger: entered when it starts, with its model and scores when it ends, and judged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import StorageError
from napari_amvlm.project import ImageScore
from napari_amvlm.session.learning_data import image_names, is_corrected, present_entries
from napari_amvlm.session.student_weights import keep_student
from napari_amvlm.session.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_amvlm.config import LearningConfig
    from napari_amvlm.learning.data import LearningData
    from napari_amvlm.learning.reports import FineTuneResult
    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.project import ModelRecord, Project, RunRecord
    from napari_amvlm.session.verdict import Judgement


def start_run(
    project: Project, config: LearningConfig, parent_info: ModelInfo | None, data: LearningData | None = None
) -> RunRecord:
    """Enter a run into the ledger, with all that it learns from, is scored on, and sees without labels.

    Parameters
    ----------
    project
        A project open for writing.
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
    run
        The run's entry, which is finished with this model; the student is kept beside it.

    Raises
    ------
    StorageError
        The disk refused; the project is as it was.
    """
    from napari_amvlm.models.checkpoint import save_model

    path = project.models.new_path()
    scores = _means(result)
    licence = parent_info.licence if parent_info else "unknown"
    parent, title = (parent_info.sha256, parent_info.title) if parent_info else (None, "")
    save_model(
        result.model,
        path,
        name=path.stem,
        licence=licence,
        training_data=_statement(project, parent_info, prompts, run),
        parent=parent,
        parent_title=title,
        scores=scores,
    )
    try:
        record = project.models.add(path, parent, scores, licence)
    except StorageError:
        path.unlink(missing_ok=True)
        raise
    if run is not None:
        # Without it the queue is ordered by other signs; the model itself is safe.
        with contextlib.suppress(StorageError):
            keep_student(project, run.id, result.student)
        finish_run(project, result, run, record)
    return record


def finish_run(project: Project, result: FineTuneResult, run: RunRecord, record: ModelRecord | None = None) -> None:
    """Enter the end of a run and its scores into the ledger; without `record` it found no better model."""
    project.runs.store_scores(run.id, _image_scores(project, result, run))
    outcome: dict[str, Any] = {"steps": result.steps, "seconds": result.seconds, **_means(result)}
    project.runs.finish(
        run.id,
        "stopped" if result.stopped else "finished",
        result=outcome,
        message=None if record is not None else "nothing better was found",
        model_id=None if record is None else record.id,
    )


def judged_run(project: Project, run_id: int) -> tuple[list[ImageScore], Judgement]:
    """Return the scores of a run, and what they say of its model.

    Masks that were withdrawn since are left out; prompts that were learnt without a held-out image are named.
    """
    roles = project.runs.corrections(run_id)
    history = project.corrections.select(history=True)
    present = {(c.image_id, c.prompt) for c in history if c.state == "current"}
    scores = [s for s in project.runs.scores(run_id) if not s.prompt or (s.image_id, s.prompt) in present]
    pairs: dict[str, list[tuple[float, float]]] = {}
    if all(score.prompt for score in scores):
        pairs = {c.prompt: [] for c in history if roles.get(c.id) == "train"}
    for score in scores:
        if score.counts:
            pairs.setdefault(score.prompt, []).append((score.before or 0.0, score.after or 0.0))
    return scores, judge(pairs)


def changed_images(project: Project, run_id: int) -> dict[int, tuple[int, ...]]:
    """Return the images whose masks were changed since a run scored them, with the ids of their present masks."""
    scored = {(s.image_id, s.prompt): s.correction_id for s in project.runs.scores(run_id)}
    changed: dict[int, tuple[int, ...]] = {}
    for c in project.corrections.select():
        if scored.get((c.image_id, c.prompt), c.id) != c.id:
            changed[c.image_id] = (*changed.get(c.image_id, ()), c.id)
    return changed


def _means(result: FineTuneResult) -> dict[str, float]:
    return {name: dice for name, dice in (("before", result.before), ("after", result.after)) if dice is not None}


def _image_scores(project: Project, result: FineTuneResult, run: RunRecord) -> list[ImageScore]:
    """Return the scores of a run by image and prompt, with the held-out masks that nobody corrected."""
    ids = {name: image_id for image_id, name in image_names(project).items()}
    names = {record.id: record.name for record in project.images.all()}
    roles = project.runs.corrections(run.id)
    pairs = {(p, ids[n]): pair for p, by_image in result.scores.items() for n, pair in by_image.items() if n in ids}
    scores: list[ImageScore] = []
    for c in project.corrections.select(history=True):
        before, after = pairs.get((c.prompt, c.image_id), (None, None))
        if roles.get(c.id) == "validate":
            scores.append(ImageScore(c.image_id, names[c.image_id], before, after, c.prompt, c.id))
    held_out = {record.id for record in project.images.held_out()}
    for c in project.corrections.select():
        if c.image_id in held_out and c.id not in roles and not is_corrected(project, c):
            scores.append(ImageScore(c.image_id, names[c.image_id], None, None, c.prompt, c.id, corrected=False))
    return scores


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
