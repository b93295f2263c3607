"""OME-Zarr images, versions 0.4 and 0.5, read where they are looked at."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import grouped, lazy, reading, with_small_levels
from napari_amvlm.imaging.formats.limits import check_chunk, check_numbers, check_shape
from napari_amvlm.imaging.formats.zarr_safety import check_array, inside, zarr_metadata
from napari_amvlm.imaging.image_data import ImageData, Spacing, distinct, image_name, known, spacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_VERSIONS = ("0.4", "0.5")
_AXES = "TCZYX"
_COLOURS = ("FF0000", "00FF00", "0000FF")
_MAX_LEVELS = 32
_MAX_IMAGES = 4096
"""Fields of a plate."""


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a zarr group or array."""
    return path.is_dir() and any((path / name).is_file() for name in (".zgroup", ".zarray", "zarr.json"))


def open_ome_zarr(path: Path) -> list[ImageData]:
    """Describe the images in an OME-Zarr folder: its multiscales, the series of a converter, or the fields of a plate.

    Three channels of 8 bits that are shown as red, green and blue, or of which nothing is said, are colours.

    Raises
    ------
    ImageError
        It is no image in version 0.4 or 0.5, or is damaged; or it holds something else than numbers, a compression
        that is not known, or paths that lead out of it.
    """
    with reading(path):
        folders = _image_folders(path)
        images = [image for folder in folders for image in _in_folder(path / folder)]
    name = image_name(path)
    if folders == [""]:
        return images
    if len(images) == 1:
        return [replace(images[0], name=name)]
    return [replace(image, name=f"{name} {image.path.relative_to(path).as_posix()}") for image in images if image.path]


def _in_folder(path: Path) -> list[ImageData]:
    """Describe the multiscales of one folder."""
    ome = ome_metadata(path)
    every = ome.get("multiscales")
    if not isinstance(every, list) or not every:
        raise ImageError(
            f"{path}: expected an OME-Zarr image, but it says nothing of one; open the folder in which the image's "
            "metadata lie."
        )
    images = [_describe(path, ome, one) for one in every]
    if len(images) == 1:
        return images
    titles = distinct([str(one.get("name") or number) for number, one in enumerate(every, 1)])
    return [replace(image, name=f"{image.name} {title}") for image, title in zip(images, titles, strict=True)]


def _image_folders(path: Path) -> list[str]:
    """Return the folders of the images within `path`; "" is the folder itself."""
    ome = ome_metadata(path)
    if ome.get("multiscales"):
        return [""]
    if "plate" in ome:
        wells = [str(well["path"]) for well in ome["plate"].get("wells") or ()]
        folders = [f"{well}/{field}" for well in wells[:_MAX_IMAGES] for field in _fields(inside(path, well))]
    elif "well" in ome:
        folders = _fields(path)
    else:
        named = ome_metadata(path / "OME").get("series") if (path / "OME").is_dir() else ome.get("series")
        folders = [str(name) for name in named or ()] or _groups(path)
    if len(folders) > _MAX_IMAGES:
        raise ImageError(f"{path}: expected at most {_MAX_IMAGES} images, but it has more; open the folder of one.")
    for folder in folders:
        inside(path, folder)
    return folders or [""]


def _groups(path: Path) -> list[str]:
    """Return the folders of images that nothing lists: those with numbers as a converter writes them, else any."""
    groups = [one.name for one in path.iterdir() if is_zarr(one)]
    numbered = sorted((name for name in groups if name.isdecimal()), key=int)
    return numbered or sorted(name for name in groups if ome_metadata(path / name).get("multiscales"))


def _fields(well: Path) -> list[str]:
    return [str(field["path"]) for field in (ome_metadata(well).get("well") or {}).get("images") or ()]


def ome_metadata(path: Path) -> dict[str, Any]:
    """Return what an OME-Zarr folder says of its images, in the form of either version.

    Raises
    ------
    ImageError
        It is of another version, or its metadata are no JSON objects.
    """
    metadata = zarr_metadata(path)
    if "zarr.json" in metadata:
        ome = (metadata["zarr.json"].get("attributes") or {}).get("ome") or {}
        version = ome.get("version")
    else:
        ome = metadata.get(".zattrs") or {}
        first: Mapping[str, Any] = next(iter(ome.get("multiscales") or ()), {})
        version = first.get("version", "0.4")
    if ome.get("multiscales") and version not in _VERSIONS:
        raise ImageError(
            f"{path}: expected OME-Zarr version {' or '.join(_VERSIONS)}, but got {version!r}; convert it to one."
        )
    return dict(ome)


