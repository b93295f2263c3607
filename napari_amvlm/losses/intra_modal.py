"""ICL, intra-modal contrastive learning: a view against the momentum copy's view of the same item (Pan et al. 2025).

One call serves one modality; L_ICL is the mean of `icl_loss` of the images and of the texts. The query side carries the
gradient; the momentum side (index a) is cut off here, whatever the caller did. All is computed in float32 (float64
stays float64), inside autocast too.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from napari_amvlm.losses.tokens import check_padding, check_temperature, full_precision, mean_over_tokens, widen


def coarse_icl_loss(cls: Tensor, cls_a: Tensor, *, temperature: float = 0.07, same: Tensor | None = None) -> Tensor:
    """Return L_coarse, the class token against the class tokens of the augmented views.

        L_coarse = -1/B sum_i log softmax_j( sim(v_cls_i, v_cls_j,a) / tau )_i

    Parameters
    ----------
    cls
        v_cls or t_cls of the query encoder, `(B, d)`, of any length; normalised here.
    cls_a
        That of the augmented view from the momentum encoder, `(B, d)`; gets no gradient.
    temperature
        tau, positive.
    same
        Bool `(B, B)`, True where two items say the same: they are no negatives of one another. The diagonal is
        ignored. None means that all differ.

    Returns
    -------
    Tensor
        A scalar, never negative; 0 for a batch of one.

    Raises
    ------
    ValueError
        Shapes do not fit or the temperature is not positive.
    """
    if cls.ndim != 2 or cls.shape != cls_a.shape:
        raise ValueError(
            f"Expected arguments `cls` and `cls_a` of one shape (B, d), but got {tuple(cls.shape)} "
            f"and {tuple(cls_a.shape)}."
        )
    return fine_icl_loss(cls, cls_a[:, None, :], temperature=temperature, same=same)


def fine_icl_loss(
    cls: Tensor,
    tokens_a: Tensor,
    padding: Tensor | None = None,
    *,
    temperature: float = 0.07,
    same: Tensor | None = None,
) -> Tensor:
    """Return L_fine, the class token against the tokens of the augmented views, place by place.

        L_fine = -1/B sum_i 1/S_i sum_p log softmax_j( sim(v_cls_i, v^p_j,a) / tau )_i

    p runs over the S_i tokens of item i that are no padding, j over the items whose token p is none.

    Parameters
    ----------
    cls
        v_cls or t_cls of the query encoder, `(B, d)`, of any length; normalised here.
    tokens_a
        Patches or words of the augmented view from the momentum encoder, `(B, S, d)`; get no gradient.
    padding
        Bool `(B, S)`, True where a token of the augmented view is padding; None if none is. Items that are all
        padding are left out.
    temperature, same
        As in `coarse_icl_loss`.

    Returns
    -------
    Tensor
        A scalar, never negative; 0 for a batch of one.

    Raises
    ------
    ValueError
        Shapes do not fit, a mask is not bool, or the temperature is not positive.
    """
    if cls.ndim != 2 or tokens_a.ndim != 3 or cls.shape != tokens_a.shape[::2]:
        raise ValueError(
            f"Expected arguments `cls` (B, d) and `tokens_a` (B, S, d), but got {tuple(cls.shape)} "
            f"and {tuple(tokens_a.shape)}."
        )
    check_padding(padding, tuple(tokens_a.shape[:2]))
    check_temperature(temperature)
    b = len(cls)
    if same is not None and (same.dtype != torch.bool or same.shape != (b, b)):
        raise ValueError(f"Expected argument `same` to be bool {(b, b)}, but got {same.dtype} {tuple(same.shape)}.")
    with full_precision(cls):
        cls, tokens_a = widen(cls, tokens_a.detach())
        if padding is not None:
            tokens_a = tokens_a.masked_fill(padding[..., None], 0)
        logits = torch.einsum("id,jpd->ijp", normalize(cls, dim=-1), normalize(tokens_a, dim=-1)) / temperature
        # The lowest finite number, not -inf: the softmax over a place that is padding everywhere stays defined.
        low = torch.finfo(logits.dtype).min
        if padding is not None:
            logits = logits.masked_fill(padding[None], low)
        if same is not None:
            other = ~torch.eye(b, dtype=torch.bool, device=same.device)
            logits = logits.masked_fill((same & other)[..., None], low)
        each = -logits.log_softmax(1).diagonal(dim1=0, dim2=1).mT
        return mean_over_tokens(each, padding)


def icl_loss(
    cls: Tensor,
    cls_a: Tensor,
    tokens_a: Tensor,
    padding: Tensor | None = None,
    *,
    temperature: float = 0.07,
    same: Tensor | None = None,
) -> Tensor:
    """Return (L_coarse + L_fine) / 2 of one modality; see `coarse_icl_loss` and `fine_icl_loss`."""
    coarse = coarse_icl_loss(cls, cls_a, temperature=temperature, same=same)
    return (coarse + fine_icl_loss(cls, tokens_a, padding, temperature=temperature, same=same)) / 2
