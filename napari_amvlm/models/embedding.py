"""What an image looks like, as one vector, and which vectors may be compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_amvlm.models.inference import features_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.inference import EncodedImage


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
