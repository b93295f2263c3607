"""Losses that bring images and texts together in one space (Pan et al. 2025, step 1, and L_tg of step 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_amvlm.losses.tokens import check_temperature, full_precision, widen

if TYPE_CHECKING:
    from collections.abc import Sequence


def info_nce(a: Tensor, b: Tensor, *, temperature: float = 0.07, same: Tensor | None = None) -> Tensor:
    """Return the symmetric InfoNCE of two sets of unit vectors.

    With one positive a row this is L_ITA for (v_cls, t_cls) and L_tg for (v_text, t_cls):

        L = -1/2N sum_i [ log softmax_j(a_i.b_j / tau)_i + log softmax_j(b_i.a_j / tau)_i ]

    One sentence may fit many images. Pairs that `same` marks are all positives, and the log-probability is averaged
    over them (the supervised contrastive loss, Khosla et al., NeurIPS 2020, L_out), so that nothing
    is pushed apart wrongly: a batch in which every text is the same has no gradient at equal similarities, where its
    loss is log N.

    Parameters
    ----------
    a, b
        Unit vectors, `(N, d)`; row i of both belongs together.
    temperature
        tau, positive.
    same
        Bool `(N, N)`, symmetric, True on the diagonal; None means the identity.

    Returns
    -------
    Tensor
        A scalar, never negative.

    Raises
    ------
    ValueError
        Shapes differ or the temperature is not positive.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(
            f"Expected arguments `a` and `b` of one shape (N, d), but got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    check_temperature(temperature)
    with full_precision(a):
        a, b = widen(a, b)
        similarity = a @ b.T
    return similarity_nce(similarity, temperature=temperature, same=same)


def similarity_nce(similarity: Tensor, *, temperature: float = 0.07, same: Tensor | None = None) -> Tensor:
    """Return `info_nce` of similarities that are made already, `(N, N)`; not divided by the temperature."""
    with full_precision(similarity):
        logits = widen(similarity)[0] / temperature
    positive = torch.eye(len(logits), device=logits.device) if same is None else same.to(logits.dtype)
    weight = positive / positive.sum(1, keepdim=True)
    forward = -(weight * logits.log_softmax(1)).sum(1)
    backward = -(weight * logits.T.log_softmax(1)).sum(1)
    return (forward + backward).mean() / 2


def same_meaning(names: Sequence[str], device: torch.device) -> Tensor:
    """Return which pairs of N names are equal, bool `(N, N)`: the argument `same` of `info_nce`."""
    return torch.tensor([[a == b for b in names] for a in names], device=device)
