"""CSS, cross-modal similarity supervision: each token against its soft match in the other modality (Pan et al. 2025).

The order of one step, for unit patches v `(B, P, d)` and unit words t `(B, W, d)` with the padding of the words:

1. project both to queries, keys and values (`models.matching.CrossModalAttention`);
2. `soft_match` the words to each patch, t~ `(B, P, d)`, and the patches to each word, v~ `(B, W, d)`;
3. `pairwise_cosine` of v and t~, `(B, P, P)`, and of t and v~, `(B, W, W)`; or the supervised similarity that
   `losses.wasserstein` makes of them;
4. `css_loss` of the two.

All is computed in float32 (float64 stays float64), inside autocast too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from napari_amvlm.losses.tokens import (
    check_padding,
    check_pair,
    check_temperature,
    full_precision,
    mean_over_tokens,
    widen,
)


def match_weights(query: Tensor, key: Tensor, padding: Tensor | None = None) -> Tensor:
    """Return how much each query token attends to each key token.

        alpha[p, k] = softmax_k( query_p . key_k / sqrt(d) )

    Parameters
    ----------
    query
        Projected tokens that look for a match, Q v, `(B, P, d)`.
    key
        Projected tokens of the other modality, K t, `(B, K, d)`.
    padding
        Bool `(B, K)`, True where a key is padding; None if none is.

    Returns
    -------
    Tensor
        `(B, P, K)`. Rows sum to 1; padding gets 0, and an item whose keys are all padding gets 0 everywhere.

    Raises
    ------
    ValueError
        Shapes do not fit, or the padding is not bool.
    """
    check_pair(query=query, key=key)
    check_padding(padding, tuple(key.shape[:2]))
    with full_precision(query):
        query, key = widen(query, key)
        if padding is None:
            return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1)
        key = key.masked_fill(padding[..., None], 0)  # a key that is not finite must not reach the queries' gradient
        score = query @ key.mT / math.sqrt(query.shape[-1])
        ignored = padding[:, None, :]
        # The lowest finite number, not -inf: the softmax of an item that is all padding stays defined.
        return score.masked_fill(ignored, torch.finfo(score.dtype).min).softmax(-1).masked_fill(ignored, 0)


def soft_match(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None = None) -> Tensor:
    """Return the soft match of each query token in the other modality.

        t~_p = sum_k alpha[p, k] value_k,  alpha as in `match_weights`

    With patches as queries this is t~; with words as queries, and patches as keys and values, it is v~.

    Parameters
    ----------
    query
        Q v, `(B, P, d)`.
    key
        K t, `(B, K, d)`.
    value
        V t, `(B, K, e)`.
    padding
        Bool `(B, K)`, True where a key is padding; None if none is. What padding holds has no influence.

    Returns
    -------
    Tensor
        `(B, P, e)`, not normalised; 0 for an item whose keys are all padding.

    Raises
    ------
    ValueError
        Shapes do not fit, or the padding is not bool.
    """
    if value.ndim != 3 or value.shape[:2] != key.shape[:2]:
        raise ValueError(
            f"Expected argument `value` to be (B, K, e) as `key` {tuple(key.shape)}, but got {tuple(value.shape)}."
        )
    alpha = match_weights(query, key, padding)
    with full_precision(value):
        alpha, value = widen(alpha, value)
        if padding is not None:
            value = value.masked_fill(padding[..., None], 0)
        return alpha @ value


def pairwise_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return sim(a_p, b_k) = a_p.b_k / |a_p||b_k| of all pairs of tokens of an item.

    Parameters
    ----------
    a
        `(B, P, d)`, of any length; normalised here.
    b
        `(B, K, d)`.

    Returns
    -------
    Tensor
        `(B, P, K)` in [-1, 1]; 0 where a token is all zero.

    Raises
    ------
    ValueError
        Shapes do not fit.
    """
    check_pair(a=a, b=b)
    with full_precision(a):
        a, b = widen(a, b)
        return normalize(a, dim=-1) @ normalize(b, dim=-1).mT


