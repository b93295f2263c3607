"""Joins a project and the learning loop: what a run learns from, what is kept of it, and whether it became better."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import ImageError, ProjectError, StorageError
from napari_amvlm.imaging import to_rgb01

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.config import LearningConfig, ScaleName
    from napari_amvlm.learning.data import LabelledImage, LearningData, UnlabelledImage
    from napari_amvlm.learning.reports import FineTuneResult
    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.project import CorrectionRecord, ImageRecord, ModelRecord, Project, RunRecord

    ScaleChooser = Callable[[str, tuple[int, int], bool], ScaleName]

ENOUGH_HELD_OUT = 3
"""With fewer held-out images than this a score says nothing, and a person decides."""


class Verdict(StrEnum):
    """What the held-out images say about a new model."""

    IMPROVED = "improved"
    WORSE = "worse"
    TOO_FEW = "too_few"


def judge(before: float | None, after: float | None, n_held_out: int) -> Verdict:
    """Compare the mean Dice on held-out images before and after a run.

    Parameters
    ----------
    before, after
        Dice in [0, 1]; None when it was not measured.
    n_held_out
        Number of held-out images.

    Returns
    -------
    Verdict
        `IMPROVED` only where `after` is truly larger; `TOO_FEW` below `ENOUGH_HELD_OUT` images or without figures.
    """
    if n_held_out < ENOUGH_HELD_OUT or before is None or after is None:
        return Verdict.TOO_FEW
    return Verdict.IMPROVED if math.isfinite(after) and after > before else Verdict.WORSE


def learning_data(
    project: Project,
    *,
    predictor_scales: ScaleChooser,
    on_problem: Callable[[str], None] | None = None,
    unlabelled_bytes: int = 2 << 30,
) -> LearningData:
    """Read what a fine-tuning run may learn from out of a project.

    Held-out images are the validation set and nothing else. An image whose prompts were reviewed in different regions
    becomes several labelled images, one for each region, so that no pixel counts as background that nobody looked at.

    Parameters
    ----------
    project
        An open project.
    predictor_scales
        Gives the working scale of a prompt on an image of shape `(H, W)`, and told whether the image is gray.
    on_problem
        Called with one sentence for each image or mask that cannot be read, which is then left out; None raises.
    unlabelled_bytes
        At most so much memory goes to unlabelled images; beyond it a fixed choice of them is taken.

    Raises
    ------
    ProjectError, ImageError
        An image or a mask cannot be read, and `on_problem` is None.
    """
    from napari_amvlm.learning.data import LearningData

    held_out = {record.id for record in project.held_out_images()}
    labelled: list[LabelledImage] = []
    validation: list[LabelledImage] = []
    names = _UniqueNames()
    for record in project.accepted_images():
        target = validation if record.id in held_out else labelled
        with _Reporting(on_problem):
            target.extend(_labelled(project, record, predictor_scales, names))
    unlabelled: list[UnlabelledImage] = []
    for record in _within(project.unlabelled_images(), unlabelled_bytes):
        with _Reporting(on_problem):
            unlabelled.append(_unlabelled(project, record, names))
    prompts = dict.fromkeys(prompt for image in labelled for prompt in image.masks)
    return LearningData(
        labelled=tuple(labelled), unlabelled=tuple(unlabelled), validation=tuple(validation), prompts=tuple(prompts)
    )


class _Reporting:
    """Passes the sentence of a project or image error on instead of raising it, where somebody listens."""

    def __init__(self, on_problem: Callable[[str], None] | None) -> None:
        self._on_problem = on_problem

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        if self._on_problem is None or not isinstance(error, (ProjectError, ImageError)):
            return False
        self._on_problem(str(error))
        return True


class _UniqueNames:
    """Gives each image of a run a name of its own, since reports are keyed by name."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        unique, number = name, 2
        while unique in self._taken:
            unique = f"{name} ({number})"
            number += 1
        self._taken.add(unique)
        return unique


def _pixels(project: Project, record: ImageRecord) -> NDArray[np.float32]:
    return to_rgb01(project.load_image(record), name=record.name)


def _unlabelled(project: Project, record: ImageRecord, names: _UniqueNames) -> UnlabelledImage:
    from napari_amvlm.learning.data import UnlabelledImage

    return UnlabelledImage(image=_pixels(project, record), name=names.take(record.name))


def _labelled(project: Project, record: ImageRecord, scales: ScaleChooser, names: _UniqueNames) -> list[LabelledImage]:
    from napari_amvlm.learning.data import LabelledImage

    pixels = _pixels(project, record)
    gray = bool((pixels[..., :1] == pixels).all())
    groups: dict[str | None, list[CorrectionRecord]] = {}
    for correction in project.corrections(record.id):
        groups.setdefault(correction.reviewed_sha256, []).append(correction)
    images = []
    for region, corrections in groups.items():
        masks = {c.prompt: project.load_mask(c) for c in corrections}
        images.append(
            LabelledImage(
                name=names.take(record.name),
                image=pixels,
                masks=masks,
                scales={prompt: scales(prompt, record.shape, gray) for prompt in masks},
                reviewed=None if region is None else project.load_reviewed(corrections[0]),
            )
        )
    return images


def _within(records: Sequence[ImageRecord], limit: int) -> list[ImageRecord]:
    """Choose images of at most `limit` bytes as float RGB; by content hash, so the same ones each time."""
    size = {r.id: r.shape[0] * r.shape[1] * 3 * 4 for r in records}
    if sum(size.values()) <= limit:
        return list(records)
    chosen: set[int] = set()
    used = 0
    for record in sorted(records, key=lambda r: r.sha256):
        if used + size[record.id] <= limit:
            chosen.add(record.id)
            used += size[record.id]
    return [r for r in records if r.id in chosen]


def start_run(project: Project, config: LearningConfig, parent_info: ModelInfo | None) -> RunRecord:
    """Enter a run into the ledger, with all corrections that it learns from and is scored on."""
    held_out = {record.id for record in project.held_out_images()}
    corrections = project.corrections()
    return project.record_run(
        config.model_dump(mode="json"),
        parent=parent_info.sha256 if parent_info else None,
        train=[c.id for c in corrections if c.image_id not in held_out],
        validate=[c.id for c in corrections if c.image_id in held_out],
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
        The run's entry, which is finished with this model.

    Raises
    ------
    StorageError
        The disk refused; the project is as it was.
    """
    from napari_amvlm.models.checkpoint import save_model

    path = project.new_model_path()
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
        record = project.add_model(path, parent, scores, licence)
    except StorageError:
        path.unlink(missing_ok=True)
        raise
    if run is not None:
        outcome: dict[str, Any] = {"steps": result.steps, "seconds": result.seconds, **scores}
        project.finish_run(run.id, "stopped" if result.stopped else "finished", result=outcome, model_id=record.id)
    return record


def _statement(project: Project, parent_info: ModelInfo | None, prompts: Iterable[str], run: RunRecord | None) -> str:
    """Say what a model was trained on; masks that were accepted while the run went on are no part of it."""
    if run is None:
        counts = project.counts()
        trained = counts.accepted - counts.held_out
    else:
        roles = project.run_corrections(run.id)
        trained = len({c.image_id for c in project.corrections(history=True) if roles.get(c.id) == "train"})
    own = f"{trained} accepted images of the project {project.name} ({', '.join(prompts)})"
    return f"{parent_info.training_data}; {own}" if parent_info else own
