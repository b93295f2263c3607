"""Images whose objects are known, and crops of them with the model's features."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_amvlm.device import autocast
from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging import read_folder, read_image, read_mask, to_rgb01
from napari_amvlm.imaging.depth_objects import depth_of
from napari_amvlm.learning.views import AppearanceConfig, GeometryConfig, random_crop, strong_view
from napari_amvlm.models.amvlm import TextFeatures
from napari_amvlm.models.words.taught import taught
from training.pretraining.data import held_out, is_held_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.models.amvlm import AMVLM
    from training.objects.recipe import ObjectRecipe, ObjectSet

_EVEN = 0.88
"""Least share of its convex hull that a piece fills if it is taken for one object."""

_SMALLEST = 20
_BETWEEN = 7
"""Pixels with two objects within a square of this side are between objects that touch."""

_TOUCHING = 3.0
"""Weight of these."""


@dataclass(frozen=True, eq=False)
class ObjectImage:
    """An image and its objects.

    Attributes
    ----------
    name
        `FOLDER/STEM`.
    spec
        The set.
    image
        float32 `(H, W, 3)` in [0, 1].
    objects
        Numbers, int32 `(H, W)`.
    unknown
        Pixels of which nobody knows whose they are, bool `(H, W)`.
    """

    name: str
    spec: ObjectSet
    image: NDArray[np.float32]
    objects: NDArray[np.int32]
    unknown: NDArray[np.bool_]


def is_validation(spec: ObjectSet, stem: str) -> bool:
    """Tell whether an image is for validation: by the rule of the pretraining, one in eight by a hash of its name."""
    return spec.holding_out and zlib.crc32(f"{spec.folder}/{stem}".encode()) % 8 == 0


def load_objects(recipe: ObjectRecipe, data: Path, config: ModelConfig, *, validation: bool) -> list[ObjectImage]:
    """Read all images of one part of the sets whose prompts the model was taught; samples that ship are left out.

    Raises
    ------
    DatasetError
        A set cannot be used, or there is nothing to learn from.
    """
    sets = [(spec, validation) for spec in recipe.sets]
    if validation:
        sets += [(spec, False) for spec in recipe.scored if (data / spec.folder).is_dir()]
    known = [(spec, part) for spec, part in sets if taught(config, spec.prompt) is not None]
    found = [image for spec, part in known for image in _load_set(spec, data, validation=part)]
    if not found and not validation:
        raise DatasetError(f"{data} has no image of a concept of the recipe that the model was taught.")
    return found


def _load_set(spec: ObjectSet, data: Path, *, validation: bool) -> Iterator[ObjectImage]:
    root = data / spec.folder
    kept_out = {stem for name, stem in held_out() if name == spec.folder}
    instances = {path.stem: path for path in (root / "instances").glob("*")}
    for pair in read_folder(root).pairs:
        if is_held_out(pair.name, kept_out) or is_validation(spec, pair.name) != validation:
            continue
        if spec.masks == "instances" and pair.name not in instances:
            continue
        image = to_rgb01(read_image(pair.image).data, name=pair.name)
        labels = read_mask(instances[pair.name] if spec.masks == "instances" else pair.required_mask(), image.shape[:2])
        if spec.masks == "instances":
            objects, unknown = labels.astype(np.int32), np.zeros(labels.shape, np.bool_)
        else:
            objects, unknown = pieces(labels > 0 if spec.value is None else labels == spec.value)
        yield ObjectImage(f"{spec.folder}/{pair.name}", spec, image, objects, unknown)


def pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the pieces of a mask that are single objects, `(H, W)`, and the pixels of the others and beside them."""
    from scipy import ndimage
    from skimage.measure import label, regionprops

    objects = np.asarray(label(mask, connectivity=1), np.int32)
    doubtful = [p.label for p in regionprops(objects) if p.area < _SMALLEST or p.solidity < _EVEN]
    unknown = np.isin(objects, doubtful)
    objects[unknown] = 0
    return objects, ndimage.binary_dilation(unknown, iterations=2) & (objects == 0)


@dataclass(frozen=True)
class CropFeatures:
    """N crops: what the head sees of them, and what it should say.

    Attributes
    ----------
    decoded, encoded
        Features of the frozen network, bfloat16 `(N, C, h, w)` of each level, the finest first.
    depth, weight
        float16 `(N, 1, S, S)`; the weight is 0 where nobody knows, and higher between objects that touch.
    """

    decoded: tuple[Tensor, ...]
    encoded: tuple[Tensor, ...]
    depth: Tensor
    weight: Tensor

    def __getitem__(self, rows: Tensor) -> CropFeatures:
        decoded, encoded = (tuple(level[rows].float() for level in levels) for levels in (self.decoded, self.encoded))
        return CropFeatures(decoded, encoded, self.depth[rows].float(), self.weight[rows].float())


def crop_features(model: AMVLM, recipe: ObjectRecipe, images: Sequence[ObjectImage]) -> CropFeatures:
    """Cut crops at random, change their looks, and compute the features of each for its prompt."""
    chance, generator = random.Random(recipe.seed), torch.Generator().manual_seed(recipe.seed)
    geometry, looks = GeometryConfig(zoom=recipe.zoom), AppearanceConfig()
    of_set: dict[str, list[ObjectImage]] = {}
    for image in images:
        of_set.setdefault(image.spec.folder, []).append(image)
    shares = [of_set[name][0].spec.share for name in of_set]
    targets = {image.name: _target(image) for image in images}
    levels = len(recipe.head.channels)
    maps: list[list[Tensor]] = [[] for _ in range(2 * levels + 2)]
    for _ in range(recipe.crops):
        image = chance.choice(of_set[chance.choices(list(of_set), shares)[0]])
        pixels = torch.from_numpy(image.image).permute(2, 0, 1)
        view, target = random_crop(pixels, targets[image.name], recipe.crop, geometry, generator)
        decoded, encoded = features(model, strong_view(view[None], looks, generator), image.spec.prompt)
        half = [level.bfloat16() for level in (*decoded[:levels], *encoded[:levels])]
        for column, part in zip(maps, (*half, target[None, :1].half(), target[None, 1:].half()), strict=True):
            column.append(part)
    joined = [torch.cat(column).contiguous() for column in maps]
    return CropFeatures(tuple(joined[:levels]), tuple(joined[levels : 2 * levels]), joined[-2], joined[-1])


def _target(image: ObjectImage) -> Tensor:
    """Return depth and weight, float32 `(2, H, W)`."""
    from scipy import ndimage

    numbers = image.objects
    highest = ndimage.maximum_filter(numbers, _BETWEEN)
    lowest = ndimage.minimum_filter(np.where(numbers > 0, numbers, np.iinfo(np.int32).max), _BETWEEN)
    between = (lowest < highest) & (highest > 0)
    weight = np.where(image.unknown, 0.0, np.where(between, _TOUCHING, 1.0))
    return torch.from_numpy(np.stack([depth_of(numbers), weight]).astype(np.float32))


def features(model: AMVLM, images: Tensor, prompt: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return what the object head sees of images `(B, 3, H, W)`, which are looked at in tiles: decoded and encoded."""
    device, whole = model.device, torch.zeros(len(images), dtype=torch.bool, device=model.device)
    with torch.inference_mode(), autocast(device):
        seen = model.encode_image(images.to(device), whole)
        text = model.encode_text([prompt])
        text = TextFeatures(text.sentence.expand(len(images), -1), text.t_cls.expand(len(images), -1))
        where = model.text_mask.text_logits(seen.dense, text.t_cls)
        return model.unet.decoded(seen.skips, where, text.sentence), seen.skips