def _describe(path: Path, ome: Mapping[str, Any], multiscale: Mapping[str, Any]) -> ImageData:
    axes, units = _axes(path, multiscale)
    datasets = list(multiscale["datasets"])
    if not 1 <= len(datasets) <= _MAX_LEVELS:
        raise ImageError(f"{path}: expected 1 to {_MAX_LEVELS} levels, but got {len(datasets)}; write it again.")
    every = [_level(path, dataset["path"], axes) for dataset in datasets]
    # Some converters write a level twice.
    levels = [level for number, level in enumerate(every) if number == 0 or level.shape != every[number - 1].shape]
    _check_levels(path, [level.shape for level in levels], axes)
    distances = _distances(multiscale, datasets[0], axes, units)
    kept = [axis for axis, n in zip(axes, levels[0].shape, strict=True) if n != 1 or axis in "YX"]
    arranged = [_arranged(level, axes, kept) for level in levels]
    shown = (ome.get("omero") or {}).get("channels") or []
    rgb = _colours(arranged[0], kept, shown)
    if rgb:
        place = kept.index("C")
        order = [number for number in range(len(kept)) if number != place]
        arranged = [level.transpose([*order, place]) for level in arranged]
        kept.remove("C")
    arranged = with_small_levels(arranged, kept.index("Y"))
    return ImageData(
        data=arranged[0],
        name=image_name(path),
        path=path,
        rgb=rgb,
        axes="".join(kept),
        spacing={axis: value for axis, value in distances.items() if axis in kept},
        smaller=tuple(arranged[1:]),
        window=None if rgb or "C" in kept else _window(shown),
        channels=_names(arranged[0], kept, shown),
    )


def _axes(path: Path, multiscale: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the letters of the axes and their units."""
    axes = list(multiscale.get("axes") or ())
    letters = "".join(str(axis.get("name", "")).upper() for axis in axes)
    known = len(letters) == len(axes) and len(set(letters)) == len(letters) and set(letters) <= set(_AXES)
    if not known or not {"Y", "X"} <= set(letters):
        names = [axis.get("name") for axis in axes]
        raise ImageError(f"{path}: expected axes out of t, c, z, y, x, with y and x, but got {names}; write it again.")
    return letters, {letter: str(axis.get("unit", "")) for letter, axis in zip(letters, axes, strict=True)}


def _level(path: Path, relative: object, axes: str) -> Any:
    """Return a dask array over one level."""
    import zarr

    folder = inside(path, relative)
    check_array(folder)
    source = zarr.open_array(zarr.storage.LocalStore(folder, read_only=True), mode="r")
    if source.ndim != len(axes):
        raise ImageError(f"{folder}: expected the axes {axes}, but its shape is {source.shape}; write it again.")
    lengths = dict(zip(axes, source.shape, strict=True))
    check_shape(folder, source.shape, (lengths["Y"], lengths["X"]))
    check_numbers(folder, source.dtype)
    check_chunk(folder, source.chunks, source.dtype)
    chunks = tuple(
        grouped(chunk, n) if axis in "YX" else min(chunk, n)
        for axis, chunk, n in zip(axes, source.chunks, source.shape, strict=True)
    )
    return lazy(source, folder, chunks)


def _check_levels(path: Path, shapes: Sequence[tuple[int, ...]], axes: str) -> None:
    """Refuse levels that are not one image at falling resolutions."""
    for larger, smaller in itertools.pairwise(shapes):
        falls = all(m <= n if axis in "ZYX" else m == n for axis, n, m in zip(axes, larger, smaller, strict=True))
        if not falls:
            raise ImageError(f"{path}: expected levels that get smaller, but got {list(shapes)}; write it again.")


def _arranged(level: Any, axes: str, kept: list[str]) -> Any:
    """Return a level with the axes in the order TCZYX, without those of length 1."""
    level = level[tuple(slice(None) if axis in kept else 0 for axis in axes)]
    stored = [axis for axis in axes if axis in kept]
    kept.sort(key=_AXES.index)
    return level.transpose([stored.index(axis) for axis in kept])


def _distances(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], axes: str, units: Mapping[str, str]
) -> dict[str, Spacing]:
    """Return the distances of neighbours at full resolution; those without a scale or a unit are left out."""
    scales = [_scale(metadata, axes) for metadata in (multiscale, dataset)]
    given = {axis: math.prod(scale.get(axis, 1.0) for scale in scales) for axis in {**scales[0], **scales[1]}}
    return known({axis: spacing(given[axis], units[axis]) for axis in axes if axis in given and axis != "C"})


def _scale(metadata: Mapping[str, Any], axes: str) -> dict[str, float]:
    """Return the factors by axis; where fewer are given than there are axes, they are those of the last ones."""
    for transformation in metadata.get("coordinateTransformations") or ():
        values = transformation.get("scale")
        if transformation.get("type") == "scale" and isinstance(values, list) and 2 <= len(values) <= len(axes):
            return dict(zip(axes[-len(values) :], map(float, values), strict=True))
    return {}


def _colours(level: Any, kept: Sequence[str], shown: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the channels are the colours of a picture."""
    if "C" not in kept or level.shape[kept.index("C")] != 3 or level.dtype.name != "uint8":
        return False
    return not shown or tuple(str(channel.get("color", "")).lstrip("#").upper() for channel in shown) == _COLOURS


def _names(level: Any, kept: Sequence[str], shown: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    names = tuple(str(channel.get("label", "")) for channel in shown)
    return names if "C" in kept and len(names) == level.shape[kept.index("C")] and all(names) else ()


def _window(shown: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    window = shown[0].get("window") or {} if len(shown) == 1 else {}
    if "start" not in window or "end" not in window:
        return None
    low, high = float(window["start"]), float(window["end"])
    return (low, high) if low < high else None
