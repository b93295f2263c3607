"""The labels layer that holds the mask of one prompt on one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from napari.utils.events import Event
from qtpy.QtGui import QColor

from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

OPACITY = 0.55
_CLEAR = "#00000000"
_OVERLAYS = {"polygon": "polygon", "paint": "brush_stroke"}
"""What napari draws for a tool, by the tool's name."""
_POLYGON_SHOWN = 2
"""Points, with that of the pointer, up to which napari shows a line and no area."""
_SHADES = ((0, 1.0), (24, 0.9), (-24, 0.95), (12, 0.8), (-12, 0.85))
"""Turn of the hue in degrees, and share of the brightness, of objects that are told apart."""


@dataclass(frozen=True)
class Painted:
    """What a brush changed on one slice, or confirmed.

    Attributes
    ----------
    part
        A part of the change in the layer's history, which tells the change from others.
    rows, columns
        Its pixels, int64 `(K,)`.
    value
        What was painted; 0 erases.
    """

    part: Any
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    before: NDArray[np.integer]
    value: int


class MaskLayer(Labels):  # type: ignore[misc]  # napari has no types
    """A labels layer of one prompt; every value but 0 belongs to the mask.

    Attributes
    ----------
    hidden
        Whether a person took it out of the viewer; it comes back when its prompt is chosen.
    look
        How it was shown last: "filled", "outlined", or "below" another.
    confirms
        Whether the brush also counts where it changes nothing: it says that what is shown there is right.
    on_undo
        Called in place of `undo` (True) and `redo` (False), which it does with `undo_at`.

    Events
    ------
    stepped : change, bool
        A change was taken back (True) or done again.

    Raises
    ------
    LabelsError
        `data` was set to values of another shape; the mask stays as it was.
    """

    def __init__(self, data: Any, *, prompt: str, **options: Any) -> None:
        super().__init__(data, **options)
        self.prompt = prompt
        self.hidden = False
        self.look = ""
        self.confirms = False
        self.on_undo: Callable[[MaskLayer, bool], None] | None = None
        self._waiting: dict[tuple[int, ...], list[Any]] = {}  # unfinished polygons of slices that are out of view
        self.events.add(stepped=Event)
        # what the tools draw is a fifth of the time in which a mask comes into view
        for name in _OVERLAYS.values():
            if name in self._overlays:  # they differ by version of napari
                self._overlays[name].visible = False
        self.events.mode.connect(self._on_mode)

    def _on_mode(self, _event: Any = None) -> None:
        name = _OVERLAYS.get(str(self.mode))
        if name in self._overlays:
            self._overlays[name].visible = True

    @Labels.data.setter  # type: ignore[untyped-decorator]
    def data(self, data: Any) -> None:
        """Take other values; those of another shape are refused."""
        if not self.multiscale and np.shape(data) != np.shape(self.data):
            raise LabelsError(
                f"The mask of {self.prompt} has the shape {np.shape(self.data)}, but was given data of the shape "
                f"{np.shape(data)}: give data of the image's shape, or make a labels layer of your own for it."
            )
        Labels.data.fset(self, data)

    @property
    def _type_string(self) -> str:
        # napari finds icons and writers by it
        return "labels"

    def undo(self) -> None:
        """Take the last change back."""
        if self.on_undo is None:
            super().undo()
        else:
            self.on_undo(self, True)

    def redo(self) -> None:
        """Do the change again that was taken back last."""
        if self.on_undo is None:
            super().redo()
        else:
            self.on_undo(self, False)

    def is_drawing(self) -> bool:
        """Tell whether a polygon looks like a part of the mask, and is none before it is finished."""
        return len(self._polygon_points()) > _POLYGON_SHOWN

    def drop_point(self) -> bool:
        """Take the last point of an unfinished polygon back; tell whether there was one."""
        points = self._polygon_points()
        if points:  # the last one is where the pointer is
            self._overlays["polygon"].points = points[:-2] + points[-1:] if len(points) > _POLYGON_SHOWN else []
        return bool(points)

    def drop_polygon(self) -> None:
        """Take an unfinished polygon back whole."""
        if self._polygon_points():
            self._overlays["polygon"].points = []

    def turn_to(self, place: tuple[int, ...]) -> None:
        """Put an unfinished polygon of another slice aside until that is in view again.

        napari would go on with it on any slice, and paint it on the first.
        """
        points = self._polygon_points()
        begun = tuple(round(float(number)) for number in points[0][:-2]) if points else place
        if begun != place:
            self._waiting[begun] = points
            self.drop_polygon()
        if place in self._waiting and not self._polygon_points():
            self._overlays["polygon"].points = self._waiting.pop(place)

    def finish_polygon(self) -> None:
        """Let polygons that are being drawn be a part of the mask, as they look, without the point of the pointer."""
        for points in (self._polygon_points(), *self._waiting.values()):
            if len(points) > _POLYGON_SHOWN + 1:
                self.paint_polygon(points[:-1], self.selected_label)
        self._waiting.clear()
        self.drop_polygon()

    def _polygon_points(self) -> list[Any]:
        return list(self._overlays["polygon"].points) if "polygon" in self._overlays else []

    def undo_at(self, place: tuple[int, ...], undoing: bool = True) -> bool:
        """Take the last change on one slice back (or do it again); tell whether there was one.

        Changes of other slices stay, also where they are newer.
        """
        history = self._undo_history if undoing else self._redo_history
        number = self._newest(place, undoing)
        if number is None:
            return False
        item = history[number]
        del history[number]
        history.append(item)
        if undoing:
            super().undo()
        else:
            super().redo()
        return True

    def newest_change(self, place: tuple[int, ...], undoing: bool = True) -> Any:
        """Return what tells the last change on a slice, or the one that was taken back last, from all others."""
        number = self._newest(place, undoing)
        history = self._undo_history if undoing else self._redo_history
        # undo and redo reverse the parts of a change, but keep each
        return None if number is None else min(history[number], key=id)

    def extend_change(self, part: Any, indices: tuple[NDArray[np.intp], ...], values: NDArray[np.integer]) -> None:
        """Write values as a part of an earlier change, with which they are taken back from now on.

        Where the change is too old to be taken back, so are they.
        """
        change = next((each for each in reversed(self._undo_history) if any(one is part for one in each)), None)
        if change is not None:
            change.append((indices, self.data[indices].copy(), values))
        self.data[indices] = values
        self.refresh(extent=False)

    def _apply_mask_to_data(self, data: Any, mask: Any, new_label: int, volume_slice: Any) -> Any:
        if not self.confirms or self.preserve_labels or not mask.any():
            return super()._apply_mask_to_data(data, mask, new_label, volume_slice)
        # napari leaves out of its history what has the value already
        covered = np.array(mask, np.bool_)
        self._save_history(self._history_atom_for_mask_paint(volume_slice, data, covered, new_label))
        data[covered] = new_label
        return covered

    def _load_history(self, before: Any, after: Any, undoing: bool = True) -> None:
        change = before[-1] if before else None
        super()._load_history(before, after, undoing)
        if change is not None:
            self.events.stepped(value=(change, undoing))

    def _newest(self, place: tuple[int, ...], undoing: bool) -> int | None:
        history = self._undo_history if undoing else self._redo_history
        for number in reversed(range(len(history))):
            on = [_touches(part, place) for part in history[number]]
            if any(inside for inside, _ in on):
                # what was painted through several slices can only be taken back while nothing is newer
                whole = number == len(history) - 1 or all(alone for _, alone in on)
                return number if whole else None
        return None

    def set_style(self, colour: str, *, separate: bool) -> None:
        """Show the mask in one colour, or its objects in shades of it."""
        if separate:
            shades = [_CLEAR, *(_shade(colour, *shade) for shade in _SHADES)]
            colours: NDArray[np.float32] = np.array([QColor(each).getRgbF() for each in shades], np.float32)
            colours[0] = 0
            self.colormap = CyclicLabelColormap(colors=colours, background_value=0)
        else:
            self.colormap = DirectLabelColormap(color_dict={0: _CLEAR, None: colour})


