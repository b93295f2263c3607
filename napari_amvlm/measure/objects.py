"""Measurements of the objects of one image, by scikit-image's `regionprops_table`."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import bounded_numbers
from napari_amvlm.imaging.image_data import MICROMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData

_SHAPE = ("label", "area", "centroid", "axis_major_length", "axis_minor_length", "perimeter")
_SHAPE_3D = ("label", "area", "centroid", "axis_major_length", "axis_minor_length")
_COLOURS = ("red", "green", "blue")
_FINE = 20.0
"""Pixels smaller than this many micrometers are measured in um, others in mm."""


@dataclass(frozen=True)
class MaskedImage:
    """The masks of one image, ready to be measured.

    Attributes
    ----------
    objects
        For each prompt the numbers of its objects, int `(H, W)` or `(Z, H, W)`; 0 is background.
    image
        The image, for intensities and the pixel size; None where it is not at hand.
    """

    name: str
    objects: Mapping[str, NDArray[np.integer]]
    image: ImageData | None = field(default=None, repr=False)


def measure_image(masked: MaskedImage) -> pd.DataFrame:
    """Return one row for each object of an image.

    Columns are `image`, `prompt`, `object`, then in pixels `area_px` (`volume_px` of a volume), `centroid_*_px`,
    `major_axis_px`, `minor_axis_px` and `perimeter_px`; the same in `um` or `mm` where the file tells the pixel size
    along every axis; and `mean_CHANNEL`, the mean intensity in the file's own values.  A perimeter in physical units
    needs square pixels.

    Raises
    ------
    ImageError
        The image and a mask differ in size.
    """
    import pandas as pd

    parts = []
    for prompt, numbers in masked.objects.items():
        channels = _channels(masked, numbers.shape)
        table = pd.DataFrame(_in_pixels(numbers, channels))
        physical = _physical(masked.image, numbers, table)
        named = table.rename(columns=_pixel_names(numbers.ndim)).join(physical)
        named.insert(0, "prompt", prompt)
        named.insert(0, "image", masked.name)
        parts.append(named)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def physical_unit(image: ImageData | None, dimensions: int) -> tuple[tuple[float, ...], str] | None:
    """Return the pixel size along the last `dimensions` axes and its unit, "um" or "mm"; None where it is not known."""
    if image is None or image.spacing is None:
        return None
    lengths = [image.spacing.get(axis) for axis in "ZYX"[-dimensions:]]
    if any(length is None or length[1] not in MICROMETERS for length in lengths):
        return None
    micrometers = [length[0] * MICROMETERS[length[1]] for length in lengths if length is not None]
    unit, factor = ("um", 1.0) if min(micrometers) < _FINE else ("mm", 1e-3)
    return tuple(length * factor for length in micrometers), unit


def _in_pixels(numbers: NDArray[np.integer], channels: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    from skimage.measure import regionprops_table

    wanted = list(_SHAPE if numbers.ndim == 2 else _SHAPE_3D)
    small = np.asarray(bounded_numbers(numbers), np.int64)
    stacked = np.stack(list(channels.values()), axis=-1) if channels else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # axes of an object of one pixel
        table: dict[str, NDArray[Any]] = regionprops_table(
            small,
            intensity_image=stacked,
            properties=[*wanted, *(["intensity_mean"] if channels else [])],
        )
    if numbers.max(initial=0) > small.max(initial=0):
        table["label"] = np.unique(numbers[numbers > 0])
    for index, name in enumerate(channels):
        table[f"mean_{name}"] = table.pop(f"intensity_mean-{index}")
    return table


def _physical(image: ImageData | None, numbers: NDArray[np.integer], pixels: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in physical units; none where the pixel size is not known."""
    import pandas as pd
    from skimage.measure import regionprops_table

    known = physical_unit(image, numbers.ndim)
    if known is None:
        return pd.DataFrame(index=pixels.index)
    spacing, unit = known
    what = "area" if numbers.ndim == 2 else "volume"
    columns = {f"{what}_{unit}{numbers.ndim}": pixels["area"] * math.prod(spacing)}
    for axis, name in enumerate("zyx"[-numbers.ndim :]):
        columns[f"centroid_{name}_{unit}"] = pixels[f"centroid-{axis}"] * spacing[axis]
    square = math.isclose(min(spacing), max(spacing), rel_tol=1e-3)
    if square:
        axes = {name: pixels[name] * spacing[0] for name in ("axis_major_length", "axis_minor_length")}
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            axes = regionprops_table(
                np.asarray(bounded_numbers(numbers), np.int64),
                spacing=spacing,
                properties=["axis_major_length", "axis_minor_length"],
            )
    columns[f"major_axis_{unit}"] = axes["axis_major_length"]
    columns[f"minor_axis_{unit}"] = axes["axis_minor_length"]
    if numbers.ndim == 2:
        columns[f"perimeter_{unit}"] = pixels["perimeter"] * spacing[0] if square else math.nan
    return pd.DataFrame(columns, index=pixels.index)


def _pixel_names(dimensions: int) -> dict[str, str]:
    centroids = {f"centroid-{axis}": f"centroid_{name}_px" for axis, name in enumerate("zyx"[-dimensions:])}
    return centroids | {
        "label": "object",
        "area": "area_px" if dimensions == 2 else "volume_px",
        "axis_major_length": "major_axis_px",
        "axis_minor_length": "minor_axis_px",
        "perimeter": "perimeter_px",
    }


def _channels(masked: MaskedImage, shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """Return the intensities by channel, each of the masks' shape."""
    image = masked.image
    if image is None:
        return {}
    pixels = np.asarray(image.data)
    size = tuple(length for axis, length in zip(image.axes, pixels.shape, strict=False) if axis != "C")
    if size != shape:
        raise ImageError(
            f"{masked.name}: the image has the size {_size(size)}, but its mask has {_size(shape)}; "
            "give the image that the mask was made for."
        )
    if image.rgb:
        return {name: pixels[..., index] for index, name in enumerate(_COLOURS)}
    if "C" in image.axes:
        planes = [np.asarray(image.of_channel(index).data) for index in range(len(image.channel_titles))]
        names = [image.channels[i] if i < len(image.channels) else f"channel{i + 1}" for i in range(len(planes))]
        return dict(zip(names, planes, strict=True))
    return {"intensity": pixels}


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(length) for length in shape)
