"""CLIPSeg and SAM 3 of `transformers` behind one protocol; images are prepared here, so torchvision is not needed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from napari_amvlm.errors import PromptError
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Look:
    """How a model sees an image: resized to a square of `side` pixels, then `(x - mean) / std` for each channel."""

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Adapter:
    """What both have in common: they see one image at a time, whole, and give logits that are resized to its size.

    Parameters
    ----------
    network
        In eval mode, on the device that it computes on.
    name, source, licence
        As in `TextPrompted`.
    """

    architecture: ClassVar[str]
    """The class of `transformers`."""
    usual: ClassVar[Look]
    """Used where the folder has no preprocessor_config.json."""
    padded: ClassVar[bool]
    """Whether prompts are padded to the longest that can be read."""

    def __init__(self, network: nn.Module, tokenizer: Any, look: Look, *, name: str, source: str, licence: str) -> None:
        self.name, self.source, self.licence = name, source, licence
        self._network, self._tokenizer, self._look = network, tokenizer, look
        self._longest = int(network.config.text_config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
        self._lock = threading.Lock()  # tokenizers are not made for threads

    @torch.no_grad()
    def probability(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """See `TextPrompted.probability`."""
        size = tuple(images.shape[-2:])
        found = [self._logits(self._seen(images[i : i + 1]), self._read(text)) for i, text in enumerate(prompts)]
        logits = torch.cat([logits.float().reshape(1, 1, *logits.shape[-2:]) for logits in found])
        full = nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return full.sigmoid().to(images.device)

    def _seen(self, image: Tensor) -> Tensor:
        look, device = self._look, next(self._network.parameters()).device
        square = nn.functional.interpolate(
            image.float(), size=(look.side, look.side), mode="bilinear", align_corners=False, antialias=True
        )
        mean, std = (square.new_tensor(values).view(1, 3, 1, 1) for values in (look.mean, look.std))
        return ((square - mean) / std).to(device)

    def _read(self, prompt: str) -> dict[str, Tensor]:
        text = tidied(prompt)
        if not text:
            raise PromptError("The prompt is empty; type what to segment, for example 'nuclei'.")
        padding = {"padding": "max_length", "max_length": self._longest} if self.padded else {}
        with self._lock:
            tokens = self._tokenizer([text], return_tensors="pt", verbose=False, **padding)
        length = tokens["input_ids"].shape[1]
        if length > self._longest:
            raise PromptError(
                f"A prompt has {length} word pieces, more than the {self._longest} that {self.name} can read; "
                "shorten it."
            )
        device = next(self._network.parameters()).device
        return {name: tokens[name].to(device) for name in ("input_ids", "attention_mask")}

    def _logits(self, pixels: Tensor, text: dict[str, Tensor]) -> Tensor:
        """Return the logits of one image, `(..., h, w)`."""
        raise NotImplementedError


class ClipSeg(Adapter):
    """CLIPSeg (Lüddecke and Ecker, Image segmentation using text and image prompts, CVPR 2022)."""

    architecture = "CLIPSegForImageSegmentation"
    usual = Look(352, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    padded = False

    def _logits(self, pixels: Tensor, text: dict[str, Tensor]) -> Tensor:
        return self._network(pixel_values=pixels, **text).logits  # type: ignore[no-any-return]


class Sam3(Adapter):
    """SAM 3 (Carion et al., SAM 3: segment anything with concepts, 2025): its semantic map of all that a prompt names.

    The map is that of the library's own `post_process_semantic_segmentation`.
    """

    architecture = "Sam3Model"
    usual = Look(1008, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    padded = True

    def _logits(self, pixels: Tensor, text: dict[str, Tensor]) -> Tensor:
        return self._network(pixel_values=pixels, **text).semantic_seg  # type: ignore[no-any-return]
