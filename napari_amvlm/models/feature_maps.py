"""What the image side of the network gives of an image: maps for strokes that spread, and one vector."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_amvlm.errors import ImageError
from napari_amvlm.models.inference import features_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_amvlm.config import ScaleName
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.inference import EncodedImage


@dataclass(frozen=True)
class FeatureMaps:
    """Maps of one image, or of one part of it; no prompt was involved.

    Attributes
    ----------
    shape
        Height and width of the image (or of the part) at its own size, pixels.
    scale
        How it was looked at: "whole" or "tiles".
    pixels
        The image at working scale with its padding, float32 `(3, H, W)` in [0, 1].
    content
        Where in `pixels` the image lies: top, left, height, width.
    maps
        Maps of the whole of `pixels` at different resolutions, `(C, h, w)`: the levels of the U-Net's encoder and the
        dense embedding.
    """

    shape: tuple[int, int]
    scale: ScaleName
    pixels: Tensor
    content: tuple[int, int, int, int]
    maps: tuple[Tensor, ...]


def feature_maps(encoded: EncodedImage) -> FeatureMaps:
    """Return the maps of an image that was encoded in one piece.

    Raises
    ------
    ImageError
        It was encoded in several tiles, or its features were too large to keep.
    """
    features = encoded.features[0] if len(encoded.features) == 1 else None
    if features is None:
        height, width = encoded.shape
        raise ImageError(
            f"Features of {height}x{width} pixels do not fit into one piece; ask for a smaller part of the image."
        )
    maps = tuple(m[0].float().cpu() for m in (*features.skips, features.dense))
    return FeatureMaps(encoded.shape, encoded.scale.name, encoded.pixels.float().cpu(), encoded.content, maps)


def image_embedding(model: AMVLM, encoded: EncodedImage) -> NDArray[np.float32]:
    """Return the mean embedding v_cls of an image's tiles, float32 `(d,)` of length 1."""
    found = features_of(model, encoded, range(len(encoded.tiles)), model.device)
    each = torch.cat([features.v_cls.float() for _, features in found])
    vector: NDArray[np.float32] = nn.functional.normalize(each.mean(0), dim=0).cpu().numpy()
    return vector


def embedding_key(model: AMVLM) -> str:
    """Return a hash of the parts that make embeddings: models with one hash give one image one vector.

    Fine-tuning leaves these parts alone, so that a model and those learnt from it have one hash. It is taken in half
    precision, in which models are stored.
    """
    digest = hashlib.sha256()
    for part in (model.image_encoder, model.image_projection):
        for name, value in part.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().to(torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()
