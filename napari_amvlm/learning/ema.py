"""The teacher: an exponential moving average with a warm-up, buffers included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn


def averaged(model: nn.Module, decay: float | Callable[[], float], *, warm_up: bool = True) -> AveragedModel:
    """Return a teacher that starts as a copy of `model` and follows it at each `update_parameters(model)`.

    The decay at step t is min(1 - 1/(t+1), decay) (Pan et al. 2025, step 2); without a warm-up `decay` from the first
    step, for a start that is worth keeping. A callable is asked for the decay at every step. Buffers follow too.
    """

    @torch.no_grad()
    def update(teacher: list[Tensor], student: list[Tensor], count: Tensor | int) -> None:
        most = decay() if callable(decay) else decay
        now = min(1 - 1 / (int(count) + 1), most) if warm_up else most
        if torch.is_floating_point(teacher[0]):
            torch._foreach_lerp_(teacher, student, 1 - now)
        else:
            for old, new in zip(teacher, student, strict=True):
                old.copy_(new)

    teacher = AveragedModel(model, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]
    if not warm_up:
        # at its first update torch copies the student, steps taken and all: here the start counts as the first
        teacher.n_averaged.fill_(1)
    return teacher
