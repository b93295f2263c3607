"""Finds the stores of a slide in a folder by their request, so that an unfinished prompt is resumed."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import InputError
from napari_amvlm.slides.source import thinned
from napari_amvlm.slides.store import SlideStore

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm.imaging import ImageData
    from napari_amvlm.slides.store import SlideRequest

_SAMPLE = 1 << 20


def image_token(image: ImageData) -> str:
    """Return a hash of the pixels of the smallest level: images of one name differ in it.

    Raises
    ------
    ImageError
        The file is damaged.
    """
    pixels = np.ascontiguousarray(thinned(image.levels[-1], _SAMPLE))
    digest = hashlib.blake2b(f"{image.data.shape} {pixels.dtype} {pixels.shape}".encode(), digest_size=8)
    digest.update(pixels.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def open_stores(folder: Path, request: SlideRequest, image: ImageData) -> list[SlideStore]:
    """Return the stores that hold the prompts of a request, from a folder or created there.

    A prompt that has a store already is resumed in it, whatever other prompts that store holds. All new prompts share
    one new store.

    Raises
    ------
    StorageError
        The disk refused.
    """
    wanted = _without_prompts(request)
    digest = hashlib.blake2b(wanted.encode(), digest_size=6).hexdigest()
    stem = f"{re.sub('[^A-Za-z0-9_-]+', '_', image.name)[:40]}-{digest}"
    stores: list[SlideStore] = []
    missing = list(request.prompts)
    taken = sorted(folder.glob(f"{stem}-*.zarr"))
    for path in taken:
        try:
            store = SlideStore.read(path)
        except InputError:  # of a run that was killed while it made the folder
            continue
        if _without_prompts(store.request) == wanted and set(missing) & set(store.request.prompts):
            stores.append(store)
            missing = [prompt for prompt in missing if prompt not in store.request.prompts]
    if missing:
        number = next(n for n in range(1, len(taken) + 2) if not (folder / f"{stem}-{n}.zarr").exists())
        new = request.model_copy(update={"prompts": tuple(missing)})
        stores.append(SlideStore.open(folder / f"{stem}-{number}.zarr", new, spacing=image.spacing))
    return stores


def _without_prompts(request: SlideRequest) -> str:
    return request.model_copy(update={"prompts": ("",)}).model_dump_json()
