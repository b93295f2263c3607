"""The part of a labels layer that belongs to a plane, or to one slice of a stack: its values and whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm._qt.layers.image import place_words
from napari_amvlm._qt.layers.labels import write
from napari_amvlm.errors import LabelsError
from napari_amvlm.review.composition import EditTracker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Image, Labels


class PlaneLabels:
    """Label values on a plane, and the prompts that they belong to.

    Parameters
    ----------
    image
        The image layer.
    place
        The slice of a stack, a number for each axis before Y and X.

    Attributes
    ----------
    labels
        The labels layer; None before anything was drawn.
    owners
        The prompt that each label value belongs to.
    """

    def __init__(self, image: Image, place: tuple[int, ...] = ()) -> None:
        self.image = image
        self.place = place
        self.labels: Labels | None = None
        self.owners: dict[int, str] = {}
        self._values: dict[str, int] = {}
        self._tracker: EditTracker | None = None

    @property
    def name(self) -> str:
        """The image's name, of a slice with its number."""
        return f"{self.image.name} {place_words(self.image, self.place)}".rstrip()

    @property
    def data(self) -> np.ndarray:
        """The part of the labels layer that this is about, (H, W); writing to it writes to the layer."""
        if self.labels is None:
            raise LabelsError("There is no labels layer yet; run a prompt first.")
        return np.asarray(self.labels.data[self.place] if self.place else self.labels.data)

    def attach(self, labels: Labels, sibling: PlaneLabels | None = None) -> None:
        """Write to `labels` from now on; what it holds already is the person's.

        Of a stack, the label values are those of the `sibling`.
        """
        if labels is self.labels:
            return
        self.labels = labels
        self.owners = {}
        self._values = sibling._values if sibling is not None else {}
        self._tracker = EditTracker(self.data)

    def detach(self) -> None:
        """Forget the labels layer: it was taken out of the viewer."""
        self.labels = None
        self.owners = {}
        self._values = {}
        self._tracker = None

    def all_owners(self) -> dict[int, str]:
        """Return the prompt of every value, also of prompts that ran on other slices alone."""
        return {value: prompt for prompt, value in self._values.items()} | self.owners

    def value(self, prompt: str) -> int:
        """Return the label value of a prompt, the smallest that is free when it has none yet."""
        if prompt not in self._values:
            taken = {*self.owners, *self._values.values()}
            if self.labels is not None:
                taken |= {int(value) for value in np.unique(self.data)}
            self._values[prompt] = next(value for value in range(1, len(taken) + 2) if value not in taken)
        self.owners.setdefault(self._values[prompt], prompt)
        return self._values[prompt]

    def mask(self, prompt: str) -> np.ndarray:
        """Return the pixels of `prompt` as they are now, bool (H, W).

        Values that belong to no prompt were painted by hand; they count for the prompt that is asked for.
        """
        if self.labels is None:
            raise LabelsError("There is no labels layer yet; run a prompt first.")
        others = [value for value, owner in self.all_owners().items() if owner != prompt]
        data = self.data
        return np.asarray((data > 0) & ~np.isin(data, others))

    def objects(self, prompt: str) -> np.ndarray | None:
        """Return the objects of a prompt, int32 (H, W), where they were told apart; else None."""
        mask = self.mask(prompt)
        if self.labels is None or np.unique(self.data[mask]).size < 2:
            return None
        return np.where(mask, self.data, 0).astype(np.int32)

    def _write(self, indices: tuple[Any, ...], values: np.ndarray, *, undoable: bool = True) -> None:
        if self.labels is not None:
            write(self.labels, indices, values, place=self.place, undoable=undoable)

    def _still_shown(self, own: Mapping[int, str]) -> dict[int, str]:
        """Return the owners of values that are no prompt's own and lie in the layer all the same: kept objects."""
        others = {value: prompt for value, prompt in self.owners.items() if value not in own}
        if not others or self.labels is None:
            return {}
        present = set(np.unique(self.data).tolist())
        return {value: prompt for value, prompt in others.items() if value in present}

    def _describe_values(self) -> None:
        # napari shows these words for the value under the mouse
        if self.labels is not None:
            owners = self.all_owners()
            values = sorted(owners)
            self.labels.features = {"index": values, "prompt": [owners[value] for value in values]}
