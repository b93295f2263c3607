"""Learning data out of folders: images with masks, and images without."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import TYPE_CHECKING

from napari_amvlm.errors import ImageError, LabelsError, PromptError
from napari_amvlm.evaluation import object_numbers, wanted_classes
from napari_amvlm.imaging import (
    Copies,
    answered_masks,
    is_gray,
    read_folder,
    read_image,
    read_mask,
    read_reviewed,
    to_rgb01,
)
from napari_amvlm.project.storage import array_hash
from napari_amvlm.session.learning_data import LABELLED_BYTES, UNLABELLED_BYTES
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.imaging import DataFolder, ImagePair
    from napari_amvlm.learning.data import LabelledImage, LearningData, UnlabelledImage
    from napari_amvlm.predictor import Predictor


def folder_prompts(data: DataFolder, prompts: Sequence[str]) -> dict[str, int | None]:
    """Return each prompt to learn with its mask value; None means every value above 0.

    Raises
    ------
    PromptError
        No prompt or several for masks of one concept, or one that is not in the folder's classes.csv.
    """
    if not prompts:
        return wanted_classes(data, None)
    if not data.classes and len(prompts) > 1:
        raise PromptError(
            f"{data.root} has no classes.csv, so its masks show one thing, but {len(prompts)} prompts were given; "
            "give one, or add a classes.csv of value,prompt."
        )
    classes: dict[str, int | None] = {}
    for prompt in prompts:
        classes.update(wanted_classes(data, prompt))
    return classes


def folder_data(
    predictor: Predictor,
    labelled: DataFolder,
    prompts: dict[str, int | None],
    unlabelled: Path | None = None,
    *,
    unlabelled_bytes: int = UNLABELLED_BYTES,
    labelled_bytes: int = LABELLED_BYTES,
    on_message: Callable[[str], None] | None = None,
) -> LearningData:
    """Return what there is to learn from; images on which nobody answered the prompts are unlabelled.

    Parameters
    ----------
    predictor
        Its model chooses the working scale of every prompt.
    prompts
        Each prompt with its mask value, from `folder_prompts`.
    unlabelled
        A folder of images; masks in it are not looked at, and copies of labelled images are left out.
    unlabelled_bytes
        At most so much memory goes to unlabelled images; beyond it a fixed choice of them is taken.
    labelled_bytes
        Memory for labelled images; those that have no room are read again whenever they are needed.
    on_message
        Called with a sentence where there are more than that, or copies, and for each unlabelled image that cannot be
        used.

    Raises
    ------
    DatasetError
        The folder of unlabelled images is not there or holds none, or a mask has a value without a class.
    ImageError, LabelsError
        A labelled image or its mask cannot be used; unlabelled images that cannot are left out.
    """
    from napari_amvlm.learning.data import LearningData, UnlabelledImage
    from napari_amvlm.learning.labelled_memory import LabelledMemory

    every, copies, memory = [], Copies(), LabelledMemory(labelled_bytes)
    for pair in labelled.pairs:
        read = functools.partial(_labelled_image, predictor, labelled, pair, prompts)
        image = read()
        copies.add(image.name, image.pixels())
        every.append(memory.kept(image, read))
    images = [image for image in every if image.masks]
    if not any(image.shown(prompt).any() for image in images for prompt in image.masks):
        raise LabelsError(f"All masks in {labelled.root} are empty, so there is nothing to learn; add one that is not.")
    say = on_message or (lambda _text: None)
    unanswered = tuple(UnlabelledImage(image.name, image.image) for image in every if not image.masks)
    others = () if unlabelled is None else _unlabelled_images(unlabelled, copies, unlabelled_bytes, say)
    return LearningData(
        labelled=tuple(images),
        unlabelled=unanswered + others,
        validation=(),
        prompts=tuple(prompts),
    )


def _labelled_image(
    predictor: Predictor, folder: DataFolder, pair: ImagePair, prompts: dict[str, int | None]
) -> LabelledImage:
    """Return one image with a mask for every prompt that was answered on it."""
    from napari_amvlm.learning.data import LabelledImage

    mask, array = pair.required_mask(), read_image(pair.image).data
    shape = (array.shape[0], array.shape[1])
    labels = read_mask(mask, shape)
    folder.check_values(labels, mask)
    pixels = to_rgb01(array, name=pair.name)
    gray = is_gray(pixels)
    masks = answered_masks(pair, labels, prompts)
    known = masks if pair.objects is not None else {}
    objects = {prompt: object_numbers(pair, labels, prompts[prompt]) * masks[prompt] for prompt in known}
    return LabelledImage(
        image=pixels,
        masks=masks,
        reviewed=read_reviewed(pair.reviewed, shape),
        scales={prompt: predictor.scale_for(prompt, shape, gray=gray).name for prompt in masks},
        name=pair.name,
        objects=objects,
    )


def _unlabelled_images(
    folder: Path, copies: Copies, limit: int, say: Callable[[str], None]
) -> tuple[UnlabelledImage, ...]:
    """Return images of `folder` of at most `limit` bytes, each once, and no `copies`.

    In an order of their names that is as good as random, but always the same, so that a part stands for the whole.
    """
    from napari_amvlm.learning.data import UnlabelledImage

    pairs = read_folder(folder, masks="none").pairs
    images: dict[str, UnlabelledImage] = {}
    seen: set[str] = set()
    copied: list[str] = []
    used = 0
    room = f"{limit / 2**30:.3g} GiB"
    for number, pair in enumerate(sorted(pairs, key=lambda pair: hashlib.sha256(os.fsencode(pair.name)).digest())):
        try:
            array: NDArray[np.generic] = read_image(pair.image).data
            image = to_rgb01(array, name=pair.name)
        except ImageError as error:
            say(f"{error} It is left out.")
            continue
        content = array_hash(array)
        if content in seen:
            continue
        seen.add(content)
        if copies.original(image) is not None:
            copied.append(pair.name)
            continue
        if image.nbytes > limit:
            say(f"{pair.image} alone takes more than the {room} that unlabelled images have; it is left out.")
            continue
        if used + image.nbytes > limit:
            say(f"{len(images)} unlabelled images fill the {room} that they have; {len(pairs) - number} are left out.")
            break
        used += image.nbytes
        images[pair.name] = UnlabelledImage(image=image, name=pair.name)
    if copied:
        say(f"Left out as copies of labelled ones: {counted(len(copied), 'unlabelled image')}, such as {copied[0]}.")
    return tuple(images[pair.name] for pair in pairs if pair.name in images)
