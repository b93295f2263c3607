"""Draws the batches of pretraining: views of images, prompts with their targets, and captions."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_amvlm.imaging.scale import fit_square
from napari_amvlm.learning.views import AppearanceConfig, GeometryConfig, random_affine, random_crop, strong_view, warp
from training.pretraining.prompts import ABSENT, CAPTIONS, NEVER_THERE, concept_called, density_called, wordings
from training.pretraining.text_views import drop_words, swap_sides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from training.pretraining.data import TaughtImage

TISSUE = GeometryConfig(rotation=180, zoom=(0.85, 1.18), shear=0.1, flip=0.5)
XRAY = GeometryConfig(rotation=12, zoom=(0.75, 1.25), shear=0.05, shift=0.1, flip=0.5)
SPINE = GeometryConfig(rotation=15, zoom=(0.75, 1.4), shear=0.05, shift=0.12, flip=0.3)
TISSUE_LOOK = AppearanceConfig(stain=0.45, intensity=0.3, colour=0.15, blur=1.5, noise=0.04, gray=0.1)
WHOLE_LOOK = AppearanceConfig(stain=0, colour=0, intensity=0.4, shade=0.5, blur=1.0, noise=0.05, invert=0.05)
_TILE_SOURCES = ("DSB2018", "TNBC")
_WHOLE_SOURCES = ("CXR-Lungs", "SPIDER-Spine")
OBJECT_SIZES = (13.0, 44.0)
"""Range of nuclear diameters that tissue is zoomed to, pixels; 40x slides have 20 to 35."""


_DENIED, _TAUGHT = 0.4, 0.75
"""How often an image is asked for what it does not show, and how often that is a concept that others show."""


@dataclass(frozen=True)
class Batch:
    """B views with N prompts asked of them.

    Attributes
    ----------
    images, whole
        `(B, 3, H, W)` in [0, 1], and bool `(B,)`.
    prompts, concepts, index, targets
        N wordings, the concepts they mean, the image each is asked of `(N,)`, and the right masks `(N, 1, H, W)`.
    captions, meanings
        B whole-image sentences, and what they mean: equal meanings are not pushed apart.
    images_a, captions_a
        Augmented views, for the momentum encoder: the same images with another look, and the same said differently.
    """

    images: Tensor
    whole: Tensor
    prompts: list[str]
    concepts: list[str]
    index: Tensor
    targets: Tensor
    captions: list[str]
    meanings: list[str]
    images_a: Tensor
    captions_a: list[str]


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one step of a run; a run that goes on draws the same there."""
    return seed * 1_000_003 + step


