"""The project of a simulated annotator: its images, its queue, and what is right."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_amvlm.errors import DatasetError, PromptError
from napari_amvlm.evaluation import wanted_classes
from napari_amvlm.files import sha256_of_file
from napari_amvlm.imaging import DataFolder, binary_mask, read_folder, read_image, tile_grid
from napari_amvlm.project import TO_DO, Region
from training.datasets.opening import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.project import Project, QueueItem
    from training.simulation.recipe import SimulationRecipe


@dataclass(frozen=True)
class Material:
    """What a simulation works on.

    Attributes
    ----------
    train
        Images of the project; their masks are what the person sees in them.
    validate
        Images that each model is scored on; no project holds them.
    unlabelled
        More images of the project, which nobody annotates.
    prompt, value
        What is annotated, and its mask value; None is every value above 0.
    """

    train: DataFolder
    validate: DataFolder
    unlabelled: tuple[ImagePair, ...]
    prompt: str
    value: int | None

    def truth(self, pair: ImagePair, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return what is right in an image of `shape`, bool `(H, W)`."""
        return binary_mask(pair.labels(shape), self.value)


def read_material(recipe: SimulationRecipe, data: Path) -> Material:
    """Read the data set of a simulation from its own folder, or from one that holds it under its name.

    Raises
    ------
    DatasetError
        A folder has not the expected layout, or a validation image is one of the project's, byte by byte.
    PromptError
        The prompt is not one of the data set's, or it has several and none was chosen.
    """
    split = open_dataset(recipe.spec(), data, recipe, seed=recipe.seed)
    train = DataFolder(split.root / split.spec.train, split.labelled, split.classes)
    wanted = wanted_classes(train, recipe.prompt or split.spec.prompt)
    if len(wanted) > 1:
        raise PromptError(f"{split.spec.name} shows {', '.join(wanted)}; set the recipe's prompt to one of them.")
    ((name, value),) = wanted.items()
    scored = {sha256_of_file(pair.image): pair.name for pair in split.validation}
    for pair in (*split.labelled, *split.unlabelled):
        same = scored.get(sha256_of_file(pair.image))
        if same is not None:
            raise DatasetError(f"{pair.image} is the validation image {same}, byte by byte; take one of them out.")
    return Material(train, DataFolder(split.root, split.validation, split.classes), split.unlabelled, name, value)


def cut_folder(folder: DataFolder, target: Path, side: int) -> DataFolder:
    """Cut the images of a folder and their masks into squares, and return the folder of these.

    Parameters
    ----------
    target
        Where the squares go, in LViT layout, as TIFF called `NAME-yY-xX`; if it is there, it is taken as it is.
    side
        Of a square, pixels.
    """
    if not target.is_dir():
        unfinished = target.with_name(f".{target.name}-{os.getpid()}")
        for part in ("img", "labelcol"):
            (unfinished / part).mkdir(parents=True)
        for pair in folder.pairs:
            image = read_image(pair.image).data
            labels = pair.labels(image.shape)
            for tile in tile_grid((image.shape[0], image.shape[1]), side, 0):
                name, box = f"{pair.name}-y{tile.y}-x{tile.x}.tif", tile.slices
                tifffile.imwrite(unfinished / "img" / name, np.ascontiguousarray(image[box]))
                tifffile.imwrite(unfinished / "labelcol" / name, np.ascontiguousarray(labels[box]))
        try:
            unfinished.rename(target)
        except OSError:  # an arm beside this one was faster
            shutil.rmtree(unfinished)
    return replace(read_folder(target), classes=folder.classes)


def enter_images(project: Project, material: Material, region: int | None) -> dict[int, ImagePair]:
    """Enter all images into a project, those to annotate in regions of side `region`, and return them by their id.

    Images that nobody annotates are skipped in the queue. Done again, it changes nothing.
    """
    known: dict[int, ImagePair] = {}
    for pair in material.train.pairs:
        record = project.images.add_file(pair.image, name=pair.name)
        known[record.id] = pair
        if region is not None and max(record.shape) > region:
            tiles = tile_grid(record.shape, region, 0)
            project.queue.add_regions(record.id, [Region(t.y, t.x, t.height, t.width) for t in tiles])
    for pair in material.unlabelled:
        record = project.images.add_file(pair.image, name=pair.name)
        if record.id not in known:
            for item in project.queue.items(TO_DO, image_id=record.id):
                project.queue.set_status(item.id, "skipped")
    return known


def work_to_do(project: Project, held_out_regions: int) -> list[QueueItem]:
    """Return what is left to annotate, in the order of the queue; of held-out images so many regions at most."""
    done = Counter(item.image_id for item in project.queue.items(("accepted",)))
    return [item for item in project.queue.items(TO_DO) if not item.held_out or done[item.image_id] < held_out_regions]


def in_random_order(items: Iterable[QueueItem], seed: int) -> list[QueueItem]:
    """Return items in the random order of a seed, in which one that is left out changes nothing for the others."""
    return sorted(items, key=lambda item: random.Random(f"{seed} {item.id}").random())


def some_images(items: Iterable[QueueItem], count: int | None, seed: str) -> list[QueueItem]:
    """Return the items of up to `count` of their images, drawn by a seed; all where `count` is None."""
    every = list(items)
    ids = sorted({item.image_id for item in every})
    chosen = set(ids if count is None else random.Random(seed).sample(ids, min(count, len(ids))))
    return [item for item in every if item.image_id in chosen]


def region_of(item: QueueItem, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return where in its image of `shape` an item lies."""
    return (item.region or Region(0, 0, *shape)).slices
