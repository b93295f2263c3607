"""States of modules and optimisers as flat maps of tensors, which safetensors can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries whose name begins with `prefix`, without it.

    Examples
    --------
    >>> below({"a.x": torch.zeros(1), "b.x": torch.ones(1)}, "b.")
    {'x': tensor([1.])}
    """
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the running averages and counts of an optimiser, named `INDEX.NAME` by the index of the parameter."""
    states = optimiser.state_dict()["state"]
    return {f"{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned into an optimiser of the same parameters."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        # The fused optimiser walks through memory: its state must lie in memory as the parameter does.
        laid = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[name] = laid
    whole = optimiser.state_dict()
    whole["state"] = state
    optimiser.load_state_dict(whole)
