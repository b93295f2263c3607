"""Step 1 as published: images and their captions alone, of one data set; masks take no part (Pan et al. 2025)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from napari_amvlm.byte_cache import ByteCache
from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging import binary_mask, read_image
from napari_amvlm.learning.crop_source import TILE_GEOMETRY, WHOLE_GEOMETRY
from napari_amvlm.learning.views import random_affine, strong_view, warp
from napari_amvlm.models.image_encoder import load_vit
from training.datasets.mask_captions import caption_of
from training.datasets.stored import CACHE_BYTES, StoredImage
from training.pretraining.batches import TISSUE_LOOK, WHOLE_LOOK, Batch, step_seed
from training.pretraining.run import Pretraining
from training.pretraining.text_views import drop_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.config import ModelConfig, ScaleName
    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.models.text_encoder import TextEncoder
    from training.datasets.opening import DatasetSplit
    from training.datasets.stored import Cache
    from training.pretraining.recipe import Recipe

CaptionSource = Literal["workbook", "masks"]
"""The captions of the set, or sentences made of its masks, those of unlabelled images too."""


@dataclass(frozen=True)
class CaptionedImage:
    """An image and a sentence about it."""

    name: str
    image: StoredImage
    caption: str
    scale: ScaleName


def captioned_images(split: DatasetSplit, source: CaptionSource, side: int) -> list[CaptionedImage]:
    """Return all training images of a data set with a caption; they are read when they are drawn.

    Raises
    ------
    DatasetError
        There are fewer than two different captions.
    """
    cache: Cache = ByteCache(CACHE_BYTES)
    found: list[CaptionedImage] = []
    for pair in (*split.labelled, *split.unlabelled):
        caption = pair.caption if source == "workbook" else _from_masks(pair, split)
        if caption:
            found.append(CaptionedImage(pair.name, StoredImage(pair, side, cache), caption, split.spec.scale))
    different = len({image.caption for image in found})
    if different < 2:
        raise DatasetError(
            f"{split.spec.name} has {different} different captions on {len(found)} training images, but step 1 "
            'compares captions; add a *_text.xlsx of Image,Description beside img/, or set captions = "masks".'
        )
    return found


def _from_masks(pair: ImagePair, split: DatasetSplit) -> str | None:
    if pair.mask is None:
        return None
    labels = pair.labels(read_image(pair.image).data.shape)
    masks: dict[str, NDArray[np.bool_]] = {t: binary_mask(labels, value) for t, value in split.prompts().items()}
    return caption_of(masks)


class PairSource:
    """Draws batches of images and captions; that of a step depends on the seed and the step alone.

    Images are not mirrored where they are seen whole: their captions may name sides. The augmented view of a caption
    loses words that say nothing; equal captions are not pushed apart.
    """

    def __init__(self, images: Sequence[CaptionedImage], *, batch: int, seed: int) -> None:
        self._images, self._batch, self._seed = images, min(batch, len(images)), seed

    def draw(self, step: int) -> Batch:
        """Return the batch of `step`; no prompt is asked in it."""
        number = step_seed(self._seed, step)
        chance, generator = random.Random(number), torch.Generator().manual_seed(number)
        chosen = chance.sample(range(len(self._images)), self._batch)
        images = [self._images[i] for i in chosen]
        pixels = torch.stack([torch.from_numpy(i.image.read()).permute(2, 0, 1) for i in images])
        whole = images[0].scale == "whole"
        theta = random_affine(len(images), WHOLE_GEOMETRY if whole else TILE_GEOMETRY, generator)
        side = pixels.shape[-1]
        views, _ = warp(pixels, torch.zeros(len(images), 1, side, side), theta, side, mirror=not whole)
        looks = [strong_view(views, WHOLE_LOOK if whole else TISSUE_LOOK, generator) for _ in range(2)]
        captions = [i.caption for i in images]
        said = [drop_words(caption, chance) for caption in captions]
        nothing = torch.zeros(0, 1, side, side)
        none = torch.zeros(0, dtype=torch.int64)
        seen = torch.full((len(images),), whole)
        return Batch(looks[0], seen, [], [], none, nothing, captions, captions, looks[1], said)


class PairRun(Pretraining):
    """A run of step 1 alone: its model was taught no concept yet, and nothing of it can be scored."""

    def __init__(
        self,
        recipe: Recipe,
        images: list[CaptionedImage],
        out: Path,
        device: torch.device,
        *,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        super().__init__(recipe, images, out, device, text_encoder=text_encoder)
        if recipe.vit is not None:
            load_vit(self.model.image_encoder, recipe.vit)
            self.average.module.load_state_dict(self.parts.state_dict())
            self.alignment.begin_at(self.model)

    def _prepare(self, images: list[Any]) -> ModelConfig:
        recipe = self.recipe
        self.validation = []
        self.source = PairSource(images, batch=recipe.batch, seed=recipe.seed)
        return recipe.model.model_copy(update={"concepts": ()})

    def _score(self) -> list[Any]:
        """Return nothing: a text mask exists from step 2 on."""
        return []