def matched_contrast(similarity: Tensor, padding: Tensor | None = None, *, temperature: float = 0.07) -> Tensor:
    """Return the symmetric InfoNCE of tokens and their soft matches, within each item.

        L = -1/2B sum_i 1/P_i sum_p [ log softmax_k( s[p, k] / tau )_p + log softmax_k( s[k, p] / tau )_p ]

    where p and k run over the P_i tokens of item i that are no padding. `v2t_loss` and `t2v_loss` are this.

    Parameters
    ----------
    similarity
        s[p, k] of token p and the match of token k, `(B, P, P)`; cosine or supervised similarity. Not divided by tau.
    padding
        Bool `(B, P)`, True where a token is padding; None if none is. Items that are all padding are left out.
    temperature
        tau, positive.

    Returns
    -------
    Tensor
        A scalar, never negative; 0 where every item has one token.

    Raises
    ------
    ValueError
        The similarity is not square, the padding does not fit it, or the temperature is not positive.
    """
    if similarity.ndim != 3 or similarity.shape[1] != similarity.shape[2]:
        raise ValueError(f"Expected argument `similarity` to be (B, P, P), but got {tuple(similarity.shape)}.")
    check_padding(padding, tuple(similarity.shape[:2]))
    check_temperature(temperature)
    with full_precision(similarity):
        logits = widen(similarity)[0] / temperature
        if padding is not None:
            outside = padding[:, :, None] | padding[:, None, :]
            logits = logits.masked_fill(outside, torch.finfo(logits.dtype).min)
        forward = logits.log_softmax(2).diagonal(dim1=1, dim2=2)
        backward = logits.log_softmax(1).diagonal(dim1=1, dim2=2)
        return mean_over_tokens(-(forward + backward) / 2, padding)


def v2t_loss(similarity: Tensor, padding: Tensor | None = None, *, temperature: float = 0.07) -> Tensor:
    """Return L_V2T, patches against the words that match them softly.

        L_V2T = -1/2BP sum_i sum_p [ log softmax_k( sim(v_p, t~_k) / tau )_p + log softmax_k( sim(t~_p, v_k) / tau )_p ]

    This is `matched_contrast` of sim(v_p, t~_k), `(B, P, P)`, but `padding` is that of the *words*, bool `(B, W)`. An
    image whose text has no word is left out.
    """
    wordless = None
    if padding is not None:
        check_padding(padding, (len(similarity), padding.shape[-1]))
        wordless = padding.all(1, keepdim=True).expand(similarity.shape[:2])
    return matched_contrast(similarity, wordless, temperature=temperature)


def t2v_loss(similarity: Tensor, padding: Tensor | None = None, *, temperature: float = 0.07) -> Tensor:
    """Return L_T2V, words against the patches that match them softly.

        L_T2V = -1/2B sum_i 1/W_i sum_w [ log softmax_k( sim(t_w, v~_k) / tau )_w
                                          + log softmax_k( sim(v~_w, t_k) / tau )_w ]

    This is `matched_contrast` of sim(t_w, v~_k), `(B, W, W)`, with the padding of the words: padding is neither an
    anchor, nor a match, nor a negative.
    """
    return matched_contrast(similarity, padding, temperature=temperature)


def css_loss(v2t: Tensor, t2v: Tensor, padding: Tensor | None = None, *, temperature: float = 0.07) -> Tensor:
    """Return L_CSS = (L_V2T + L_T2V) / 2.

    Parameters
    ----------
    v2t
        Similarity of patches and their matches, `(B, P, P)`: `pairwise_cosine(v, t~)`, or the ambiguity-aware
        `losses.wasserstein.supervised_similarity` made of it.
    t2v
        Similarity of words and their matches, `(B, W, W)`, made alike.
    padding, temperature
        Padding of the words, bool `(B, W)`; the rest as in `matched_contrast`.

    Raises
    ------
    ValueError
        As in `matched_contrast`, or the batches differ.
    """
    if len(v2t) != len(t2v):
        raise ValueError(f"Expected arguments `v2t` and `t2v` of one batch, but got {len(v2t)} and {len(t2v)} items.")
    forward = v2t_loss(v2t, padding, temperature=temperature)
    return (forward + t2v_loss(t2v, padding, temperature=temperature)) / 2
