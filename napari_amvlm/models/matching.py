"""What pretraining learns besides the encoders: cross-attention of patches and words, and tokens as Gaussians.

They serve step 1 of the method alone and are no part of a checkpoint. The matching itself and the distances are in
`losses.cross_modal` and `losses.wasserstein`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

SPREAD = -2.3
"""Log sigma of tokens at the start of a run."""


class AttentionInputs(NamedTuple):
    """One direction of the cross-attention, in the order in which `losses.cross_modal.soft_match` takes it.

    Attributes
    ----------
    query
        Tokens that look for a match, `(B, P, d)`.
    key, value
        Tokens of the other modality, `(B, K, d)`.
    """

    query: Tensor
    key: Tensor
    value: Tensor


class _Direction(nn.Module):
    """The maps Q, K and V of one direction."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.query = nn.Linear(embedding, embedding, bias=False)
        self.key = nn.Linear(embedding, embedding, bias=False)
        self.value = nn.Linear(embedding, embedding, bias=False)

    def forward(self, asking: Tensor, asked: Tensor) -> AttentionInputs:
        return AttentionInputs(self.query(asking), self.key(asked), self.value(asked))


class CrossModalAttention(nn.Module):
    """Projects patches and words to queries, keys and values, in both directions (Pan et al. 2025, step 1, CSS).

    From patches to words these are Q v_p, K t_k and V t_k; from words to patches, with maps of its own, Q' t_w, K' v_k
    and V' v_k. The scores are scaled and masked where they are made, in `losses.cross_modal.match_weights`.

    Parameters
    ----------
    embedding
        Width d of the shared space.
    """

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.to_words = _Direction(embedding)
        self.to_patches = _Direction(embedding)

    def forward(self, patches: Tensor, words: Tensor) -> tuple[AttentionInputs, AttentionInputs]:
        """Project both token sets.

        Parameters
        ----------
        patches
            v, unit vectors, `(B, P, d)`.
        words
            t, unit vectors, `(B, W, d)`; padding may be among them.

        Returns
        -------
        to_words
            Queries of the patches `(B, P, d)`, keys and values of the words `(B, W, d)`.
        to_patches
            Queries of the words `(B, W, d)`, keys and values of the patches `(B, P, d)`.

        Raises
        ------
        ValueError
            Batches differ, or a width is not d.
        """
        for name, tokens in (("patches", patches), ("words", words)):
            _check_tokens(name, tokens, self.embedding)
        if len(patches) != len(words):
            raise ValueError(
                f"Expected arguments `patches` and `words` of one batch, but got {len(patches)} and {len(words)} items."
            )
        return self.to_words(patches, words), self.to_patches(words, patches)


@dataclass(frozen=True)
class TokenDistribution:
    """Tokens as diagonal Gaussians, float32 at least.

    Attributes
    ----------
    mu
        Means, the identity of the tokens, `(B, P, d)`; 0 at padding.
    log_sigma
        Logarithm of the standard deviations, the spread, `(B, P, d)`, clamped; 0 at padding.
    """

    mu: Tensor
    log_sigma: Tensor

    @property
    def sigma(self) -> Tensor:
        """Standard deviations, positive and bounded, `(B, P, d)`."""
        return self.log_sigma.exp()


class ProbabilityDistribution(nn.Module):
    """PDT, probability distribution transformation: turns a set of tokens into Gaussians (Pan et al. 2025).

        h         = LayerNorm(GELU(Linear(x)))                    2d channels
        h         = h + MultiHeadSelfAttention(h)                 padding masked
        mu        = x + MLP_mu(first half of h)
        log sigma = clamp(MLP_sigma(second half of h))

    Parameters
    ----------
    embedding
        Width d of the tokens.
    heads
        Number of attention heads; divides 2d.
    spread
        Log sigma at the start. Unit tokens of width 128 are about 0.1 a channel: spreads of that size let neither part
        of the Wasserstein distance drown the other from the first step on.

    Raises
    ------
    ValueError
        The heads do not divide 2d, or the range is empty or leaves the start out.
    """

    def __init__(
        self,
        embedding: int,
        *,
        heads: int = 4,
        log_sigma_range: tuple[float, float] = (-7.0, 2.0),
        spread: float = SPREAD,
    ) -> None:
        super().__init__()
        low, high = log_sigma_range
        if heads < 1 or 2 * embedding % heads:
            raise ValueError(f"Expected argument `heads` to divide {2 * embedding} channels, but got {heads}.")
        if not low < spread < high:
            raise ValueError(f"Expected argument `spread` inside `log_sigma_range` {low} to {high}, but got {spread}.")
        self.embedding = embedding
        self.log_sigma_range = (low, high)
        self.expand = nn.Linear(embedding, 2 * embedding)
        self.norm = nn.LayerNorm(2 * embedding)
        self.attention = nn.MultiheadAttention(2 * embedding, heads, batch_first=True)
        self.to_mu = _mlp(embedding)
        self.to_log_sigma = _mlp(embedding)
        nn.init.constant_(self.to_log_sigma[-1].bias, spread)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> TokenDistribution:
        """Turn tokens into Gaussians.

        Parameters
        ----------
        tokens
            x, `(B, P, d)`: embeddings of one modality, or soft matches of the other.
        padding
            Bool `(B, P)`, True where a token is padding; None if none is. What padding holds has no influence.

        Returns
        -------
        TokenDistribution
            mu and log sigma, `(B, P, d)`, float32 even in autocast.

        Raises
        ------
        ValueError
            Shapes do not fit, or the padding is not bool.
        """
        _check_tokens("tokens", tokens, self.embedding)
        if padding is not None:
            if padding.dtype != torch.bool or padding.shape != tokens.shape[:2]:
                raise ValueError(
                    f"Expected argument `padding` to be bool {tuple(tokens.shape[:2])}, "
                    f"but got {padding.dtype} {tuple(padding.shape)}."
                )
            tokens = tokens.masked_fill(padding[..., None], 0)
        h = self.norm(nn.functional.gelu(self.expand(tokens)))
        # An item that is all padding attends to its zeros: a softmax over nothing is not a number.
        ignored = None if padding is None else padding & ~padding.all(1, keepdim=True)
        h = h + self.attention(h, h, h, key_padding_mask=ignored, need_weights=False)[0]
        identity, spread = h.chunk(2, dim=-1)
        wide = torch.promote_types(tokens.dtype, torch.float32)
        mu = tokens.to(wide) + self.to_mu(identity)
        log_sigma = self.to_log_sigma(spread).to(wide).clamp(*self.log_sigma_range)
        if padding is not None:
            mu, log_sigma = (x.masked_fill(padding[..., None], 0) for x in (mu, log_sigma))
        return TokenDistribution(mu, log_sigma)


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))


def _check_tokens(name: str, tokens: Tensor, embedding: int) -> None:
    """Raise `ValueError` unless the tokens are `(B, P, d)`."""
    if tokens.ndim != 3 or tokens.shape[-1] != embedding:
        raise ValueError(f"Expected argument `{name}` to be (B, P, {embedding}), but got {tuple(tokens.shape)}.")
