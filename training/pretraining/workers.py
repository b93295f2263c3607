"""The processes that share a training run; one, unless a launcher started more.

accelerate launch --num_processes 4 -m training.pretrain RECIPE --data PATH --out RUN      on several GPUs
torchrun --nproc_per_node 2 -m training.pretrain RECIPE --data PATH --out RUN --device cpu
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from napari_amvlm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


class Workers:
    """Who takes which batch, and how their gradients become one.

    Parameters
    ----------
    batches
        Batches a step; each process takes as many.

    Raises
    ------
    InputError
        The processes cannot share the batches evenly.
    """

    def __init__(self, batches: int, device: torch.device) -> None:
        self.rank, self.count = 0, 1
        self.device = device
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            state = PartialState(cpu=device.type == "cpu")
            self.rank, self.count, self.device = state.process_index, state.num_processes, state.device
        if batches % self.count:
            raise InputError(
                f"{batches} batches a step cannot be shared by {self.count} processes; set `accumulate` in the recipe "
                "to a multiple of their number."
            )

    @property
    def leads(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.rank == 0

    def share(self, batches: int) -> range:
        """Return which of a step's batches this process takes."""
        return range(self.rank, batches, self.count)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in all of them."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Return the mean of each value over all processes; all must give the same names."""
        if self.count == 1:
            return values
        total: Tensor = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return dict(zip(values, (total / self.count).tolist(), strict=True))

    def agree(self, yes: bool) -> bool:
        """Return what the first process says."""
        if self.count == 1:
            return yes
        answer = torch.tensor([int(yes)], device=self.device)
        torch.distributed.broadcast(answer, 0)
        return bool(answer.item())
