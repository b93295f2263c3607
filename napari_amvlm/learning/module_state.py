"""A step of an optimiser, and states of modules and optimisers as flat maps of tensors, which safetensors can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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


def descend(
    optimiser: torch.optim.Optimizer,
    losses: Iterable[Tensor],
    rate: float,
    *,
    longest: float = 1.0,
    gather: Callable[[list[nn.Parameter]], None] | None = None,
) -> None:
    """Make one step down the gradient of a sum of losses.

    Parameters
    ----------
    losses
        Each is differentiated before the next is asked for.
    rate
        Learning rate, times the `factor` of a group of parameters that has one.
    longest
        Norm to which a longer gradient is cut; infinite leaves all as they are.
    gather
        Adds to the gradients of the parameters those of other processes.
    """
    parameters = parameters_of(optimiser)
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
    optimiser.zero_grad(set_to_none=True)
    for loss in losses:
        loss.backward()
    if gather is not None:
        gather(parameters)
    nn.utils.clip_grad_norm_(parameters, longest)
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
