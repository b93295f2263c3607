"""The reader that napari calls for the files and folders that are dropped on it or opened from its menu."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import Plane, image_kind, in_plane, open_images, plane_of
from napari_amvlm.imaging.formats.dicom_files import open_dicom_series
from napari_amvlm.imaging.numbered import numbered_stacks, open_numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_amvlm.imaging import ImageData

    LayerData = tuple[Any, dict[str, Any], str]
    Reader = Callable[[str | Sequence[str]], list[LayerData]]

_MOST_IMAGES = 32
_COLOURMAPS = ("green", "magenta", "cyan", "yellow", "red", "blue")


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what reads `path`, None where that is no image this package understands.

    Several paths are read together where all are DICOM files, or planes that are called by numbers; other stacks are
    left to other readers.
    """
    paths = [path] if isinstance(path, str) else list(path)
    try:
        kinds = {image_kind(Path(one)) for one in paths}
    except (ImageError, OSError):
        return None
    if len(paths) == 1:
        return None if None in kinds else read_layers
    stacks = numbered_stacks(map(Path, paths)) if kinds <= {"plain", "tiff"} else []
    return read_layers if kinds == {"dicom"} or [len(files) for _, files in stacks] == [len(paths)] else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Return the layers of the images at `path`, a file, a folder, or the DICOM files of a series.

    Raises
    ------
    ImageError
        They cannot be read.
    """
    paths = [Path(path)] if isinstance(path, str) else [Path(one) for one in path]
    images = open_images(paths[0]) if len(paths) == 1 else _together(paths)
    if len(images) > _MOST_IMAGES:
        raise ImageError(
            f"{paths[0]} holds {len(images)} images, too many to show at once; open the folder of one of them, for "
            f"instance {images[0].path}."
        )
    plane = _preferred_plane()
    return [
        layer
        for image in images
        for layer in image_layers(in_plane(image, plane) if plane_of(image.orientation) else image)
    ]


def _preferred_plane() -> Plane:
    """Return the plane that volumes are cut in, as a person set it under Preferences, AMVLM."""
    settings: Any = sys.modules.get("napari.settings")  # without napari, nobody prefers anything
    try:
        wanted = str(settings.get_plugin_settings("napari-amvlm").work.plane)
    except (KeyError, AttributeError):  # not installed as a plugin, or with an earlier manifest
        return "acquired"
    return wanted if wanted in get_args(Plane) else "acquired"  # type: ignore[return-value]


def _together(paths: Sequence[Path]) -> list[ImageData]:
    """Return the images in several files."""
    if image_kind(paths[0]) == "dicom":
        return open_dicom_series(paths, paths[0].parent)
    return [open_numbered(files, name) for name, files in numbered_stacks(paths)]


def image_layers(image: ImageData) -> list[LayerData]:
    """Return one layer, or one for each channel."""
    if "C" not in image.axes:
        return [_layer(image)]
    layers = []
    for index in range(image.data.shape[image.axes.index("C")]):
        data, options, kind = _layer(image.of_channel(index))
        colours = {"colormap": _COLOURMAPS[index % len(_COLOURMAPS)], "blending": "additive"}
        layers.append((data, options | colours, kind))
    return layers


def _layer(image: ImageData) -> LayerData:
    options: dict[str, Any] = {
        "name": image.name,
        "rgb": image.rgb,
        "scale": image.scale,
        "units": image.units,
        "axis_labels": tuple(image.axes.lower()),
        "multiscale": bool(image.smaller),
        "metadata": {
            "path": str(image.path),
            "orientation": image.orientation,
            "patient_left": image.patient_left,
            "window": image.window,
        },
    }
    if image.window is not None and not image.rgb:
        options["contrast_limits"] = image.window
    return (list(image.levels) if image.smaller else image.data, options, "image")
