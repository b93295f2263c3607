"""The parts of step 1 that only pretraining needs; they are in no checkpoint (Pan et al. 2025, step 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from napari_amvlm.models.layers import ProjectionHead
from napari_amvlm.models.matching import CrossModalAttention, ProbabilityDistribution, TokenDistribution

if TYPE_CHECKING:
    from napari_amvlm.config import ModelConfig


class MatchedTokens(NamedTuple):
    """Tokens of one modality, what matches each of them in the other, and both as Gaussians.

    Attributes
    ----------
    tokens, matches
        `(B, P, d)`: unit vectors, and their soft matches.
    """

    tokens: Tensor
    matches: Tensor
    of_tokens: TokenDistribution
    of_matches: TokenDistribution


class AlignmentHeads(nn.Module):
    """Local projection heads, cross-attention, and the distribution transformation of either modality.

    Parameters
    ----------
    config
        Gives the widths of tokens, words and of the shared space.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d = config.embedding
        self.patches = ProjectionHead(config.image_encoder.hidden, d)
        self.words = ProjectionHead(config.text_encoder.width, d)
        self.attention = CrossModalAttention(d)
        self.image_distribution = ProbabilityDistribution(d)
        self.text_distribution = ProbabilityDistribution(d)

    def as_distributions(
        self, patches: Tensor, words: Tensor, padding: Tensor | None, *, matched: tuple[Tensor, Tensor]
    ) -> tuple[MatchedTokens, MatchedTokens]:
        """Join both modalities with their soft matches.

        Parameters
        ----------
        patches, words
            Unit vectors `(B, P, d)` and `(B, W, d)`.
        padding
            Of the words, bool `(B, W)`; None if none is.
        matched
            Words matched to each patch `(B, P, d)`, and patches matched to each word `(B, W, d)`.
        """
        to_patches, to_words = matched
        image, text = self.image_distribution, self.text_distribution
        return (
            MatchedTokens(patches, to_patches, image(patches), text(to_patches)),
            MatchedTokens(words, to_words, text(words, padding), image(to_words, padding)),
        )