def painted_at(change: Any, place: tuple[int, ...]) -> Painted | None:
    """Return what a brush changed or confirmed on a slice; None where that is nothing, or it was no brush."""
    parts = [part for part in change if hasattr(part, "slice_key")]
    found = [_pixels_at(part, place) for part in parts]
    if not any(len(rows) for rows, _, _ in found):
        return None
    rows, columns, before = (np.concatenate(each) for each in zip(*found, strict=True))
    pixels, first = np.unique(np.stack([rows, columns], 1), axis=0, return_index=True)
    return Painted(parts[0], pixels[:, 0], pixels[:, 1], before[first], int(parts[-1].new_value))


def _pixels_at(part: Any, place: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.integer]]:
    """Return rows, columns and former values of the pixels that one dab of a brush covers on a slice."""
    shape = tuple(axis.stop - axis.start for axis in part.slice_key)
    inside = np.nonzero(np.ones(shape, np.bool_) if part.mask is None else np.broadcast_to(part.mask, shape))
    where = [axis.start + numbers for axis, numbers in zip(part.slice_key, inside, strict=True)]
    here = np.ones(len(where[0]), np.bool_)
    for numbers, number in zip(where, place, strict=False):
        here &= numbers == number
    rows, columns = (numbers[here].astype(np.int64) for numbers in where[-2:])
    return rows, columns, np.asarray(part.old_values).ravel()[here]


def _touches(part: Any, place: tuple[int, ...]) -> tuple[bool, bool]:
    """Tell whether a part of a change lies on a slice, and whether on no other."""
    where = part[0] if isinstance(part, tuple) else part.slice_key
    inside = alone = True
    for axis, number in zip(where, place, strict=False):
        numbers = np.arange(axis.start, axis.stop) if isinstance(axis, slice) else np.asarray(axis)
        on = numbers == number
        inside, alone = inside and bool(on.any()), alone and bool(on.all())
    return inside, inside and alone


def _shade(colour: str, turn: int, share: float) -> str:
    hue, saturation, brightness, _ = QColor(colour).getHsv()
    return QColor.fromHsv((max(hue or 0, 0) + turn) % 360, saturation or 0, round((brightness or 0) * share)).name()
