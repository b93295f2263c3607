"""Another way to a mask, to hold ours against: SAM ViT-B out of `transformers`, which looks once and then is asked.

Its weights are random: the time does not depend on them, and nothing is fetched.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from napari_amvlm.device import autocast

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_MEAN, _SPREAD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class SamPath:
    """Encoder, prompt encoder and mask decoder of SAM (Kirillov et al., ICCV 2023), used as interactive plugins do.

    Parameters
    ----------
    config
        A `SamConfig`; by default that of ViT-B at 1024x1024 pixels.
    half
        Whether it computes in the number format that ours takes on this device; else in float32, as it comes.
    """

    def __init__(self, device: torch.device, config: Any = None, *, half: bool = False) -> None:
        from transformers import SamConfig, SamModel

        torch.manual_seed(0)
        self._device, self._half = device, half
        config = config or SamConfig()
        model: nn.Module = SamModel(config)
        self._model: Any = model.to(device).eval()
        self._side = int(config.vision_config.image_size)

    def encode(self, image: NDArray[np.uint8]) -> Tensor:
        """Return the embedding of an image `(H, W, 3)`, whose long side is resized to what the encoder takes."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device).permute(2, 0, 1)[None].float()
        size = self._size(image.shape[0], image.shape[1])
        pixels = nn.functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
        mean, spread = (torch.tensor(v, device=self._device).view(1, 3, 1, 1) for v in (_MEAN, _SPREAD))
        pixels = nn.functional.pad((pixels - mean) / spread, (0, self._side - size[1], 0, self._side - size[0]))
        with self._computing():
            embedding: Tensor = self._model.get_image_embeddings(pixels)
        return self._waited_for(embedding)

    def decode(self, embedding: Tensor, point: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask `(H, W)` of the object at a point (row, column) of an image of `shape`."""
        scale = self._side / max(shape)
        where = torch.tensor([[[[point[1] * scale, point[0] * scale]]]], device=self._device)
        labels = torch.ones((1, 1, 1), dtype=torch.long, device=self._device)
        with self._computing():
            logits = self._model(
                image_embeddings=embedding, input_points=where, input_labels=labels, multimask_output=False
            ).pred_masks[:, 0]
        down, across = self._size(*shape)
        large = nn.functional.interpolate(
            logits.float(), size=(self._side, self._side), mode="bilinear", align_corners=False
        )
        own = nn.functional.interpolate(large[..., :down, :across], size=shape, mode="bilinear", align_corners=False)
        mask: NDArray[np.bool_] = (own[0, 0] > 0).cpu().numpy()
        return mask

    def _size(self, height: int, width: int) -> tuple[int, int]:
        scale = self._side / max(height, width)
        return round(height * scale), round(width * scale)

    @contextlib.contextmanager
    def _computing(self) -> Any:
        with torch.inference_mode(), autocast(self._device) if self._half else contextlib.nullcontext():
            yield

    def _waited_for(self, tensor: Tensor) -> Tensor:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return tensor
