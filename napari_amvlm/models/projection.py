"""Projection heads into the shared image-text space."""

from __future__ import annotations

from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Linear, BatchNorm, ReLU, Linear, then L2 normalisation (METHOD: step 1, encoders).

    Parameters
    ----------
    width
        Length of the input embedding.
    embedding
        Length d of the output embedding.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, embedding, bias=False),
            nn.BatchNorm1d(embedding),
            nn.ReLU(),
            nn.Linear(embedding, embedding),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, width)` to unit vectors, float32 `(N, embedding)`."""
        return nn.functional.normalize(self.layers(x).float(), dim=-1)
