"""Ambiguity of tokens as diagonal Gaussians: 2-Wasserstein distances and the supervised similarity (Pan et al. 2025).

`models.matching.ProbabilityDistribution` makes the Gaussians. All is computed in float32 (float64 stays float64),
inside autocast too.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from napari_amvlm.losses.tokens import check_pair, full_precision, mean_over_tokens, widen

WeightForm = Literal["sigmoid", "exponential"]


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return |a_p - b_k|^2, `(B, P, K)`, without the cancellation of |a|^2 + |b|^2 - 2 a.b, so that |a - a| is 0."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def pairwise_wasserstein(mu_a: Tensor, sigma_a: Tensor, mu_b: Tensor, sigma_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared 2-Wasserstein distance of all pairs of diagonal Gaussians, and its identity part.

        W2[p, k] = |mu_p - mu_k|^2 + |sigma_p - sigma_k|^2
        Ds[p, k] = |mu_p - mu_k|^2

    Parameters
    ----------
    mu_a, sigma_a
        Means and standard deviations (not variances, not negative) of tokens p, `(B, P, d)`.
    mu_b, sigma_b
        Those of tokens k, `(B, K, d)`.

    Returns
    -------
    distance
        W2, `(B, P, K)`; 0 for equal Gaussians.
    identity
        Ds, `(B, P, K)`, at most W2.

    Raises
    ------
    ValueError
        Shapes do not fit.
    """
    check_pair(mu_a=mu_a, mu_b=mu_b)
    for name, mu, sigma in (("a", mu_a, sigma_a), ("b", mu_b, sigma_b)):
        if sigma.shape != mu.shape:
            raise ValueError(
                f"Expected argument `sigma_{name}` of the shape {tuple(mu.shape)} of `mu_{name}`, "
                f"but got {tuple(sigma.shape)}."
            )
    with full_precision(mu_a):
        mu_a, sigma_a, mu_b, sigma_b = widen(mu_a, sigma_a, mu_b, sigma_b)
        identity = _squared_distances(mu_a, mu_b)
        return identity + _squared_distances(sigma_a, sigma_b), identity


def ambiguity_ratio(distance: Tensor, identity: Tensor, *, eps: float = 1e-4, most: float = math.inf) -> Tensor:
    """Return how much of a distance is due to spread, that is to ambiguity.

        r = 1 + (W2 - Ds) / (Ds + eps) = (W2 + eps) / (Ds + eps)

    Parameters
    ----------
    distance
        W2 of `pairwise_wasserstein`, any shape.
    eps
        Keeps r finite where the means coincide, and its gradient small where they nearly do; positive. Unit
        embeddings are 0 to 4 apart in Ds.
    most
        Bound of r, above 1: r becomes 1 + (most - 1) tanh((r - 1) / (most - 1)), which is r where r is near 1 and has a
        gradient everywhere. Without it r saturates in training, and w with it.

    Returns
    -------
    Tensor
        At least 1; exactly 1 where both spreads are equal.

    Raises
    ------
    ValueError
        Shapes differ, eps is not positive, or the bound is not above 1.

    Notes
    -----
    W2 / (Ds + eps) alone would be 0, not 1, for two equal Gaussians; eps on both sides keeps r >= 1 everywhere and
    changes nothing where Ds is well above eps.
    """
    if distance.shape != identity.shape:
        raise ValueError(
            "Expected arguments `distance` and `identity` of one shape, "
            f"but got {tuple(distance.shape)} and {tuple(identity.shape)}."
        )
    if not 0 < eps < math.inf:
        raise ValueError(f"Expected argument `eps` to be positive and finite, but got {eps}.")
    if not most > 1:
        raise ValueError(f"Expected argument `most` to be above 1, but got {most}.")
    with full_precision(distance):
        distance, identity = widen(distance, identity)
        beyond = (distance - identity) / (identity + eps)
        return 1 + (beyond if math.isinf(most) else (most - 1) * torch.tanh(beyond / (most - 1)))


