"""What the losses over token sets share: number format, checks of their arguments, and means that leave padding out.

A token set is `(B, P, d)`. Its padding is bool `(B, P)`, True where a token is padding, as in `nn.MultiheadAttention`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def full_precision(like: Tensor) -> AbstractContextManager[None]:
    """Return a context in which autocast leaves the number format alone on the device of `like`.

    Inside autocast a product of float32 tensors is made in half precision: a similarity divided by tau = 0.07 would
    keep two to three digits, and a squared distance could pass float16's 65504.
    """
    return torch.autocast(like.device.type, enabled=False)


def widen(*tensors: Tensor) -> list[Tensor]:
    """Return the tensors in one number format: the widest of theirs, and at least float32."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def check_temperature(temperature: float) -> None:
    """Raise `ValueError` unless the temperature is positive and finite."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"Expected argument `temperature` to be positive and finite, but got {temperature}.")


def check_padding(padding: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless padding is None or a bool tensor of the shape `(B, P)` that is given."""
    if padding is not None and (padding.dtype != torch.bool or padding.shape != shape):
        raise ValueError(
            f"Expected argument `padding` to be bool {tuple(shape)}, but got {padding.dtype} {tuple(padding.shape)}."
        )


def check_pair(**tensors: Tensor) -> None:
    """Raise `ValueError` unless two token sets, given by their argument names, are of one batch and width."""
    (name, a), (other, b) = tensors.items()
    if a.ndim != 3 or b.ndim != 3 or a.shape[::2] != b.shape[::2]:
        raise ValueError(
            f"Expected arguments `{name}` (B, P, d) and `{other}` (B, K, d) of one batch and width, "
            f"but got {tuple(a.shape)} and {tuple(b.shape)}."
        )


def mean_over_tokens(values: Tensor, padding: Tensor | None) -> Tensor:
    """Return 1/B sum_i 1/P_i sum_p values[i, p], where P_i counts the tokens of item i that are no padding.

    Items weigh alike whatever the length of their text; without padding this is the mean, 1/BP sum_i sum_p.

    Parameters
    ----------
    values
        `(B, P)`.
    padding
        Bool `(B, P)`, or None. Items that are all padding are left out; if all are, the result is 0.
    """
    if padding is None:
        return values.mean()
    count = (~padding).sum(1)
    each = values.masked_fill(padding, 0).sum(1) / count.clamp_min(1)
    return each.sum() / (count > 0).sum().clamp_min(1)
