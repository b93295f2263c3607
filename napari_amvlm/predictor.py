"""The one stateful inference object: give it an image, then ask it prompts."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

from napari_amvlm.device import memory_errors, resolve_device
from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.prompted_image import PromptedImage
from napari_amvlm.imaging.turning import Views, names_position
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.models.device_model import LEAST_TILE, ServedModel, TileLoad
from napari_amvlm.models.feature_maps import feature_maps, image_embedding
from napari_amvlm.models.inference import (
    DecodedPrompt,
    auto_scale,
    decode_prompt,
    mean_answer,
    named_scale,
)
from napari_amvlm.models.prompt_prediction import predict_prompt, word_prediction
from napari_amvlm.models.text_prompted import answering, load_text_model, probability_of
from napari_amvlm.models.tile_maps import TileMaps, tile_maps
from napari_amvlm.models.words.taught import taught
from napari_amvlm.models.words.word_list import nearest_concept
from napari_amvlm.prediction import Nearest, Prediction, not_taught_words
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from napari_amvlm.imaging import WorkingScale
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.feature_maps import FeatureMaps
    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.models.text_prompted import TextPrompted

_LOG = logging.getLogger(__name__)

ScaleChoice = Literal["auto", "whole", "tiles"]
T = TypeVar("T")


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
    views
        In how many turned and mirrored views an image is seen that is looked at in tiles: 1, 4 or 8. The answer is the
        mean of their logits, a little better and so many times slower. An image that is looked at whole, or asked for
        something at a named place, is seen as it is: turned, its left would not be left.
    text_model
        Another text-prompted model, which answers for what `model` was not taught; it may be set later.
    """

    def __init__(
        self,
        model: AMVLM,
        *,
        device: str = "auto",
        info: ModelInfo | None = None,
        cache_bytes: int = 1 << 30,
        views: Views = 1,
        text_model: TextPrompted | None = None,
    ) -> None:
        self.info, self.text_model = info, text_model
        self._views = views
        self._served = ServedModel(model, resolve_device(device), cache_bytes)
        self._image: PromptedImage | None = None
        self._lock = threading.RLock()

    @classmethod
    def from_file(
        cls,
        name_or_path: str | Path | None = None,
        *,
        device: str = "auto",
        cache_bytes: int = 1 << 30,
        views: Views = 1,
        text_model: str = "",
    ) -> Predictor:
        """Load an installed model by name, or a model file; None takes the default model.

        `text_model` is the folder or `hub:OWNER/NAME` of another one, which answers for what it was not taught.
        """
        other = load_text_model(text_model, device=resolve_device(device)) if text_model else None
        model, info = load_model(find_model(name_or_path))
        return cls(model, device=device, info=info, cache_bytes=cache_bytes, views=views, text_model=other)

    @property
    def model(self) -> AMVLM:
        """The model that is served."""
        return self._served.model

    @property
    def device(self) -> torch.device:
        """Where it computes; the processor, once a card was lost."""
        return self._served.device

    @property
    def served(self) -> tuple[AMVLM, ModelInfo | None]:
        """The model that is served and what its file says of it, both of one moment."""
        with self._lock:
            return self._served.model, self.info

    def replace_model(self, model: AMVLM, info: ModelInfo | None = None) -> None:
        """Serve another model from now on; what was cached of the old one is forgotten."""
        with self._lock:
            self._served.replace(model)
            self.info = info

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
        read = PromptedImage.read(image, key, limits)
        with self._lock:
            self._image = read

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
            return auto_scale(self.model, prompt, shape, gray=gray, magnification=magnification)
        return named_scale(self.model, scale, shape, magnification=magnification)

    def predict(
        self,
        prompt: str,
        *,
        scale: ScaleChoice = "auto",
        magnification: float = 1.0,
        on_progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        on_message: Callable[[str], None] | None = None,
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
            Called with (tiles done, tiles in all), for the image side and then for the prompt, of each view.
        should_stop
            Asked before every batch of tiles.
        on_message
            Told when memory runs short and fewer, then smaller tiles are taken at once, and when the device is lost
            and the processor takes over; by default that is logged.

        Raises
        ------
        ImageError
            No image was set.
        PromptError
            The prompt is empty or too long.
        Cancelled
            `should_stop` said so.
        OutOfMemoryError
            The device has not enough memory, not even for one small tile at a time; what was cached is forgotten.
        """

        def predict_word(word: str) -> Prediction:
            return self._predict_word(word, scale, magnification, on_progress, should_stop, on_message)

        with self._lock:
            found = predict_prompt(self.model.config, prompt, predict_word)
            return replace(found, model=self.info.sha256 if self.info is not None else None)

    def _predict_word(
        self,
        prompt: str,
        scale: ScaleChoice,
        magnification: float,
        on_progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
        on_message: Callable[[str], None] | None,
    ) -> Prediction:
        started = time.perf_counter()
        with self._lock:
            image = self._current()
            chosen = self.scale_for(prompt, image.shape, scale=scale, gray=image.gray, magnification=magnification)
            other = answering(self.model.config, self.text_model, prompt)
            if other is not None:
                return self._predict_by(other, image, prompt, chosen, started)
            views = range(self._views if chosen.name == "tiles" and not names_position(prompt) else 1)

            def look(view: int) -> DecodedPrompt:
                encoded = self._served.encoded(image, chosen, view, on_progress=on_progress, should_stop=should_stop)
                answer = decode_prompt(self.model, encoded, prompt, on_progress=on_progress, should_stop=should_stop)
                return answer.turned_back(view)

            answer = self._run(
                lambda: mean_answer([look(view) for view in views]),
                advice="look at it whole, choose a smaller magnification, or close other programs",
                # A whole image is one tile of a fixed size.
                least=TileLoad(1, LEAST_TILE if chosen.name == "tiles" else self._served.load.side),
                tell=on_message,
            )
        seconds = time.perf_counter() - started
        found = word_prediction(self.model.config, prompt, answer, chosen, seconds, gray=image.gray)
        return found if found.taught or found.untaught_kind else replace(found, nearest=self.nearest(prompt))

    def _predict_by(
        self, other: TextPrompted, image: PromptedImage, prompt: str, scale: WorkingScale, started: float
    ) -> Prediction:
        """Return the answer of another text model, which sees the image whole; it is as present as its surest pixel."""
        with memory_errors(self.device, "this image", f"remove the text model {other.name}, or close other programs"):
            found = probability_of(other, image.pixels, prompt)
        seconds = time.perf_counter() - started
        return Prediction(prompt, found, found, float(found.max()), scale, seconds, by=other.name)

    def knows(self, prompt: str) -> bool:
        """Tell whether a prompt is answered: by the model, which was taught it, or by another text model."""
        return self.text_model is not None or taught(self.model.config, prompt) is not None

    def nearest(self, prompt: str) -> Nearest | None:
        """Return the concept of the model whose name is nearest to a prompt; None where it knows no concept."""
        found = nearest_concept(self.model, prompt)
        return Nearest(*found) if found is not None else None

    def not_taught(self, prompts: Iterable[str]) -> dict[str, str]:
        """Return a sentence about each prompt that nobody answers: the nearest concept, and what to do."""
        unknown = [prompt for prompt in prompts if not self.knows(prompt)]
        return {prompt: not_taught_words(prompt, self.nearest(prompt)) for prompt in unknown}

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
            image = self._current()
            scale = named_scale(self.model, "whole", image.shape)
            return self._run(
                lambda: image_embedding(self.model, self._served.encoded(image, scale, should_stop=should_stop)),
                advice="close other programs",
            )

    def features(
        self,
        prompt: str,
        *,
        scale: ScaleChoice = "auto",
        magnification: float = 1.0,
        box: tuple[int, int, int, int] | None = None,
        image: NDArray[np.generic] | None = None,
        key: Hashable | None = None,
        limits: tuple[float, float] | None = None,
    ) -> FeatureMaps:
        """Return the maps that strokes of a prompt spread on (`strokes.Spread`), out of the cache where it has them.

        Parameters
        ----------
        prompt, scale, magnification
            As in `predict`: they choose the working scale, and nothing else.
        box
            The part of the image that is wanted: top, left, height and width in pixels of the image; None is all of it.
            An image that is looked at whole is always given whole.
        image, key, limits
            Another image than the one that was set, which stays set, as in `set_image`.

        Raises
        ------
        ImageError
            No image was set, the box leaves it, or so large a part is not looked at in one piece.
        OutOfMemoryError
            The device has not enough memory; what was cached is forgotten.
        """
        given = None if image is None else PromptedImage.read(image, key, limits)
        with self._lock:
            wanted = given or self._current()
            chosen = self.scale_for(prompt, wanted.shape, scale=scale, gray=wanted.gray, magnification=magnification)
            part = wanted if box is None or chosen.name == "whole" else wanted.part(box)
            return self._run(
                lambda: feature_maps(self._served.encoded(part, chosen)),
                advice="zoom in, so that a smaller part is in view, or close other programs",
            )

    def predict_tiles(self, tiles: NDArray[np.float32], prompts: Sequence[str], *, separate: bool = False) -> TileMaps:
        """Segment what each prompt says in tiles of a larger image, all of them in one batch; nothing is cached.

        Parameters
        ----------
        tiles
            float32 `(B, S, S, 3)` in [0, 1] at working scale; S a multiple of 16.
        prompts
            P of them; the image side is computed once for all.
        separate
            Whether the depth in objects is wanted too.

        Raises
        ------
        PromptError
            A prompt is empty or too long.
        OutOfMemoryError
            The device has not enough memory; what was cached is forgotten.
        """
        count, height, width = tiles.shape[:3]
        what = f"{counted(count, 'tile')} of {height}x{width} pixels"
        advice = "take fewer or smaller tiles, or close other programs"
        with self._lock:
            maps = self._run(lambda: tile_maps(self.model, tiles, prompts, separate=separate), advice=advice, what=what)
            for row, prompt in enumerate(prompts):
                other = answering(self.model.config, self.text_model, prompt)
                if other is not None:
                    with memory_errors(self.device, what, advice):
                        maps = maps.with_row(row, [probability_of(other, tile, prompt) for tile in tiles])
            return maps

    def _current(self) -> PromptedImage:
        if self._image is None:
            raise ImageError("There is no image to look at; choose one first.")
        return self._image

    def _run(
        self,
        work: Callable[[], T],
        *,
        advice: str,
        what: str = "this image",
        least: TileLoad | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> T:
        """Return the result of `work`, see `ServedModel.run`; without `least` it needs the memory of one go."""
        least = least or self._served.load
        return self._served.run(work, tell or _LOG.warning, what=what, advice=advice, least=least)
