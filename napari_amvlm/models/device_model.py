"""A model on its device: less at once when memory runs short, on the processor when the card is lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from napari_amvlm.byte_cache import ByteCache
from napari_amvlm.config import STRIDE
from napari_amvlm.device import lost_errors, retry_with_less
from napari_amvlm.errors import DeviceLostError
from napari_amvlm.imaging.turning import turned
from napari_amvlm.models.build import build_model
from napari_amvlm.models.inference import encode_image
from napari_amvlm.models.text_encoder import load_text_encoder
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.imaging import WorkingScale
    from napari_amvlm.imaging.prompted_image import PromptedImage
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.inference import EncodedImage

T = TypeVar("T")

CpuTensors = dict[str, Tensor]
"""Parameters and buffers of a model by name, in the machine's own memory."""

LEAST_TILE = 4 * STRIDE
"""Smallest side of a tile, pixels: a smaller one shows too little to recognise anything."""

_TEXT_ENCODER = "text_encoder."
_BATCH = 4
"""Tiles at once, until memory runs short."""


@dataclass(frozen=True)
class TileLoad:
    """Tiles at once, and their side in pixels."""

    batch: int
    side: int

    def less(self) -> TileLoad | None:
        """Return half the batch, or if it is one, half the side; None if that is too small.

        Examples
        --------
        >>> TileLoad(2, 288).less(), TileLoad(1, 288).less(), TileLoad(1, 64).less()
        (TileLoad(batch=1, side=288), TileLoad(batch=1, side=144), None)
        """
        if self.batch > 1:
            return replace(self, batch=self.batch // 2)
        side = self.side // 2 // STRIDE * STRIDE
        return replace(self, side=side) if side >= LEAST_TILE else None

    def change_from(self, before: TileLoad) -> str:
        """Return a sentence about what changed from `before`.

        Examples
        --------
        >>> TileLoad(1, 288).change_from(TileLoad(2, 288))
        'Memory ran short; going on with 1 tile at once.'
        """
        if self.side != before.side:
            return f"Memory ran short; going on with tiles of {self.side}x{self.side} pixels."
        return f"Memory ran short; going on with {counted(self.batch, 'tile')} at once."


class ServedModel:
    """A model on a device, what it has encoded, and how much of an image it computes at once.

    Parameters
    ----------
    model
        The model; it is moved to `device` and stays the same object.
    cache_bytes
        Encoded images beyond this size are forgotten, the oldest first.

    Attributes
    ----------
    cache
        Encoded images; it is emptied when memory runs short, or the device is lost.
    load
        How many tiles are computed at once now, and how large they are.
    """

    def __init__(self, model: AMVLM, device: torch.device, cache_bytes: int) -> None:
        self.device, self._cache_bytes, self._lost = device, cache_bytes, False
        self.cache: ByteCache[EncodedImage] = ByteCache(cache_bytes)
        self.replace(model)

    def replace(self, model: AMVLM) -> None:
        """Serve another model; what was encoded by the old one is forgotten."""
        self.cache.clear()
        # A card may be lost with all that is on it; the copy is small, for it holds no frozen text encoder.
        self._cpu_tensors = cpu_tensors(model)
        self.model = model.to(self.device).eval()
        self.load = TileLoad(_BATCH, model.config.tile)

    def encoded(
        self,
        image: PromptedImage,
        scale: WorkingScale,
        view: int = 0,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> EncodedImage:
        """Return a view of an image, encoded; only the image as it is is kept, for all views together are large."""

        def encode() -> EncodedImage:
            return encode_image(
                self.model,
                turned(image.pixels, view),
                scale,
                batch=self.load.batch,
                tile=self.load.side,
                keep_bytes=self._cache_bytes,
                on_progress=on_progress,
                should_stop=should_stop,
            )

        return encode() if view else self.cache.get_or_make((image.key, scale), encode)

    def run(
        self, answer: Callable[[], T], tell: Callable[[str], None], *, what: str, advice: str, least: TileLoad
    ) -> T:
        """Return the result of `answer`, with less at once or on the processor if needed.

        Parameters
        ----------
        answer
            Computes as much at once as `load` says when it is called.
        tell
            Called with a sentence for each step down.
        what, advice
            As in `memory_errors`.

        Raises
        ------
        OutOfMemoryError
            It does not fit.
        """

        def less() -> str | None:
            self.cache.clear()
            smaller, before = self.load.less(), self.load
            if smaller is None or smaller.side < least.side or smaller.batch < least.batch:
                return None
            self.load = smaller
            return smaller.change_from(before)

        def answered() -> T:
            with lost_errors(self.device):
                return retry_with_less(answer, less, tell, device=self.device, what=what, advice=advice)

        try:
            return answered()
        except DeviceLostError as error:
            if self._lost:
                raise
            self._fall_back()
            tell(f"{error} The processor takes over.")
        return answered()

    def _fall_back(self) -> None:
        self.cache.clear()
        self._lost, self.device = True, torch.device("cpu")
        put_on_cpu(self.model, self._cpu_tensors)


def cpu_tensors(model: AMVLM) -> CpuTensors:
    """Return copies of all parameters and buffers; a frozen text encoder is on the disk, and left out."""
    keep = model.config.text_encoder.trainable
    return {
        name: tensor.detach().cpu().clone()
        for name, tensor in _tensors(model).items()
        if keep or not name.startswith(_TEXT_ENCODER)
    }


def put_on_cpu(model: AMVLM, tensors: CpuTensors) -> None:
    """Replace the tensors of `model` by copies on the processor; its own, which may be lost, are not read.

    The model stays the same object, so whoever holds it goes on with it.

    Parameters
    ----------
    model
        Its device may be lost.
    tensors
        What `cpu_tensors` returned for it. A frozen text encoder is loaded again.
    """
    fresh = dict(tensors)
    if not any(name.startswith(_TEXT_ENCODER) for name in fresh):
        encoder = load_text_encoder(model.config.text_encoder)
        fresh |= {f"{_TEXT_ENCODER}{name}": tensor.detach() for name, tensor in _tensors(encoder).items()}
    for prefix, module in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(fresh[dot + name].clone(), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fresh[dot + name].clone()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def model_on_cpu(config: ModelConfig, tensors: CpuTensors) -> AMVLM:
    """Return a new model on the processor with the tensors that `cpu_tensors` returned."""
    model = build_model(config, seed=0)
    model.load_state_dict(tensors, strict=False)
    return model


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer, those too that are in no checkpoint."""
    every = dict(module.named_parameters(remove_duplicate=False))
    return every | dict(module.named_buffers(remove_duplicate=False))
