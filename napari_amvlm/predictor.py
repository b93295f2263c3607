"""The one stateful inference object: give it an image, then ask it prompts."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_amvlm.device import memory_errors, release_memory, resolve_device
from napari_amvlm.errors import ImageError, OutOfMemoryError
from napari_amvlm.imaging import WorkingScale, to_rgb01
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.models.embedding import image_embedding
from napari_amvlm.models.inference import (
    DecodedPrompt,
    EncodedImage,
    auto_scale,
    decode_prompt,
    encode_image,
    named_scale,
)
from napari_amvlm.models.tile_maps import TileMaps, tile_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.model_info import ModelInfo

_LOG = logging.getLogger(__name__)
_BATCH = 4
"""Tiles at once, until memory runs short."""

_NO_IMAGE = "There is no image to look at; choose one first."

ScaleChoice = Literal["auto", "whole", "tiles"]


@dataclass(frozen=True)
class Prediction:
    """What one prompt found in one image.

    Attributes
    ----------
    prompt
        What was asked.
    probability
        Of each pixel, float32 `(H, W)` in [0, 1], at the image's own size.
    text_probability
        The text-guided mask alone, before the U-Net; same shape.
    presence
        Probability that what the prompt says is in the image at all.
    scale
        Working scale that was used.
    seconds
        Wall time that the answer took.
    """

    prompt: str
    probability: NDArray[np.float32]
    text_probability: NDArray[np.float32]
    presence: float
    scale: WorkingScale
    seconds: float

    def mask(self, threshold: float = 0.5) -> NDArray[np.bool_]:
        """Return the pixels whose probability is at least `threshold`, `(H, W)`."""
        return self.probability >= threshold


@dataclass
class _CurrentImage:
    key: Hashable
    pixels: NDArray[np.float32]
    gray: bool


class Predictor:
    """Answers prompts about images; safe to share between threads.

    The image side of the network runs once for each image and working scale and is kept, so that a second prompt
    costs the decoder alone.

    Parameters
    ----------
    model
        The model to serve.
    device
        "auto", "cpu", "cuda", "cuda:1", "mps".
    info
        What its file says of it, if it came from a file.
    cache_bytes
        Encoded images beyond this size are forgotten, the oldest first.
    """

    def __init__(
        self, model: AMVLM, *, device: str = "auto", info: ModelInfo | None = None, cache_bytes: int = 1 << 30
    ) -> None:
        self._device = resolve_device(device)
        self._model = model.to(self._device).eval()
        self.info = info
        self._cache_bytes = cache_bytes
        self._batch = _BATCH
        self._cache: OrderedDict[Hashable, EncodedImage] = OrderedDict()
        self._image: _CurrentImage | None = None
        self._lock = threading.RLock()

    @classmethod
    def from_file(
        cls, name_or_path: str | Path | None = None, *, device: str = "auto", cache_bytes: int = 1 << 30
    ) -> Predictor:
        """Load an installed model by name, or a model file; None takes the default model."""
        model, info = load_model(find_model(name_or_path))
        return cls(model, device=device, info=info, cache_bytes=cache_bytes)

    @property
    def model(self) -> AMVLM:
        """The model that is served."""
        return self._model

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    def replace_model(self, model: AMVLM, info: ModelInfo | None = None) -> None:
        """Serve another model from now on; what was cached of the old one is forgotten."""
        with self._lock:
            self._model = model.to(self._device).eval()
            self.info = info
            self._cache.clear()

    def set_image(
        self,
        image: NDArray[np.generic],
        *,
        key: Hashable | None = None,
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Choose the image that the next prompts are about.

        Parameters
        ----------
        image
            `(H, W)`, `(H, W, 3)` or `(H, W, 4)`, any dtype, see `imaging.to_rgb01`.
        key
            Identifies the image: the same key means the same pixels. None means an image never seen before.
        limits
            Values that become 0 and 1, for a slice of a stack; by default what `imaging.to_rgb01` finds.

        Raises
        ------
        ImageError
            The image cannot be used.
        """
        pixels = to_rgb01(image, limits=limits)
        gray = bool(np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2]))
        with self._lock:
            self._image = _CurrentImage(object() if key is None else key, pixels, gray)

    def scale_for(
        self,
        prompt: str,
        shape: tuple[int, int],
        *,
        scale: ScaleChoice = "auto",
        gray: bool = True,
        magnification: float = 1.0,
    ) -> WorkingScale:
        """Return the working scale that `predict` would use for an image of `shape`."""
        if scale == "auto":
            return auto_scale(self._model, prompt, shape, gray=gray, magnification=magnification)
        return named_scale(self._model, scale, shape, magnification=magnification)

    def predict(
        self,
        prompt: str,
        *,
        scale: ScaleChoice = "auto",
        magnification: float = 1.0,
        on_progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Prediction:
        """Segment what `prompt` says in the current image.

        Parameters
        ----------
        prompt
            A few words.
        scale
            "tiles" for texture-like objects, "whole" for anatomy, "auto" to let the model's concept list decide.
        magnification
            Tiles only: the image is enlarged by this factor first.
        on_progress
            Called with (tiles done, tiles in all), for the image side and then for the prompt.
        should_stop
            Asked before every batch of tiles.

        Raises
        ------
        ImageError
            No image was set.
        PromptError
            The prompt is empty or too long.
        Cancelled
            `should_stop` said so.
        OutOfMemoryError
            The device has not enough memory, not even for one tile at a time; what was cached is forgotten.
        """
        started = time.perf_counter()
        with self._lock:
            if self._image is None:
                raise ImageError(_NO_IMAGE)
            shape = (self._image.pixels.shape[0], self._image.pixels.shape[1])
            chosen = self.scale_for(prompt, shape, scale=scale, gray=self._image.gray, magnification=magnification)
            try:
                found = self._answer(self._image, chosen, prompt, on_progress, should_stop)
            except OutOfMemoryError:
                if self._batch == 1:
                    raise
                _LOG.warning("Memory ran short on %s; going on with one tile at a time.", self._device)
                self._batch = 1
                found = self._answer(self._image, chosen, prompt, on_progress, should_stop)
        seconds = time.perf_counter() - started
        return Prediction(prompt, found.probability, found.text_probability, found.presence, chosen, seconds)

    def describe(self, *, should_stop: Callable[[], bool] | None = None) -> NDArray[np.float32]:
        """Return what the current image looks like, whatever is asked of it: its embedding, seen whole.

        Parameters
        ----------
        should_stop
            Asked before the image is encoded.

        Returns
        -------
        ndarray
            float32 `(d,)`, of length 1. Images that look alike have nearly the same. Fine-tuning does not change it:
            the image encoder and its projection stay as they are.

        Raises
        ------
        ImageError
            No image was set.
        Cancelled
            `should_stop` said so.
        OutOfMemoryError
            The device has not enough memory; what was cached is forgotten.
        """
        with self._lock:
            if self._image is None:
                raise ImageError(_NO_IMAGE)
            scale = named_scale(self._model, "whole", (self._image.pixels.shape[0], self._image.pixels.shape[1]))
            with self._forgetting_when_full("this image", "close other programs"):
                return image_embedding(self._model, self._encoded(self._image, scale, None, should_stop))

    def predict_tiles(self, tiles: NDArray[np.float32], prompts: Sequence[str]) -> TileMaps:
        """Segment what each prompt says in tiles of a larger image, all of them in one batch; nothing is cached.

        Parameters
        ----------
        tiles
            float32 `(B, S, S, 3)` in [0, 1] at working scale; S a multiple of 16.
        prompts
            P of them; the image side is computed once for all.

        Raises
        ------
        PromptError
            A prompt is empty or too long.
        OutOfMemoryError
            The device has not enough memory; what was cached is forgotten.
        """
        count, height, width = tiles.shape[:3]
        what = f"{count} {'tile' if count == 1 else 'tiles'} of {height}x{width} pixels"
        with self._lock, self._forgetting_when_full(what, "take fewer or smaller tiles, or close other programs"):
            return tile_maps(self._model, tiles, prompts)

    def _answer(
        self,
        image: _CurrentImage,
        scale: WorkingScale,
        prompt: str,
        on_progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> DecodedPrompt:
        mend = "look at it whole, choose a smaller magnification, or close other programs"
        with self._forgetting_when_full("this image", mend):
            encoded = self._encoded(image, scale, on_progress, should_stop)
            return decode_prompt(self._model, encoded, prompt, on_progress=on_progress, should_stop=should_stop)

    @contextlib.contextmanager
    def _forgetting_when_full(self, what: str, mend: str) -> Iterator[None]:
        try:
            with memory_errors(self._device, what, mend):
                yield
        except OutOfMemoryError:
            self._cache.clear()
            release_memory(self._device)
            raise

    def _encoded(
        self,
        image: _CurrentImage,
        scale: WorkingScale,
        on_progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> EncodedImage:
        key = (image.key, scale)
        if key not in self._cache:
            self._cache[key] = encode_image(
                self._model,
                image.pixels,
                scale,
                batch=self._batch,
                keep_bytes=self._cache_bytes,
                on_progress=on_progress,
                should_stop=should_stop,
            )
        self._cache.move_to_end(key)
        while len(self._cache) > 1 and sum(e.nbytes for e in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)
        return self._cache[key]
