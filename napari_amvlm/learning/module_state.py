"""A step of an optimiser, and states of modules and optimisers as flat maps of tensors, which safetensors can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

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


def flat(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of all parts, named `PART.NAME`: see `below`.

    Examples
    --------
    >>> flat({"a": {"x": torch.zeros(1)}, "b": {}})
    {'a.x': tensor([0.])}
    """
    return {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}


def parameters_of(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return what an optimiser changes, in its order."""
    return [p for group in optimiser.param_groups for p in group["params"]]


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """Make one step down the gradient of `loss`, whose norm is 1 at most, at a learning rate for all parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters_of(optimiser), 1.0)
    optimiser.step()


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the running averages and counts of an optimiser, named `INDEX.NAME` by the index of the parameter."""
    states = optimiser.state_dict()["state"]
    return {f"{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned into an optimiser of the same parameters."""
    parameters = parameters_of(optimiser)
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
