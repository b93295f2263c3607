"""Labels within OME-Zarr images as answers for the planes of the image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import ImageError, LabelsError
from napari_amvlm.exports.placing import mask_axes, mask_shape
from napari_amvlm.imaging import is_zarr, open_images
from napari_amvlm.imaging.formats.lazy import reading
from napari_amvlm.imaging.formats.ome_zarr import ome_metadata
from napari_amvlm.imaging.formats.zarr_safety import inside
from napari_amvlm.imports.scan_masks import ScanMasks, check_one_channel
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_amvlm.imaging import ImageData

_CHUNK = re.compile(r"(?:c[/.])?\d+(?:[/.]\d+)*")
"""Where a chunk may lie within its array."""


def read_zarr_labels(path: Path, prompt: str | None, on_problem: Callable[[str], None]) -> Iterator[ScanMasks]:
    """Yield the labels of an OME-Zarr image, or those of one folder `labels/NAME` in it.

    Values are the numbers of objects. Their prompt is the name that the labels give themselves, or `prompt` where that
    is given.

    Raises
    ------
    InputError
        There are no labels.
    """
    every = [(root, folders) for root, folders in _labels_of(path) if folders]
    if not every:
        raise LabelsError(f"{path} has no labels: give an OME-Zarr image that has, or the folder of one.")
    for root, folders in every:
        yield _on_image(open_images(root)[0], folders, prompt, on_problem)


def _on_image(
    image: ImageData, folders: list[Path], prompt: str | None, on_problem: Callable[[str], None]
) -> ScanMasks:
    """Return the labels of one image; where a folder has several images, the first one counts, as the format says."""
    labels: dict[str, Any] = {}
    for folder in folders:
        try:
            stored = open_images(folder)[0]
            _check_chunks(folder)
            if stored.data.dtype.kind not in "bu" and stored.data.dtype.kind != "i":
                raise LabelsError(f"{folder} holds {stored.data.dtype}, not labels: save whole numbers.")
            check_one_channel(stored)
            if (mask_axes(stored), mask_shape(stored)) != (mask_axes(image), mask_shape(image)):
                raise LabelsError(f"{folder} has other pixels than its image, {stored.size} and {image.size}.")
        except (ImageError, LabelsError) as error:
            on_problem(str(error))
            continue
        labels[prompt or _name(folder)] = stored.data
    return ScanMasks(image, labels, labels)


def _check_chunks(folder: Path) -> None:
    """Refuse labels that are foreground where nothing is stored, or whose metadata do not know all that is stored.

    zarr takes a chunk that is not where the metadata say for one that is nothing but the fill value.
    """
    import zarr

    with reading(folder):
        place = inside(folder, ome_metadata(folder)["multiscales"][0]["datasets"][0]["path"])
        array = zarr.open_array(zarr.storage.LocalStore(place, read_only=True), mode="r")
        if array.fill_value:
            raise LabelsError(
                f"{place} has the fill value {array.fill_value}, which makes foreground of all that is not stored: "
                "write it with fill value 0."
            )
        grid = [-(-n // size) for n, size in zip(array.shape, array.shards or array.chunks, strict=True)]
        for file in (file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file()):
            index = tuple(int(number) for number in re.findall(r"\d+", file))
            known = len(index) == len(grid) and all(number < n for number, n in zip(index, grid, strict=True))
            if _CHUNK.fullmatch(file) and not (known and array.metadata.encode_chunk_key(index) == file):
                raise LabelsError(
                    f"{place} stores a chunk at {file}, where its metadata have none, so they or its chunks were "
                    "changed: copy or write it again."
                )


def _name(folder: Path) -> str:
    with reading(folder):
        return tidied(str(ome_metadata(folder)["multiscales"][0].get("name") or folder.name))


def _labels_of(path: Path) -> list[tuple[Path, list[Path]]]:
    """Return the images in a folder, as a converter's root has several, each with the folders of its labels."""
    if path.parent.name == "labels" and is_zarr(path.parent.parent):
        return [(path.parent.parent, [path])]
    roots = dict.fromkeys(image.path for image in open_images(path) if image.path)
    groups = [(root, root / "labels") for root in roots]
    return [(root, sorted(filter(is_zarr, group.iterdir())) if group.is_dir() else []) for root, group in groups]
