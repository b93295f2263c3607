"""What a text-prompted model of another maker has to do here: text and image in, a probability for each pixel out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from napari_amvlm.models.words.taught import taught

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_amvlm.config import ModelConfig


class TextPrompted(Protocol):
    """A model that can be asked for any words; threads may share it."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    @property
    def source(self) -> str:
        """The folder, or `hub:OWNER/NAME`, that it was loaded from."""

    @property
    def licence(self) -> str:
        """What its model card says of it, or "not stated"."""

    def probability(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the probability of each pixel, float32 `(B, 1, H, W)` in [0, 1], on the images' device.

        Parameters
        ----------
        images
            `(B, 3, H, W)` in [0, 1], of any size.
        prompts
            B of them, one for each image.

        Raises
        ------
        PromptError
            A prompt is empty, or longer than the model can read.
        """


def answering(config: ModelConfig, model: TextPrompted | None, prompt: str) -> TextPrompted | None:
    """Return the other model where it answers `prompt`; None where ours does.

    The other one answers for what ours was not taught, and for what ours learnt but was measured to be worse at.
    """
    if model is None:
        return None
    meaning = taught(config, prompt)
    beaten = meaning is not None and any(concept.beaten_by == model.name for concept in meaning.concepts)
    return model if meaning is None or beaten else None


def probability_of(model: TextPrompted, image: NDArray[np.float32], prompt: str) -> NDArray[np.float32]:
    """Return the probability `(H, W)` of a prompt in one image `(H, W, 3)` in [0, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    return np.asarray(model.probability(pixels, [prompt])[0, 0].cpu().numpy(), np.float32)
