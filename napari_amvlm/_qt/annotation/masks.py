"""The masks of one plane, or of one slice of a stack: a labels layer for each prompt, and what a person changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm._qt.layers.image import place_words
from napari_amvlm._qt.layers.labels import new_mask, write
from napari_amvlm.errors import LabelsError
from napari_amvlm.project.prompts import next_style
from napari_amvlm.review import connected_objects
from napari_amvlm.review.edits import EditTracker, changes, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_amvlm._qt.layers.mask import MaskLayer
    from napari_amvlm.project import PromptStyle


class PlaneMasks:
    """One labels layer for each prompt; every value but 0 belongs to its mask.

    Parameters
    ----------
    place
        The slice of a stack, a number for each axis before Y and X.
    style
        Gives value, colour and kind of a prompt's mask; by default the same for all.
    sibling
        The masks of another slice: the layers are the same.

    Attributes
    ----------
    layers
        The layer of each prompt that was drawn; it may be in no viewer.
    """

    def __init__(
        self,
        image: Image,
        place: tuple[int, ...] = (),
        *,
        style: Callable[[str], PromptStyle] | None = None,
        sibling: PlaneMasks | None = None,
    ) -> None:
        self.image = image
        self.place = place
        self.style = style or (lambda _prompt: next_style(()))
        self.layers: dict[str, MaskLayer] = sibling.layers if sibling is not None else {}
        self._trackers: dict[str, EditTracker] = {}

    @property
    def name(self) -> str:
        """The image's name, of a slice with its number."""
        return f"{self.image.name} {place_words(self.image, self.place)}".rstrip()

    def layer(self, prompt: str) -> MaskLayer:
        """Return the layer of a prompt, an empty one where there was none."""
        if prompt not in self.layers:
            self.layers[prompt] = new_mask(self.image, prompt)
            self.show_style(prompt)
        return self.layers[prompt]

    def show_style(self, prompt: str) -> None:
        """Show a mask, if there is one, as its style says."""
        if prompt in self.layers:
            style = self.style(prompt)
            self.layers[prompt].set_style(style.colour, separate=style.separate_objects)

    def plane(self, prompt: str) -> np.ndarray:
        """Return the values of a prompt, (H, W); writing to them writes to the layer."""
        data = self.layer(prompt).data
        return np.asarray(data[self.place] if self.place else data)

    def mask(self, prompt: str) -> np.ndarray:
        """Return the mask as it is now, bool (H, W); of a prompt that was not drawn an empty one."""
        return np.asarray(self.plane(prompt) > 0)

    def objects(self, prompt: str) -> np.ndarray | None:
        """Return the objects of a prompt, int32 (H, W), where they are told apart; else None."""
        return self.plane(prompt).astype(np.int32) if self.style(prompt).separate_objects else None

    def edited(self, prompt: str) -> np.ndarray:
        """Return the pixels that a person changed, bool (H, W)."""
        return self._tracker(prompt).edited(self.plane(prompt))

    def state(self, prompt: str) -> tuple[int, int]:
        """Return what tells the present mask of a prompt from others."""
        return digest(self.plane(prompt))

    def clear(self, prompt: str) -> None:
        """Take all pixels off, as one step of undo; they count as the model's."""
        plane = self.plane(prompt)
        self._draw(prompt, np.zeros_like(plane), np.zeros(plane.shape, np.bool_))

    def take(self, prompt: str, values: np.ndarray) -> None:
        """Add the pixels above 0 of `values`, (H, W), as one step of undo; they count as the person's."""
        plane = self.plane(prompt)
        chosen = values > 0
        after = np.where(chosen, values if self.style(prompt).separate_objects else self.style(prompt).value, plane)
        self._draw(prompt, after, self.edited(prompt) | chosen)

    def change_objects(self, prompt: str, after: np.ndarray) -> None:
        """Write values that a person changed object by object, as one step of undo.

        The objects that were changed are the person's from now on, all of their pixels.
        """
        before = self.plane(prompt)
        touched = np.union1d(before[before != after], after[before != after])
        own = np.isin(after, touched[touched > 0])
        self._draw(prompt, after, self.edited(prompt) | (before != after) | own)

    def set_separate(self, prompt: str, on: bool) -> None:
        """Give each connected piece of a mask a number, or all of it one value; not a step of undo."""
        if prompt in self.layers:
            mask, value = self.mask(prompt), self.style(prompt).value
            self._draw(prompt, connected_objects(mask) if on else mask * value, self.edited(prompt), undoable=False)

    def _draw(
        self, prompt: str, after: np.ndarray, edited: np.ndarray, *keep: np.ndarray | None, undoable: bool = True
    ) -> None:
        """Write `after` where none of `keep` is, and note which pixels are the person's in the result."""
        layer = self.layer(prompt)
        if isinstance(layer.data, list) or layer.multiscale:
            raise LabelsError(f"The mask {layer.name!r} cannot be painted on.")
        plane, tracker = self.plane(prompt), self._tracker(prompt)
        tracker.note_before(plane, tracker.edited(plane))
        indices, values = changes(plane, after.astype(plane.dtype, copy=False), *keep)
        write(layer, indices, values, place=self.place, undoable=undoable)
        tracker.note_written(self.plane(prompt), edited)

    def _tracker(self, prompt: str) -> EditTracker:
        if prompt not in self._trackers:
            self._trackers[prompt] = EditTracker(self.plane(prompt))
        return self._trackers[prompt]