def spread_loss(log_sigma: Tensor, padding: Tensor | None, *, centre: float) -> Tensor:
    """Return the mean squared distance of log sigma from where it started; padding is left out before the mean.

    Parameters
    ----------
    log_sigma
        Of tokens as Gaussians, `(B, P, d)`.
    padding
        Bool `(B, P)`, True where a token is padding; None if none is.
    centre
        Log sigma that costs nothing.
    """
    with full_precision(log_sigma):
        return mean_over_tokens((widen(log_sigma)[0] - centre).square().mean(-1), padding)


def dusss_weight(distance: Tensor, apart: Tensor, *, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """Return DuSSS's own weight of a pair of class embeddings (AAAI 2025): w = exp(-(c W2 + k) / (5 d)).

    Parameters
    ----------
    distance
        W2 of the pair as Gaussians, any shape.
    apart
        d, the distance of the two embeddings, of the same shape; bounded below by 0.001.
    scale, shift
        c and k, not negative.

    Returns
    -------
    Tensor
        In (0, 1].
    """
    if distance.shape != apart.shape:
        raise ValueError(
            f"Expected arguments `distance` and `apart` of one shape, but got {tuple(distance.shape)} and "
            f"{tuple(apart.shape)}."
        )
    with full_precision(distance):
        distance, apart = widen(distance, apart)
        return (-(scale * distance + shift) / (5 * apart.clamp_min(1e-3))).exp()


def ambiguity_weight(ratio: Tensor, *, form: WeightForm, decay: float = 1.0) -> Tensor:
    """Return w(r), which scales the dissimilarity of a pair.

        "sigmoid":      w = 1 / (1 + exp(-r))              from 0.73 at r = 1 up to 1: ambiguous pairs count more
        "exponential":  w = exp(-lambda (r - 1))           from 1 at r = 1 down to 0: ambiguous pairs count less

    Parameters
    ----------
    ratio
        r >= 1 of `ambiguity_ratio`, any shape.
    form
        "sigmoid" as in the release of AMVLM, or "exponential" as in DuSSS.
    decay
        lambda of the exponential form, not negative; without meaning for the other.

    Returns
    -------
    Tensor
        In [0, 1], of the shape of `ratio`.

    Raises
    ------
    ValueError
        The form is unknown or the decay is negative.
    """
    if form not in get_args(WeightForm):
        raise ValueError(f"Expected argument `form` to be one of {list(get_args(WeightForm))}, but got {form!r}.")
    if not 0 <= decay < math.inf:
        raise ValueError(f"Expected argument `decay` to be finite and not negative, but got {decay}.")
    with full_precision(ratio):
        (ratio,) = widen(ratio)
        return ratio.sigmoid() if form == "sigmoid" else (-decay * (ratio - 1)).exp()


def supervised_similarity(similarity: Tensor, ratio: Tensor, *, form: WeightForm, decay: float = 1.0) -> Tensor:
    """Return the similarity that ambiguity supervises, to stand in for sim in L_V2T and L_T2V.

        s^ = 1 - (1 - s) w(r)

    Parameters
    ----------
    similarity
        s, the cosine of each pair, `(B, P, K)`; not divided by tau.
    ratio
        r of each pair, `(B, P, K)`.
    form, decay
        As in `ambiguity_weight`.

    Returns
    -------
    Tensor
        s^ in [s, 1], `(B, P, K)`; divide it by tau afterwards, as the losses do.

    Raises
    ------
    ValueError
        Shapes differ, the form is unknown or the decay is negative.

    Notes
    -----
    In a softmax over k, the gradient of the loss by the cosine of a negative is w p_k / tau, with p_k its share of the
    softmax over s^ / tau. A smaller w lowers the first factor but draws s^ towards 1, which raises p_k. So under the
    exponential form a negative that is close already is pushed away less when it is ambiguous; one that is far (s
    well below the positive, in units of tau) is pushed away more.
    """
    if similarity.shape != ratio.shape:
        raise ValueError(
            "Expected arguments `similarity` and `ratio` of one shape, "
            f"but got {tuple(similarity.shape)} and {tuple(ratio.shape)}."
        )
    weight = ambiguity_weight(ratio, form=form, decay=decay)
    with full_precision(similarity):
        similarity, weight = widen(similarity, weight)
        return 1 - (1 - similarity) * weight
