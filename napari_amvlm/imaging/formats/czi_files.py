"""CZI files of Zeiss microscopes, by Zeiss's own library: scenes, channels, slices and times, read by regions."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import LEAST_CHUNK, lazy, need, reading, with_small_levels
from napari_amvlm.imaging.formats.limits import EAGER_BYTES, LARGEST_PLANE, check_shape
from napari_amvlm.imaging.image_data import ImageData, Spacing, image_name, known, spacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

START = b"ZISRAWFILE"
_TYPES = {"Gray8": np.uint8, "Gray16": np.uint16, "Gray32Float": np.float32, "Bgr24": np.uint8, "Bgr48": np.uint16}
_OTHER_AXES = {"B": "blocks", "H": "phases", "I": "illuminations", "R": "rotations", "V": "views"}
_ZOOMS = 8
"""At most so many lower resolutions of a large scene."""


class _Scene:
    """One resolution of a scene, `(T, C, Z, Y, X[, 3])`, read plane by plane and region by region."""

    def __init__(
        self, reader: Any, lock: Any, box: Any, scene: int | None, kind: str, numbers: dict[str, list[int]], step: int
    ) -> None:
        self._reader, self._lock, self._box, self._scene, self._step = reader, lock, box, scene, step
        self._kind, self._numbers = kind, numbers
        colours = (3,) if kind.startswith("Bgr") else ()
        self._gap = (float(bool(colours)),) * 3  # glass in bright field, nothing in fluorescence
        self.shape = (*(len(numbers[axis]) for axis in "TCZ"), box.h // step, box.w // step, *colours)
        self.dtype = np.dtype(_TYPES[kind])

    def __getitem__(self, key: Any) -> NDArray[Any]:
        ranges = [range(*part.indices(length)) for part, length in zip(key, self.shape, strict=False)]
        times, channels, slices, rows, columns = ranges[:5]
        places = itertools.product(times, channels, slices)
        planes = [
            self._plane({a: self._numbers[a][n] for a, n in zip("TCZ", p, strict=True)}, rows, columns) for p in places
        ]
        return np.stack(planes).reshape(*(len(part) for part in ranges[:5]), *self.shape[5:])

    def _plane(self, plane: dict[str, int], rows: range, columns: range) -> NDArray[Any]:
        step = self._step
        corner = (self._box.x + columns.start * step, self._box.y + rows.start * step)
        roi = (*corner, len(columns) * step, len(rows) * step)
        with self._lock:
            pixels = self._reader.read(
                roi, plane, self._scene, zoom=1 / step, pixel_type=self._kind, background_pixel=self._gap
            )
        pixels = pixels[: len(rows), : len(columns)]
        return np.asarray(pixels[..., ::-1] if len(self.shape) == 6 else pixels[..., 0])


def open_czi(path: Path) -> list[ImageData]:
    """Describe the scenes of a CZI file: one image each.

    Raises
    ------
    ImageError
        pylibCZIrw is not installed, or the file is damaged, or of a number format or with axes that are not known.
    """
    with reading(path):
        need("pylibCZIrw", path, "CZI", "czi")
        from pylibCZIrw import czi

        # Open as long as the arrays are in use.
        reader = czi.CziReader(str(path), czi.ReaderFileInputTypes.Standard)
        stored, kinds = _stored(reader)
        if len(kinds) != 1 or not kinds <= set(_TYPES):
            raise ImageError(f"{path}: expected one of {', '.join(_TYPES)} in all channels, but got {sorted(kinds)}.")
        ends = {axis: int(end) for axis, (_, end) in reader.total_bounding_box.items()}
        for axis, things in _OTHER_AXES.items():
            if ends.get(axis, 1) > 1:
                raise ImageError(
                    f"{path} has {ends[axis]} {things} (axis {axis}) beside T, C and Z, of which no more than the "
                    "first could be read; export one of them, for instance with ZEN."
                )
        # Tiles of the stored lower resolutions may reach beyond the scene.
        scenes = dict(reader.scenes_bounding_rectangle_no_pyramid)
        boxes: list[tuple[int | None, Any]] = list(scenes.items()) or [
            (None, reader.total_bounding_rectangle_no_pyramid)
        ]
        lock = threading.Lock()
        (kind,) = kinds
        images = [_describe(path, reader, lock, box, number, kind, stored[number]) for number, box in boxes]
    if len(images) == 1:
        return images
    return [replace(image, name=f"{image.name} {number}") for number, image in enumerate(images, 1)]


def _stored(reader: Any) -> tuple[dict[int | None, dict[str, list[int]]], set[str]]:
    """Return the numbers of times, channels and slices that each scene has, and the kinds of its pixels.

    They need not begin at 0, nor follow one another: parts of a larger file keep its numbers.
    """
    found: dict[int | None, dict[str, set[int]]] = {}
    kinds: set[str] = set()

    def note(_number: int, block: Any) -> bool:
        place = block.coordinate.to_dict()
        axes = found.setdefault(place.get("S"), {axis: set() for axis in "TCZ"})
        for axis, numbers in axes.items():
            numbers.add(place.get(axis, 0))
        kinds.add(block.pixelType.name)
        return True

    reader.enumerate_subblocks(note)
    return {scene: {axis: sorted(n) for axis, n in axes.items()} for scene, axes in found.items()}, kinds


def _describe(
    path: Path, reader: Any, lock: Any, box: Any, scene: int | None, kind: str, numbers: dict[str, list[int]]
) -> ImageData:
    levels: list[Any] = []
    step = 1
    while len(levels) < _ZOOMS:
        source = _Scene(reader, lock, box, scene, kind, numbers, step)
        check_shape(path, source.shape, source.shape[3:5])
        chunks = (1, 1, 1, *(min(LEAST_CHUNK, side) for side in source.shape[3:5]), *source.shape[5:])
        levels.append(lazy(source, path, chunks))
        if box.h * box.w <= LARGEST_PLANE or min(source.shape[3:5]) < 2 * LEAST_CHUNK:
            break
        step *= 2
    rgb = levels[0].ndim == 6
    kept = [number for number, axis in enumerate("TCZYX") if axis in "YX" or levels[0].shape[number] > 1]
    axes = "".join("TCZYX"[number] for number in kept)
    arranged = [level[tuple(slice(None) if n in (*kept, 5) else 0 for n in range(level.ndim))] for level in levels]
    arranged = with_small_levels(arranged, axes.index("Y"))
    if len(arranged) == 1 and arranged[0].nbytes <= EAGER_BYTES:
        arranged = [np.asarray(arranged[0].compute(scheduler="synchronous"))]
    return ImageData(
        arranged[0],
        image_name(path),
        path,
        rgb,
        axes,
        spacing=_distances(reader.metadata),
        smaller=tuple(arranged[1:]),
        channels=_channel_names(reader.metadata, numbers["C"]) if "C" in axes else (),
    )


def _within(metadata: Any, *keys: str) -> Any:
    for key in keys:
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    return metadata


def _distances(metadata: Any) -> dict[str, Spacing]:
    """Return the scaling, which is in meters, in micrometers."""
    items = _within(metadata, "ImageDocument", "Metadata", "Scaling", "Items", "Distance")
    values = (
        {str(item.get("@Id")): item.get("Value") for item in items if isinstance(item, dict)}
        if isinstance(items, list)
        else {}
    )
    sizes: dict[str, Spacing | None] = {}
    for axis in "ZYX":
        try:
            sizes[axis] = spacing(float(str(values.get(axis))) * 1e6, "um")
        except ValueError:
            continue
    return known(sizes)


def _channel_names(metadata: Any, numbers: list[int]) -> tuple[str, ...]:
    keys = ("ImageDocument", "Metadata", "Information", "Image", "Dimensions", "Channels", "Channel")
    channels = _within(metadata, *keys)
    named = {str(one.get("@Id")): str(one.get("@Name", "")) for one in channels} if isinstance(channels, list) else {}
    wanted = [f"Channel:{number}" for number in numbers]
    names = [named[key] for key in wanted] if named.keys() >= set(wanted) else [*named.values()]
    return tuple(names) if len(names) == len(numbers) and all(names) else ()
