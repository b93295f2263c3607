"""The labels layer that holds the mask of one prompt on one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from qtpy.QtGui import QColor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

OPACITY = 0.55
_CLEAR = "#00000000"
_SHADES = ((0, 1.0), (24, 0.9), (-24, 0.95), (12, 0.8), (-12, 0.85))
"""Turn of the hue in degrees, and share of the brightness, of objects that are told apart."""


class MaskLayer(Labels):  # type: ignore[misc]  # napari has no types
    """A labels layer of one prompt; every value but 0 belongs to the mask.

    Attributes
    ----------
    prompt
        What it is the mask of.
    hidden
        Whether a person took it out of the viewer; it comes back when its prompt is chosen.
    look
        How it was shown last: "filled", "outlined", or "below" another.
    on_undo
        Called in place of `undo` (True) and `redo` (False), which it does with `undo_at`.
    """

    def __init__(self, data: Any, *, prompt: str, **options: Any) -> None:
        super().__init__(data, **options)
        self.prompt = prompt
        self.hidden = False
        self.look = ""
        self.on_undo: Callable[[MaskLayer, bool], None] | None = None

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
