"""Reads the shared data sets into memory, at the size that training needs."""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from napari_amvlm.imaging import read_folder
from napari_amvlm.imaging.scale import fit_square

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

Kind = Literal["tissue", "xray", "spine"]
SOURCES = ("DSB2018", "TNBC", "CXR-Lungs", "SPIDER-Spine")
"""The shippable data sets."""

KINDS: dict[str, Kind] = {"CXR-Lungs": "xray", "SPIDER-Spine": "spine"}
"""What the images of a data set are; those that are not named here are tissue."""

HELD_OUT = Path(__file__).parents[2] / "sample_data" / "held_out.csv"


@dataclass(frozen=True)
class TaughtImage:
    """An image and the masks of concepts that it is known to show.

    Attributes
    ----------
    name, source, kind
        File stem, data set and kind of image.
    image
        uint8 `(H, W, 3)`; whole images are fitted into a square canvas.
    masks
        uint8 0 or 1, `(K, H, W)`.
    object_size
        Median diameter of an object in pixels (tissue), else 0.
    full
        uint8 `(H', W', 3)`, the image at its own size; for tissue this is `image`.
    """

    name: str
    source: str
    kind: Kind
    image: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    concepts: tuple[str, ...]
    object_size: float
    full: NDArray[np.uint8]


def left_right_lungs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split a lung mask into the patient's left and right lung, each `(H, W)`.

    Frontal chest X-rays show the patient's right lung on the left of the image. Connected parts go to the side of
    their centroid; a part that spans both sides is cut at the middle of the lungs.
    """
    columns = np.nonzero(mask.any(axis=0))[0]
    middle = (columns[0] + columns[-1]) / 2 if len(columns) else mask.shape[1] / 2
    right = np.zeros_like(mask)
    labels, count = ndimage.label(mask)
    x = np.arange(mask.shape[1])[None, :]
    for index, region in enumerate(ndimage.find_objects(labels), start=1):
        part = labels == index
        width = region[1].stop - region[1].start
        if count == 1 or width > 0.7 * (columns[-1] - columns[0]):
            right |= part & (x < middle)
        elif ndimage.center_of_mass(part)[1] < middle:
            right |= part
    return mask & ~right, right


def held_out(source: str, table: Path = HELD_OUT) -> list[str]:
    """Return the stems (spine: the subject) of a set that `sample_data` ships; they are never trained on."""
    with table.open(newline="", encoding="utf-8") as file:
        return [row["stem"] for row in csv.DictReader(file) if row["set"] == source]


def is_held_out(name: str, stems: Iterable[str]) -> bool:
    """Tell whether `name` is one of `stems`, or a slice of one of those subjects."""
    return any(name == stem or name.startswith(f"{stem}_") for stem in stems)


def is_validation(source: str, name: str) -> bool:
    """Tell whether an image is for validation: about one in eight, by a hash of its name (spine: its subject)."""
    key = name.split("_t2")[0] if source == "SPIDER-Spine" else name
    if source == "TNBC":
        # Its copies are deformations of few originals: all for training.
        return False
    return zlib.crc32(f"{source}/{key}".encode()) % 8 == 0


def median_diameter(labels: NDArray[np.integer]) -> float:
    """Return the median diameter of the objects, pixels; of a binary mask, those of its pieces."""
    if labels.max() <= 1 or labels.max() == 255:
        labels, _ = ndimage.label(labels > 0)
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 30]
    return float(2 * np.sqrt(np.median(areas) / np.pi)) if len(areas) else 24.0


def concept_masks(source: str, labels: NDArray[np.integer]) -> dict[str, NDArray[np.bool_]]:
    """Return the mask `(H, W)` of each concept that the labels of a data set show."""
    if source == "SPIDER-Spine":
        return {"vertebrae": labels == 1, "intervertebral discs": labels == 2, "spinal canal": labels == 3}
    if source == "CXR-Lungs":
        left, right = left_right_lungs(labels > 0)
        return {"lungs": labels > 0, "left lung": left, "right lung": right}
    return {"nuclei": labels > 0}


def _eight_bit(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (image * 255).round().astype(np.uint8)


def load_taught_images(
    data: Path, source: str, *, whole: int, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[TaughtImage]:
    """Yield all images of one shippable data set but those that `sample_data` holds.

    Parameters
    ----------
    source
        "DSB2018", "TNBC", "CXR-Lungs" or "SPIDER-Spine".
    whole
        Side of the canvas for images that are seen whole, pixels.
    wanted
        Asked for each image's name before it is read.
    """
    kind = KINDS.get(source, "tissue")
    kept_out = held_out(source)
    for pair in read_folder(data / source).pairs:
        if is_held_out(pair.name, kept_out) or pair.mask is None or not wanted(pair.name):
            continue
        image = pair.pixels()
        full = _eight_bit(image)
        labels = pair.labels(image.shape)
        masks = concept_masks(source, labels)
        stack = np.stack(list(masks.values()))
        if kind != "tissue":
            image = fit_square(image, whole)
            stack = np.stack([fit_square(m, whole) for m in stack])
        size = median_diameter(labels) if kind == "tissue" else 0.0
        pixels = full if kind == "tissue" else _eight_bit(image)
        yield TaughtImage(pair.name, source, kind, pixels, stack.astype(np.uint8), tuple(masks), size, full)