class BatchSource:
    """Draws batches; the batch of a step depends on the seed and the step alone, so a resumed run sees the same.

    Parameters
    ----------
    tile_batch, whole_batch
        Number of images in a batch of either kind.
    size
        Side of a crop of tissue, pixels.
    tile_every
        Every so many steps the batch is tissue; the others are whole images.
    negatives
        Images of the other kinds on top of a batch, seen at its scale and asked only for what they do not show: parts
        of X-rays and spines among tissue, whole pieces of tissue among X-rays and spines.
    """

    def __init__(
        self,
        images: list[TaughtImage],
        *,
        seed: int,
        tile_batch: int,
        whole_batch: int,
        size: int,
        tile_every: int = 2,
        negatives: int = 0,
    ) -> None:
        self._by_source: dict[str, list[TaughtImage]] = {}
        for image in images:
            self._by_source.setdefault(image.source, []).append(image)
        self._tile_every, self._negatives = tile_every, negatives
        self._seed, self._tile_batch, self._whole_batch, self._size = seed, tile_batch, whole_batch, size
        # Whole images come on a canvas; tissue among them is fitted into the same.
        self._canvas = next((i.image.shape[0] for i in images if i.kind != "tissue"), size)

    def draw(self, step: int) -> Batch:
        """Return the batch of `step`: tissue or whole images."""
        number = step_seed(self._seed, step)
        chance, generator = random.Random(number), torch.Generator().manual_seed(number)
        tissue = [source for source in _TILE_SOURCES if source in self._by_source]
        whole = [source for source in _WHOLE_SOURCES if source in self._by_source]
        tiles = bool(tissue) and (not whole or step % self._tile_every == 0)
        if tiles:
            chosen = [chance.choice(self._by_source[chance.choice(tissue)]) for _ in range(self._tile_batch)]
        else:
            chosen = [chance.choice(self._by_source[whole[i % len(whole)]]) for i in range(self._whole_batch)]
        others = whole if tiles else tissue
        if others:
            chosen += [chance.choice(self._by_source[chance.choice(others)]) for _ in range(self._negatives)]
        views = [self._view(image, chance, generator, tiles=tiles) for image in chosen]
        plain = torch.stack([v[0] for v in views])
        looks = _other_looks(plain, chosen, generator), _other_looks(plain, chosen, generator)
        return _ask(chosen, looks, [v[1] for v in views], chance, tiles=tiles)

    def _view(
        self, image: TaughtImage, chance: random.Random, generator: torch.Generator, *, tiles: bool
    ) -> tuple[Tensor, Tensor]:
        if not tiles:
            return _whole_view(image, self._canvas, generator)
        if image.kind == "tissue":
            return self._tissue_view(image, chance, generator)
        # A part of an X-ray or a spine, as a prompt for tissue would see it: in tiles at native scale, more or less.
        pixels = torch.from_numpy(image.full).permute(2, 0, 1).float() / 255
        nothing = torch.zeros(1, *pixels.shape[-2:])
        return random_crop(pixels, nothing, self._size, TISSUE, generator, zoom=chance.uniform(0.7, 2.0))

    def _tissue_view(
        self, image: TaughtImage, chance: random.Random, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        low, high = (math.log(s) for s in OBJECT_SIZES)
        zoom = math.exp(chance.uniform(low, high)) / image.object_size
        pixels, masks = _tensors(image)
        return random_crop(pixels, masks, self._size, TISSUE, generator, zoom=min(max(zoom, 0.4), 2.5))


def _tensors(image: TaughtImage) -> tuple[Tensor, Tensor]:
    pixels = torch.from_numpy(image.image).permute(2, 0, 1).float() / 255
    return pixels, torch.from_numpy(image.masks).float()


def _whole_view(image: TaughtImage, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a view of the whole image; tissue, which is kept at its own size, is fitted into a canvas first."""
    if image.kind == "tissue":
        pixels = torch.from_numpy(fit_square(image.image, side)).permute(2, 0, 1) / 255
        masks = torch.from_numpy(np.stack([fit_square(m > 0, side) for m in image.masks]))
    else:
        pixels, masks = _tensors(image)
    geometry = {"xray": XRAY, "spine": SPINE, "tissue": TISSUE}[image.kind]
    theta = random_affine(1, geometry, generator)
    views, labels = warp(pixels[None], masks[None], theta, pixels.shape[-1], mirror=False)
    if image.kind == "xray" and bool(torch.det(theta[0, :, :2]) < 0):
        # What is on the right of a mirrored image is called what is on the right of any: the patient's left.
        labels = labels[:, [image.concepts.index(swap_sides(c)) for c in image.concepts]]
    return views[0], labels[0]


def _other_looks(images: Tensor, chosen: list[TaughtImage], generator: torch.Generator) -> Tensor:
    """Return the images with another look each, tissue with other stains."""
    tissue = torch.tensor([image.kind == "tissue" for image in chosen])
    out = images.clone()
    for rows, look in ((tissue, TISSUE_LOOK), (~tissue, WHOLE_LOOK)):
        if bool(rows.any()):
            out[rows] = strong_view(images[rows], look, generator)
    return out


class _Question(NamedTuple):
    """What is asked of one image of a batch, by number, and the mask `(1, H, W)` that is right."""

    image: int
    concept: str
    prompt: str
    target: Tensor


def _ask(
    chosen: list[TaughtImage],
    looks: tuple[Tensor, Tensor],
    masks: list[Tensor],
    chance: random.Random,
    *,
    tiles: bool,
) -> Batch:
    questions: list[_Question] = []
    captions: list[tuple[str, str, str]] = []
    for i, image in enumerate(chosen):
        questions += _questions(i, image, masks[i], chance, tiles=tiles)
        captions.append(_captions(image, float(masks[i][0].mean()), chance))
    index, concepts, prompts, targets = zip(*questions, strict=True)
    caption, meanings, caption_a = (list(column) for column in zip(*captions, strict=True))
    return Batch(
        looks[0],
        torch.full((len(chosen),), not tiles),
        list(prompts),
        list(concepts),
        torch.tensor(index),
        torch.stack(targets),
        caption,
        meanings,
        looks[1],
        caption_a,
    )


def _questions(
    index: int, image: TaughtImage, masks: Tensor, chance: random.Random, *, tiles: bool
) -> Iterator[_Question]:
    """Yield up to two concepts of an image seen at its own scale, and often one that it does not show."""
    at_home = (image.kind == "tissue") == tiles
    for k in chance.sample(range(len(image.concepts)), min(2, len(image.concepts)) if at_home else 0):
        yield _Question(index, image.concepts[k], chance.choice(wordings(image.concepts[k])), masks[k : k + 1])
    if not at_home or chance.random() < _DENIED:
        taught = chance.random() < _TAUGHT
        denied = [c for c in ABSENT[image.kind] if at_home or (concept_called(c).scale == "tiles") == tiles]
        concept = chance.choice(denied) if taught else chance.choice(NEVER_THERE)
        prompt = chance.choice(wordings(concept)) if taught else concept
        yield _Question(index, concept, prompt, torch.zeros_like(masks[:1]))


def _captions(image: TaughtImage, share: float, chance: random.Random) -> tuple[str, str, str]:
    """Return a caption, its meaning, and another wording, which may also lose words that say nothing."""
    meaning = density_called(share) if image.kind == "tissue" else image.kind
    caption = chance.choice(CAPTIONS[image.kind]).format(meaning)
    return caption, meaning, drop_words(chance.choice(CAPTIONS[image.kind]).format(meaning), chance)
