"""What is asked of every image of a data set, and the images in memory with their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_amvlm.byte_cache import ByteCache
from napari_amvlm.errors import DatasetError, InputError
from napari_amvlm.imaging import binary_mask, read_reviewed
from napari_amvlm.learning import LabelledImage, LearningData, UnlabelledImage
from training.datasets.splits import another_for_each
from training.datasets.stored import CACHE_BYTES, StoredImage, StoredMasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_amvlm.imaging import ImagePair
    from training.datasets.opening import DatasetSplit
    from training.datasets.stored import Cache

PromptMode = Literal["fixed", "captions", "shuffled captions", "none"]
"""What is asked: the data set's prompt, each image's own caption, another's, or a text that says nothing."""

NO_MEANING = "image"

Wordings = dict[str, dict[str, str]]
"""For each image's name, the text to ask for each thing that its mask shows."""


def wordings(split: DatasetSplit, pairs: Sequence[ImagePair], mode: PromptMode, *, seed: int) -> Wordings:
    """Return what each image is asked.

    Parameters
    ----------
    pairs
        Images of one part of it: captions are shuffled among these.
    mode
        See `PromptMode`.

    Raises
    ------
    InputError
        The mode gives one text for an image, but masks of the data set show several things.
    DatasetError
        An image has no caption.
    """
    things = list(split.prompts())
    if mode == "fixed":
        return {pair.name: {thing: thing for thing in things} for pair in pairs}
    if len(things) != 1:
        raise InputError(
            f"Prompts {mode!r} give an image one text, but masks of {split.spec.name} show {len(things)} things; "
            'choose prompts = "fixed".'
        )
    if mode == "none":
        return {pair.name: {things[0]: NO_MEANING} for pair in pairs}
    captions = {pair.name: pair.caption or "" for pair in pairs}
    without = [name for name, caption in captions.items() if not caption]
    if without:
        raise DatasetError(
            f"{split.spec.name}: {len(without)} of {len(pairs)} images have no caption (the first: {without[0]}); "
            'add a *_text.xlsx or *_text.csv of Image,Description beside img/, or choose prompts = "fixed".'
        )
    chosen = captions if mode == "captions" else another_for_each(captions, seed=seed)
    return {name: {things[0]: caption} for name, caption in chosen.items()}


def used_unlabelled(split: DatasetSplit, mode: PromptMode) -> tuple[ImagePair, ...]:
    """Return the unlabelled images that can be asked: with captions, those that have one."""
    if mode in ("captions", "shuffled captions"):
        return tuple(pair for pair in split.unlabelled if pair.caption)
    return split.unlabelled


def learning_data(
    split: DatasetSplit, unlabelled: Sequence[ImagePair], mode: PromptMode, *, seed: int, square: int = 0
) -> LearningData:
    """Read the images of a split into memory, or as squares of `square` pixels when they are drawn.

    Parameters
    ----------
    split
        The data set; its validation images are only watched.
    unlabelled
        Images without answers.
    mode, seed
        See `wordings`. Labelled and unlabelled images are shuffled together.

    Raises
    ------
    DatasetError, ImageError, LabelsError
        An image, a mask or a caption is missing or cannot be used.
    """
    texts = wordings(split, (*split.labelled, *unlabelled), mode, seed=seed)
    watched = wordings(split, split.validation, mode, seed=seed)
    cache: Cache | None = ByteCache(CACHE_BYTES) if square else None
    labelled = tuple(_labelled(split, pair, texts[pair.name], square, cache) for pair in split.labelled)
    prompts = dict.fromkeys(text for pair in split.labelled for text in texts[pair.name].values())
    return LearningData(
        labelled=labelled,
        unlabelled=tuple(_unlabelled(split, pair, texts[pair.name], mode, square, cache) for pair in unlabelled),
        validation=tuple(_labelled(split, pair, watched[pair.name], square, cache) for pair in split.validation),
        # The data set's own prompts are learnt in other words too: they must not be held where they were.
        prompts=tuple(dict.fromkeys((*prompts, *split.prompts()))),
    )


def _labelled(
    split: DatasetSplit, pair: ImagePair, texts: Mapping[str, str], square: int, cache: Cache | None
) -> LabelledImage:
    if cache is not None and pair.reviewed is None:
        stored = StoredMasks(pair, square, {texts[t]: value for t, value in split.prompts().items()}, cache)
        scales = dict.fromkeys(stored, split.spec.scale)
        return LabelledImage(pair.name, StoredImage(pair, square, cache), stored, scales)
    pixels = pair.pixels()
    labels = pair.labels(pixels.shape)
    masks = {texts[thing]: binary_mask(labels, value) for thing, value in split.prompts().items()}
    seen = read_reviewed(pair.reviewed, pixels.shape[:2])
    return LabelledImage(pair.name, pixels, masks, dict.fromkeys(masks, split.spec.scale), seen)


def _unlabelled(
    split: DatasetSplit,
    pair: ImagePair,
    texts: Mapping[str, str],
    mode: PromptMode,
    square: int,
    cache: Cache | None,
) -> UnlabelledImage:
    own = None if mode == "fixed" else next(iter(texts.values()))
    if cache is not None:
        return UnlabelledImage(pair.name, StoredImage(pair, square, cache), own, split.spec.scale)
    pixels = pair.pixels()
    return UnlabelledImage(pair.name, pixels, own, split.spec.scale)
