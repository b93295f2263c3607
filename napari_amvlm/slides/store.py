"""The result of a slide on disk: labels and probabilities in a zarr folder that is filled block by block."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from napari_amvlm.config import Config, ScaleName
from napari_amvlm.errors import InputError
from napari_amvlm.files import disk_errors
from napari_amvlm.models.inference import pooled_presence
from napari_amvlm.slides.blocks import BLOCK, BlockGrid
from napari_amvlm.slides.class_labels import label_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging import Tile
    from napari_amvlm.imaging.image_data import Spacing
    from napari_amvlm.slides.blocks import BlockIndex

TODO, DONE, BACKGROUND = 0, 1, 2

_ATTRIBUTE = "napari_amvlm"
_COUNTS = "napari_amvlm_objects"
_SMALLEST = 1024
_MOST_LEVELS = 7
_STATES_CHUNK = 256
_AGAIN = "give another folder, or have it done again from the start (--overwrite)"


class SlideRequest(Config):
    """Prompts, scale and model of a result; results of different requests are never mixed."""

    prompts: tuple[str, ...] = Field(min_length=1)
    threshold: float = Field(0.5, gt=0, lt=1)
    magnification: float = Field(1.0, gt=0)
    scale: ScaleName = Field("tiles", description="whether it was looked at in tiles, or once as a whole")
    objects: bool = Field(False, description="whether objects are numbered too")
    countable: tuple[bool, ...] = Field((), description="with objects: whether the model tells those of a prompt apart")
    marker: float = Field(0.5, gt=0, lt=1, description="depth from which on a pixel is the middle of an object")
    every_tile: bool = Field(False, description="whether what seems to be empty glass was looked at too")
    model: str = Field(description="sha256 of the model file, or its name where it has none")
    image: str = Field(description="name of the slide's file")
    bytes: int = Field(0, ge=0, description="size of that file; 0 for a folder")
    shape: tuple[int, int]
    block: int = Field(BLOCK, ge=64, multiple_of=64)

    @model_validator(mode="after")
    def _check_countable(self) -> SlideRequest:
        if self.objects and len(self.countable) != len(self.prompts):
            raise ValueError("with objects, countable needs a value for each prompt")
        return self


@dataclass(frozen=True)
class WrittenBlock:
    """A block whose finest level is stored.

    Attributes
    ----------
    labels, probability
        At the finest level, `(h, w)` and uint8 `(P, h, w)`; None where there is only glass.
    presence
        How probably each prompt is in it.
    """

    index: BlockIndex
    labels: NDArray[Any] | None
    probability: NDArray[np.uint8] | None
    presence: tuple[float, ...]


class SlideStore:
    """Labels, probabilities, and how far they are.

    The folder is an OME-Zarr 0.5 image of the labels, with levels.  Beside them lie `probability` (uint8
    `(P, H, W)`, 255 is 1) and `probability1`, `probability2`, ..., the same at the smaller levels, `presence` (float32
    `(P, rows, columns)`, by block) and `state` (uint8 `(rows, columns)`: 0 to do, 1 done, 2 background).  A block
    counts as done once all of it is on disk.  Where objects are wanted, there are `depth` (uint8 `(P, H, W)`, 255 is 1)
    and `objects` (uint32 `(P, H, W)`, 0 is background), which `number_objects` fills at the end.
    """

    def __init__(self, path: Path, group: Any, request: SlideRequest) -> None:
        self.path = path
        self.request = request
        self.grid = BlockGrid(request.shape, request.block)
        self.levels: list[Any] = [group[str(i)] for i in range(_level_count(request.shape))]
        self.probabilities: list[Any] = [group[_probability(i)] for i in range(len(self.levels))]
        self.probability: Any = self.probabilities[0]
        self._presence: Any = group["presence"]
        self._state: Any = group["state"]
        self.depth: Any = group["depth"] if request.objects else None
        self.objects: Any = group["objects"] if request.objects else None
        self._group = group

    @property
    def object_counts(self) -> tuple[int, ...] | None:
        """How many objects each prompt has; None before they are numbered."""
        counts = self._group.attrs.get(_COUNTS)
        return None if counts is None else tuple(int(count) for count in counts)

    def note_objects(self, counts: Sequence[int] | None) -> None:
        """Note that objects are numbered, and how many there are; None: that they are no more those of the masks."""
        self._group.attrs[_COUNTS] = None if counts is None else list(counts)

    @classmethod
    def open(
        cls,
        path: Path,
        request: SlideRequest,
        *,
        overwrite: bool = False,
        spacing: Mapping[str, Spacing] | None = None,
    ) -> SlideStore:
        """Create a result, or go on with one of the same request.

        Parameters
        ----------
        path
            The folder, usually `NAME.zarr`.
        overwrite
            Whether a result that is there is thrown away.
        spacing
            Pixel size of the slide, as in `ImageData`.

        Raises
        ------
        InputError
            Something else is there, or the result of another request.
        StorageError
            The disk refused.
        """
        if overwrite and _is_result(path):
            with disk_errors(path):
                shutil.rmtree(path)
        if path.exists():
            store = cls.read(path)
            changed = [name for name, value in store.request if value != getattr(request, name)]
            if changed:
                raise InputError(f"{path} holds the result of another request ({', '.join(changed)}); {_AGAIN}.")
            return store
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return cls(path, _created(path, request, spacing or {}), request)

    @classmethod
    def read(cls, path: Path) -> SlideStore:
        """Open a result that is there.

        Raises
        ------
        InputError
            There is none, or it is damaged.
        """
        import zarr
        from zarr.errors import GroupNotFoundError

        try:
            group: Any = zarr.open_group(path, mode="r+", zarr_format=3)
            return cls(path, group, SlideRequest.model_validate(group.attrs[_ATTRIBUTE]))
        except (GroupNotFoundError, KeyError, ValidationError, ValueError, OSError) as error:
            raise InputError(
                f"{path} exists, but is not the result of a slide, or a damaged one; {_AGAIN}, or remove it."
            ) from error

    @property
    def states(self) -> NDArray[np.uint8]:
        """State of every block, `(rows, columns)`: `TODO`, `DONE` or `BACKGROUND`."""
        return np.asarray(self._state[:], dtype=np.uint8)

    @property
    def block_presence(self) -> NDArray[np.float32]:
        """Presence of every prompt in every block, `(P, rows, columns)`; 0 where nothing is done."""
        return np.asarray(self._presence[:], dtype=np.float32)

    def presence(self) -> tuple[float, ...]:
        """Return, for every prompt, how probably it is on the slide, by the strongest tenth of the blocks done."""
        done = self.states == DONE
        if not done.any():
            return (0.0,) * len(self.request.prompts)
        presence = np.clip(self.block_presence[:, done].astype(np.float64), 1e-9, 1 - 1e-9)
        return tuple(pooled_presence(list(np.log(row / (1 - row)))) for row in presence)

    def write(self, index: BlockIndex, probability: NDArray[np.float32], presence: tuple[float, ...]) -> None:
        """Store a block: probabilities `(P, h, w)`, the labels at every level, and then that it is done.

        Raises
        ------
        StorageError
            The disk refused; the block counts as not done.
        """
        self.finish([self.write_finest(index, probability, presence)])

    def write_finest(
        self,
        index: BlockIndex,
        probability: NDArray[np.float32],
        presence: tuple[float, ...],
        depth: NDArray[np.float32] | None = None,
    ) -> WrittenBlock:
        """Store probabilities and depths `(P, h, w)` and labels of a block at the finest level; `finish` does the rest.

        Raises
        ------
        StorageError
            The disk refused.
        """
        area = self.grid.rectangle(index)
        labels = label_image(list(probability), self.request.threshold)
        with disk_errors(self.path):
            part = area.slices
            rounded = np.rint(probability * 255).astype(np.uint8)
            self.probability[(slice(None), *part)] = rounded
            self.levels[0][part] = labels
            if self.depth is not None and depth is not None:
                self.depth[(slice(None), *part)] = np.rint(depth * 255).astype(np.uint8)
        return WrittenBlock(index, labels, rounded, presence)

    def finish(self, blocks: Sequence[WrittenBlock]) -> None:
        """Store the smaller levels of blocks, presence, and then that they are done; neighbours at once.

        A chunk of a smaller level holds many blocks, so that what is stored of many at once is written once.

        Raises
        ------
        StorageError
            The disk refused; the blocks count as not done, or some of them.
        """
        with disk_errors(self.path):
            for run in _neighbours(blocks):
                row, column = run[0].index
                corner = self.grid.rectangle(run[0].index)
                for levels, finest in (
                    (self.levels, [block.labels for block in run]),
                    (self.probabilities, [block.probability for block in run]),
                ):
                    pixels = [each for each in finest if each is not None]
                    if pixels:
                        self._write_smaller(levels, corner, np.concatenate(pixels, axis=-1))
                columns = slice(column, column + len(run))
                self._presence[:, row, columns] = np.array([block.presence for block in run], np.float32).T
                self._state[row, columns] = BACKGROUND if run[0].labels is None else DONE

    def _write_smaller(self, levels: list[Any], corner: Tile, pixels: NDArray[Any]) -> None:
        """Write every level but the finest, `(..., H, W)`, of what lies from a corner on at the finest."""
        for index, level in enumerate(levels[1:], start=1):
            step = 2**index
            small = pixels[..., ::step, ::step]
            y, x = corner.y // step, corner.x // step
            level[..., y : y + small.shape[-2], x : x + small.shape[-1]] = small


def _neighbours(blocks: Sequence[WrittenBlock]) -> list[list[WrittenBlock]]:
    """Return blocks by runs: side by side in one row, all of them glass or none."""
    runs: list[list[WrittenBlock]] = []
    for block in sorted(blocks, key=lambda each: each.index):
        last = runs[-1][-1] if runs else None
        beside = last is not None and block.index == (last.index[0], last.index[1] + 1)
        if last is not None and beside and (block.labels is None) == (last.labels is None):
            runs[-1].append(block)
        else:
            runs.append([block])
    return runs


def _is_result(path: Path) -> bool:
    """Tell whether a folder is a result, so that nothing else is ever removed."""
    try:
        SlideStore.read(path)
    except InputError:
        return False
    return True


def _probability(level: int) -> str:
    return f"probability{level or ''}"


def _level_count(shape: tuple[int, int]) -> int:
    count = 1
    while count < _MOST_LEVELS and max(shape) > _SMALLEST * 2 ** (count - 1):
        count += 1
    return count


def _created(path: Path, request: SlideRequest, spacing: Mapping[str, Spacing]) -> Any:
    """Return a new zarr group with all arrays empty."""
    import zarr

    group: Any = zarr.create_group(path, zarr_format=3)
    height, width = request.shape
    side, count = request.block, len(request.prompts)
    rows, columns = BlockGrid(request.shape, side).counts
    steps = [2**i for i in range(_level_count(request.shape))]
    for index, step in enumerate(steps):
        shape = (-(-height // step), -(-width // step))
        group.create_array(str(index), shape=shape, chunks=(side, side), dtype=np.min_scalar_type(count))
        group.create_array(_probability(index), shape=(count, *shape), chunks=(1, side, side), dtype=np.uint8)
    if request.objects:
        for name, kind in (("depth", np.uint8), ("objects", np.uint32)):
            group.create_array(name, shape=(count, height, width), chunks=(1, side, side), dtype=kind)
    states = (min(rows, _STATES_CHUNK), min(columns, _STATES_CHUNK))
    group.create_array("presence", shape=(count, rows, columns), chunks=(count, *states), dtype=np.float32)
    group.create_array("state", shape=(rows, columns), chunks=states, dtype=np.uint8)
    group.attrs["ome"] = {"version": "0.5", "multiscales": [_multiscale(path.stem, steps, spacing)]}
    # Last: without it the folder is not taken for a result.
    group.attrs[_ATTRIBUTE] = request.model_dump(mode="json")
    return group


def _multiscale(name: str, steps: list[int], spacing: Mapping[str, Spacing]) -> dict[str, Any]:
    """Return what OME-Zarr says of the levels of the labels."""
    sizes = [spacing.get(axis, (1.0, "")) for axis in "YX"]
    axes = [
        {"name": axis, "type": "space"} | ({"unit": unit} if unit and unit != "pixel" else {})
        for axis, (_, unit) in zip("yx", sizes, strict=True)
    ]
    datasets = [
        {
            "path": str(index),
            "coordinateTransformations": [{"type": "scale", "scale": [size * step for size, _ in sizes]}],
        }
        for index, step in enumerate(steps)
    ]
    return {"name": name, "axes": axes, "datasets": datasets}
