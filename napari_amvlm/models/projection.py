"""Projection heads into the shared image-text space."""

from __future__ import annotations

from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Linear, ReLU, Linear, then L2 normalisation.

    The publication has a batch normalisation in between. It is left out: batches here hold either tiles or whole
    images, and statistics that differ from batch to batch made presence in evaluation unlike presence in training.

    Parameters
    ----------
    width
        Length of the input embedding.
    embedding
        Length d of the output embedding.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, embedding), nn.ReLU(), nn.Linear(embedding, embedding))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, width)` to unit vectors, float32 `(N, embedding)`."""
        return nn.functional.normalize(self.layers(x).float(), dim=-1)
