"""Weights of a run's student, stored beside its teacher; where both disagree, there is something to learn."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from napari_amvlm.errors import ModelFileError, StorageError
from napari_amvlm.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.project import Project


def keep_student(project: Project, run_id: int, weights: Mapping[str, Tensor]) -> bool:
    """Write the student's weights, `FineTuneResult.student`, into the folder `runs/` of a project.

    Returns
    -------
    bool
        False if nothing was stored: no step was made, or a weight is not finite.

    Raises
    ------
    StorageError
        The disk refused; nothing was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if not weights or not _finite(weights):
        return False
    path = project.runs.student_path(run_id)
    try:
        write_atomically(path, lambda temporary: save_file(dict(weights), temporary))
    except SafetensorError as error:
        raise StorageError(f"{path} could not be written ({error}): free some space.") from error
    return True


def load_student(project: Project, teacher: AMVLM, sha256: str | None) -> AMVLM | None:
    """Return the student of the run that made a model.

    Parameters
    ----------
    project
        The project in which the run was made.
    teacher
        The model itself; its frozen parts, which the student has too, are shared and not copied.
    sha256
        Hash of the model's file.

    Returns
    -------
    AMVLM or None
        In eval mode, where the teacher is; None where the model is not from a run of this project, or the run kept no
        student.

    Raises
    ------
    ModelFileError
        The student's file is damaged or does not fit the teacher.
    """
    run = project.runs.that_made(sha256) if sha256 is not None else None
    if run is None:
        return None
    path = project.runs.student_path(run.id)
    if not path.is_file():
        return None
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    student = _alike(teacher)
    try:
        weights = load_file(path)
        if not _finite(weights):
            raise ValueError("weights are not finite")
        _fill(student, weights)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelFileError(
            f"{path}, the student of run {run.id}, cannot be used ({reason}); remove the file, or restore a backup."
        ) from error
    return student.eval()


def _alike(model: AMVLM) -> AMVLM:
    """Return a model with copies of the learnt parts; the other parts are shared."""
    from napari_amvlm.learning.networks import LEARNT
    from napari_amvlm.models.amvlm import AMVLM

    parts = dict(model.named_children())
    learnt = {name: copy.deepcopy(parts[name]) for name in LEARNT if name in parts}
    presence = learnt.pop("presence")
    frozen = {name: part for name, part in parts.items() if name not in LEARNT}
    student = AMVLM(model.config, **frozen, **learnt)  # type: ignore[arg-type]
    student.presence = presence  # type: ignore[assignment]
    return student


def _fill(student: AMVLM, weights: Mapping[str, Tensor]) -> None:
    from napari_amvlm.learning.module_state import below
    from napari_amvlm.learning.networks import LEARNT

    parts = dict(student.named_children())
    for name in LEARNT:
        if name in parts:
            parts[name].load_state_dict(below(weights, f"{name}."))


def _finite(weights: Mapping[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point())
