"""What the rivals minimise in place of our step 1, as pure functions; `training.pretraining.rivals` calls them.

CLIP is `losses.info_nce` alone, and DuSSS is `losses.dusss_weight` in it: both are settings of our own step 1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.losses import same_meaning, similarity_nce

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES: dict[str, tuple[str, str]] = {
    "clip": ("Radford et al., ICML 2021", ""),
    "medclip": (
        "Wang et al., EMNLP 2022",
        "meanings are frozen sentence embeddings, not UMLS entities, divided by tau",
    ),
    "mgca": ("Wang et al., NeurIPS 2022", "patches and words weigh by their similarity to the class token"),
    "dusss": ("Pan et al., AAAI 2025", "its distributions of class tokens in our contrast, without its own decoder"),
    "map": ("Ji et al., CVPR 2023", "the contrastive part alone"),
    "cmitm": ("Chen et al., MICCAI 2023", "words are hidden behind the text encoder, which stays as configured"),
    "asg": ("Li et al., MICCAI 2024", "regions are thirds and halves of the picture that the caption names"),
}
"""By objective its source, and what is otherwise here."""


def soft_target_loss(similarity: Tensor, meaning: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Return MedCLIP's semantic matching loss: cross-entropy against softmax targets of the meanings' similarity.

    Parameters
    ----------
    similarity
        v.t of all pairs, `(B, B)`; not divided by the temperature.
    meaning
        s of all pairs of meanings, `(B, B)`.
    temperature
        tau, of both.
    """
    logits, close = similarity.float() / temperature, meaning.float() / temperature
    ways = ((logits, close), (logits.T, close.T))
    return torch.stack([-(target.softmax(1) * x.log_softmax(1)).sum(1).mean() for x, target in ways]).mean()


def weighted_token_loss(
    tokens: Tensor, matches: Tensor, weight: Tensor, padding: Tensor | None, *, temperature: float = 0.1
) -> Tensor:
    """Return MGCA's token-wise alignment: symmetric InfoNCE of tokens and their matches, weighed by token.

        L = -1/2B sum_i sum_p w_ip [ log softmax_k(t_p.m_k / tau)_p + log softmax_k(m_p.t_k / tau)_p ]

    Parameters
    ----------
    tokens, matches
        Unit vectors, `(B, P, d)`.
    weight
        w, `(B, P)`; sums to 1 over the tokens of an item.
    padding
        Bool `(B, P)`, True where a token is padding; None if none is.
    temperature
        tau.
    """
    logits = tokens.float() @ matches.float().mT / temperature
    if padding is not None:
        logits = logits.masked_fill(padding[:, :, None] | padding[:, None, :], torch.finfo(logits.dtype).min)
        weight = weight.masked_fill(padding, 0)
    forward = logits.log_softmax(2).diagonal(dim1=1, dim2=2)
    backward = logits.log_softmax(1).diagonal(dim1=1, dim2=2)
    return -(weight * (forward + backward)).sum(1).mean() / 2


@torch.no_grad()
def sinkhorn(scores: Tensor, *, epsilon: float = 0.05, rounds: int = 3) -> Tensor:
    """Return soft assignments `(B, K)` of scores `(B, K)`: rows sum to 1, columns are used alike (SwAV)."""
    q = ((scores.float() - scores.max()) / epsilon).exp()
    q = q / q.sum()
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12) / q.shape[1]
        q = q / q.sum(1, keepdim=True).clamp_min(1e-12) / len(q)
    return q * len(q)


def prototype_loss(v_scores: Tensor, t_scores: Tensor, *, temperature: float = 0.2) -> Tensor:
    """Return MGCA's cross-modal prototype alignment: each modality predicts the other's assignment.

        L = -1/2B sum_i [ q_t . log softmax(v C / tau) + q_v . log softmax(t C / tau) ]

    Parameters
    ----------
    v_scores, t_scores
        Similarity of class tokens and prototypes, `(B, K)`.
    temperature
        tau.
    """
    q_v, q_t = sinkhorn(v_scores), sinkhorn(t_scores)
    v = -(q_t * (v_scores.float() / temperature).log_softmax(1)).sum(1)
    t = -(q_v * (t_scores.float() / temperature).log_softmax(1)).sum(1)
    return (v + t).mean() / 2


def distance_contrast(distance: Tensor, scale: Tensor, same: Tensor | None) -> Tensor:
    """Return MAP's contrast of Gaussians: InfoNCE over -scale W2, `(B, B)`; `scale` is positive and learnt."""
    return similarity_nce(-scale * distance, temperature=1.0, same=same)


def hidden_loss(found: Tensor, wanted: Tensor, hidden: Tensor) -> Tensor:
    """Return the mean squared error of what was hidden, normalised by place as in masked autoencoders (CMITM).

    Parameters
    ----------
    found, wanted
        `(B, P, d)`.
    hidden
        Bool `(B, P)`.
    """
    target = nn.functional.layer_norm(wanted.float(), wanted.shape[-1:])
    error = (found.float() - target).square().mean(-1)
    return (error * hidden).sum() / hidden.sum().clamp_min(1)


_PLACE = re.compile(r"\b(upper|middle|lower)?\s*(left|right)\b", re.IGNORECASE)
_ROWS = {"upper": (0.0, 1 / 3), "middle": (1 / 3, 2 / 3), "lower": (2 / 3, 1.0), "": (0.0, 1.0)}


def named_regions(caption: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Return the regions that a caption names: top, left, bottom and right as shares of the picture.

    In a caption about lungs the patient's left is on the right of the picture.

    Examples
    --------
    >>> [name for name, _ in named_regions("two areas, upper left lung and lower right lung")]
    ['upper left', 'lower right']
    """
    mirrored = "lung" in caption.lower()
    found = {}
    for match in _PLACE.finditer(caption):
        row, side = (match[1] or "").lower(), match[2].lower()
        on_left = (side == "left") != mirrored
        top, bottom = _ROWS[row]
        found[f"{row} {side}".strip()] = (top, 0.0 if on_left else 0.5, bottom, 0.5 if on_left else 1.0)
    return list(found.items())


def pooled_region(tokens: Tensor, region: tuple[float, float, float, float]) -> Tensor:
    """Return the unit mean `(d,)` of the patches `(d, h, w)` of a region."""
    h, w = tokens.shape[-2:]
    top, left, bottom, right = region
    rows = slice(int(top * h), max(int(top * h) + 1, round(bottom * h)))
    columns = slice(int(left * w), max(int(left * w) + 1, round(right * w)))
    return nn.functional.normalize(tokens[:, rows, columns].float().mean((1, 2)), dim=0)


def region_loss(regions: Tensor, phrases: Tensor, names: Sequence[str], *, temperature: float = 0.07) -> Tensor:
    """Return ASG's alignment of regions and the phrases that name them; equal names are positives.

    Parameters
    ----------
    regions, phrases
        Unit vectors, `(N, d)`; row i of both belongs together.
    names
        N names.
    temperature
        tau.
    """
    return similarity_nce(regions @ phrases.T, temperature=temperature, same=same_meaning(names, regions.device))
