"""Images whose objects are known, and crops of them with the model's probability."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label, regionprops
from torch import nn

from napari_amvlm.config import STRIDE
from napari_amvlm.errors import DatasetError
from napari_amvlm.evaluation import object_numbers
from napari_amvlm.imaging import bounded_numbers, read_folder, read_mask
from napari_amvlm.imaging.depth_objects import depth_of
from napari_amvlm.learning.views import AppearanceConfig, GeometryConfig, random_crop, strong_view
from napari_amvlm.models.tile_maps import tile_maps
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

_NEARLY = 1e-3


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
    kept_out = held_out(spec.folder)
    for pair in read_folder(root).pairs:
        if is_held_out(pair.name, kept_out) or is_validation(spec, pair.name) != validation:
            continue
        stored = pair.objects if spec.masks == "instances" else pair.required_mask()
        if stored is None:
            continue
        image = pair.pixels()
        labels = read_mask(stored, image.shape[:2])
        if spec.masks == "instances":
            numbers = bounded_numbers(object_numbers(pair, labels))
            objects, unknown = numbers.astype(np.int32), np.zeros(numbers.shape, np.bool_)
        else:
            objects, unknown = pieces(labels > 0 if spec.value is None else labels == spec.value)
        yield ObjectImage(f"{spec.folder}/{pair.name}", spec, image, objects, unknown)


def pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the pieces of a mask that are single objects, `(H, W)`, and the pixels of the others and beside them."""
    objects = np.asarray(label(mask, connectivity=1), np.int32)
    doubtful = [p.label for p in regionprops(objects) if p.area < _SMALLEST or p.solidity < _EVEN]
    unknown = np.isin(objects, doubtful)
    objects[unknown] = 0
    return objects, ndimage.binary_dilation(unknown, iterations=2) & (objects == 0)


class ObjectCrops:
    """Draws crops of images whose objects are known; the frozen network looks at each image once, whole.

    Parameters
    ----------
    model
        Gives the probability of each image's prompt.
    recipe
        Sizes, and how crops are turned, zoomed and changed in their looks.
    images
        What is drawn from: first a set, by its share, then an image.
    """

    def __init__(self, model: AMVLM, recipe: ObjectRecipe, images: Sequence[ObjectImage]) -> None:
        self._recipe, self._device = recipe, model.device
        self._chance, self._generator = random.Random(recipe.seed), torch.Generator().manual_seed(recipe.seed)
        self._of_set: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self._shares: dict[str, float] = {}
        for image in images:
            objects = without_slivers(image.objects)
            maps = [image.image.transpose(2, 0, 1), probability_of(model, image)[None], depth_of(objects)[None]]
            seen = torch.from_numpy(np.concatenate(maps)).half()
            self._of_set.setdefault(image.spec.folder, []).append((seen, _weight(objects, image.unknown)))
            self._shares[image.spec.folder] = image.spec.share

    def draw(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return images `(B, 3, S, S)`, and probability, depth and its weight, `(B, 1, S, S)`.

        The probability is more doubtful than the network is on images that it was taught: its logit is scaled, and
        moved smoothly.
        """
        recipe, generator = self._recipe, self._generator
        geometry = GeometryConfig(zoom=recipe.zoom)
        crops = []
        for folder in self._chance.choices(list(self._shares), list(self._shares.values()), k=recipe.batch):
            seen, weight = self._chance.choice(self._of_set[folder])
            crops.append(random_crop(seen.float(), weight.float(), recipe.crop, geometry, generator))
        maps, weights = torch.stack([c[0] for c in crops]), torch.stack([c[1] for c in crops])
        images = strong_view(maps[:, :3], AppearanceConfig(blur=recipe.blur, noise=recipe.noise), generator)
        probability = _doubted(maps[:, 3:4], recipe.doubt, generator)
        return (
            images.to(self._device),
            probability.to(self._device),
            maps[:, 4:].to(self._device),
            weights.to(self._device),
        )


def probability_of(model: AMVLM, image: ObjectImage) -> NDArray[np.float32]:
    """Return what the head is given beside an image, which is looked at in one piece, float32 `(H, W)`."""
    height, width = image.objects.shape
    padded = np.pad(image.image, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
    return tile_maps(model, padded[None], [image.spec.prompt]).probability[0, 0, :height, :width]


def without_slivers(objects: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return objects, where what is smaller than 20 pixels, as overlaps of outlines are, belongs to the nearest."""
    small = (np.bincount(objects.ravel()) < _SMALLEST)[objects] & (objects > 0)
    others = np.where(small, 0, objects)
    if not small.any() or not others.any():
        return others
    rows, columns = ndimage.distance_transform_edt(others == 0, return_distances=False, return_indices=True)
    return np.where(small, others[rows, columns], objects)


def _weight(objects: NDArray[np.int32], unknown: NDArray[np.bool_]) -> Tensor:
    """Return how much each pixel's depth counts, float16 `(1, H, W)`."""
    highest = ndimage.maximum_filter(objects, _BETWEEN)
    lowest = ndimage.minimum_filter(np.where(objects > 0, objects, np.iinfo(np.int32).max), _BETWEEN)
    between = (lowest < highest) & (highest > 0)
    return torch.from_numpy(np.where(unknown, 0.0, np.where(between, _TOUCHING, 1.0))[None]).half()


def _doubted(probability: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """Return a probability `(B, 1, S, S)` whose logit is scaled by exp(0.3 s n), and moved by s n smoothly."""
    batch, _, side, _ = probability.shape
    scale, offset = torch.randn(2, batch, 1, 1, 1, generator=generator)
    coarse = torch.randn(batch, 1, side // 8, side // 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    logits = torch.logit(probability, _NEARLY)
    return torch.sigmoid(logits * torch.exp(0.3 * spread * scale) + spread * (1.5 * smooth + 0.7 * offset))
