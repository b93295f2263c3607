"""The baseline that every figure of the loop stands beside: a plain U-Net, random start, labelled images alone.

It learns from native-resolution crops with the loop's own views and loss, in the same time on the same device; it
knows no text, no pretraining and no unlabelled images.
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from napari_amvlm.config import STRIDE, ModelConfig
from napari_amvlm.device import autocast
from napari_amvlm.errors import ImageError, PromptError
from napari_amvlm.imaging import resize, to_rgb01
from napari_amvlm.imaging.scale import canvas_box, fit_square
from training.methods.backbone import PlainUNet
from training.runs.folder import save_tensors

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName

FORMAT = "plain-unet/1"
_CANVAS = ModelConfig().whole


class PlainPredictor:
    """A plain U-Net behind the interface that `evaluate_folder` scores.

    Parameters
    ----------
    prompts
        What its K masks show. A network of one mask gives that one, whatever it is asked.
    """

    def __init__(self, network: nn.Module, device: torch.device, prompts: Sequence[str] = ()) -> None:
        self._network, self._device = network.eval(), device
        self._prompts = tuple(prompts)
        self._pixels: NDArray[np.float32] | None = None
        self._found: dict[tuple[str, float], NDArray[np.float32]] = {}
        self._channel = 0
        self._scale, self._magnification = "tiles", 1.0

    @property
    def probability(self) -> NDArray[np.float32]:
        """Probability of what was last asked, `(H, W)`."""
        if self._pixels is None:
            raise ImageError("There is no image yet; call set_image first.")
        look = (self._scale, self._magnification)
        if look not in self._found:
            self._found[look] = self._whole(self._pixels) if self._scale == "whole" else self._enlarged(self._pixels)
        return np.asarray(self._found[look][self._channel])

    def set_image(self, image: NDArray[Any], *, key: Hashable | None = None) -> None:
        """Take the image to segment; `key` is not used."""
        self._pixels, self._found = to_rgb01(image), {}

    def predict(
        self, prompt: str, *, scale: Literal["auto"] | ScaleName = "auto", magnification: float = 1.0
    ) -> PlainPredictor:
        """Return itself, turned to `prompt`.

        Raises
        ------
        PromptError
            It knows several masks, and none of that name.
        """
        if len(self._prompts) > 1:
            if prompt not in self._prompts:
                raise PromptError(f"This plain U-Net knows {', '.join(self._prompts)}, but was asked {prompt!r}.")
            self._channel = self._prompts.index(prompt)
        self._scale, self._magnification = ("whole", 1.0) if scale == "whole" else ("tiles", magnification)
        return self

    def _masks(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the K probabilities of an image at its own size, in one piece."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(self._device)
        h, w = pixels.shape[-2:]
        padded = nn.functional.pad(pixels, (0, -w % STRIDE, 0, -h % STRIDE), mode="replicate")
        with torch.no_grad(), autocast(self._device):
            logits = self._network(padded.contiguous(memory_format=torch.channels_last))
        probabilities: NDArray[np.float32] = torch.sigmoid(logits.float())[0, :, :h, :w].cpu().numpy()
        return probabilities

    def _enlarged(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the K probabilities of an image that is looked at under a magnification."""
        shape = (image.shape[0], image.shape[1])
        if self._magnification == 1:
            return self._masks(image)
        large = resize(image, (round(shape[0] * self._magnification), round(shape[1] * self._magnification)))
        return _resized(self._masks(large), shape)

    def _whole(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the K probabilities of an image that is looked at on a square canvas."""
        shape = (image.shape[0], image.shape[1])
        top, left, height, width = canvas_box(shape, _CANVAS)
        probabilities = self._masks(fit_square(image, _CANVAS))[:, top : top + height, left : left + width]
        return _resized(probabilities, shape)


def _resized(masks: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.stack([np.clip(resize(mask, shape), 0, 1) for mask in masks])


def save_plain_unet(network: nn.Module, path: Path, prompts: Sequence[str]) -> None:
    """Write a network and what its masks show, as safetensors."""
    save_tensors(network.state_dict(), path, {"format": FORMAT, "prompts": json.dumps(list(prompts))})


def load_plain_unet(path: Path, device: torch.device) -> PlainPredictor | None:
    """Return the predictor of a file of `save_plain_unet`; None if it is a file of another kind."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        return None
    prompts = json.loads(metadata["prompts"])
    network = PlainUNet(len(prompts))
    network.load_state_dict(load_file(path))
    return PlainPredictor(network.to(device, memory_format=torch.channels_last), device, prompts)  # type: ignore[call-overload]
