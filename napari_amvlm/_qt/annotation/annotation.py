"""What is known of one plane: stored probabilities, thresholds, label values, and what is finished."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm._qt.annotation.plane_labels import PlaneLabels
from napari_amvlm.errors import LabelsError
from napari_amvlm.review import PixelState, compose_classes, set_locked
from napari_amvlm.review.composition import Composition, Overlaps, Proposal, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari.layers import Image, Labels

    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm.predictor import Prediction
    from napari_amvlm.session.accepted import Accepted

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class StoredPrediction:
    """A prediction, and what it was made with."""

    prediction: Prediction
    settings: ScaleSettings
    model: str | None


class Annotation(PlaneLabels):
    """The prompts of an image layer, of a stack those of one slice, and the labels layer that shows them.

    Parameters
    ----------
    image
        The image layer.
    usual_threshold
        Gives the threshold of a prompt that has none here.
    place
        The slice of a stack, a number for each axis before Y and X.
    sibling
        What is known of another slice: label values and thresholds are the same on all, and so is the labels layer.

    Attributes
    ----------
    finished
        Prompts whose pixels the model may neither change nor add to, but for objects that were unlocked.
    accepted
        What of each prompt is in the open project.
    image_id
        The image's number in the open project, once it is known there.
    """

    def __init__(
        self,
        image: Image,
        usual_threshold: Callable[[str], float] | None = None,
        *,
        place: tuple[int, ...] = (),
        sibling: Annotation | None = None,
    ) -> None:
        super().__init__(image, place)
        self._usual_threshold = usual_threshold or (lambda _prompt: DEFAULT_THRESHOLD)
        self.results: dict[str, StoredPrediction] = {}
        self.thresholds: dict[str, float] = sibling.thresholds if sibling is not None else {}
        self.finished: set[str] = set()
        self.accepted: dict[str, Accepted] = {}
        self.image_id: int | None = None
        self._shown_at = time.monotonic()
        if sibling is not None and sibling.labels is not None:
            self.attach(sibling.labels, sibling)

    def attach(self, labels: Labels, sibling: PlaneLabels | None = None) -> None:
        """Write to `labels` from now on; what it holds already is the person's."""
        if labels is not self.labels:
            self.finished = set()
            super().attach(labels, sibling)

    def detach(self) -> None:
        """Forget the labels layer: it was taken out of the viewer."""
        self.finished = set()
        super().detach()

    def keep(self, predictions: Iterable[Prediction], settings: ScaleSettings, model: str | None) -> None:
        """Store the probabilities of a run."""
        for prediction in predictions:
            self.results[prediction.prompt] = StoredPrediction(prediction, settings, model)
        self._shown_at = time.monotonic()

    def forget(self, prompt: str) -> None:
        """Drop the probabilities of a prompt, and what was accepted of it."""
        self.results.pop(prompt, None)
        self.accepted.pop(prompt, None)

    def is_current(self, prompt: str, settings: ScaleSettings, model: str | None) -> bool:
        """Tell whether the stored probabilities are those that a run would give now."""
        stored = self.results.get(prompt)
        return stored is not None and (stored.settings, stored.model) == (settings, model)

    def threshold(self, prompt: str) -> float:
        """Return the threshold of a prompt: this image's own, else the usual one."""
        return self.thresholds[prompt] if prompt in self.thresholds else self._usual_threshold(prompt)

    def has_run(self, prompt: str) -> bool:
        """Tell whether a prompt ran here."""
        return prompt in self.results

    def prompts(self) -> list[str]:
        """Return the prompts that ran here."""
        return list(self.results)

    def presence(self, prompt: str) -> float | None:
        """Return how probably what a prompt says is there; None where it did not run here."""
        stored = self.results.get(prompt)
        return stored.prediction.presence if stored is not None else None

    def proposals(self, prompts: Sequence[str]) -> list[Proposal]:
        """Return what the model proposes for those of `prompts` that ran here and are not finished."""
        return [
            Proposal(
                prompt,
                self.value(prompt),
                self.results[prompt].prediction.probability,
                self.threshold(prompt),
                self._blocked(prompt),
            )
            for prompt in prompts
            if prompt in self.results and self._may_propose(prompt)
        ]

    def first_free(self) -> int:
        """Return the value from which all are free."""
        largest = 0 if self.labels is None else int(self.data.max(initial=0))
        return max([largest, *self._values.values(), *self._finished_values()]) + 1

    def show(self, composition: Composition, *, undoable: bool = True) -> int:
        """Write a composition to the labels layer, as a step of undo if `undoable`; return how many pixels changed.

        Locked objects, finished prompts, and what the person painted or erased stay as they are.
        """
        if self.labels is None or self._tracker is None:
            raise LabelsError("There is no labels layer to write to; run the prompt again.")
        data = self.data
        edited = self._tracker.edited(data)
        finished = np.isin(data, self._finished_values()) & ~self._unlocked()
        indices, values = merge(
            data, composition.labels.astype(data.dtype, copy=False), edited, finished, self._locked()
        )
        self._tracker.note_before(data, edited)
        self._write(indices, values, undoable=undoable)
        self._tracker.note_written(self.data, edited)
        own = {value: prompt for prompt, value in self._values.items()}
        self.owners = {**own, **composition.owners, **self._still_shown(own)}
        self._describe_values()
        return int(values.size)

    def proposed(self, prompt: str) -> np.ndarray | None:
        """Return what the model had proposed at the threshold in use, bool (H, W)."""
        stored = self.results.get(prompt)
        return None if stored is None else np.asarray(stored.prediction.mask(self.threshold(prompt)))

    def finish(self, prompt: str, on: bool) -> None:
        """Call a prompt finished, with what was painted for it by hand, or take it up again, whatever was accepted."""
        if prompt in self.accepted:
            self.accepted[prompt] = self.accepted[prompt].opened(not on)
        if not on:
            self.finished.discard(prompt)
            return
        if self.labels is not None:
            for value in np.unique(self.data[self.mask(prompt)]):
                self.owners[int(value)] = prompt
        self.finished.add(prompt)

    def clear(self, prompt: str) -> int:
        """Take the pixels of a prompt off the labels layer, as one step of undo; return how many."""
        if self.labels is None or self._tracker is None:
            return 0
        own = np.isin(self.data, [value for value, owner in self.owners.items() if owner == prompt])
        edited = self._tracker.edited(self.data) & ~own
        indices = np.nonzero(own)
        self._write(indices, np.zeros(indices[0].size, self.data.dtype))
        self._tracker.note_written(self.data, edited)
        return int(indices[0].size)

    def restore(self, accepted: Mapping[str, Accepted], overlaps: Overlaps) -> None:
        """Show masks that were accepted before, below what lies in the labels layer already."""
        self.accepted = dict(accepted)
        if self.labels is None or self._tracker is None or not accepted:
            return
        data = self.data
        was_empty = not data.any()
        edited = self._tracker.edited(data)
        values = {prompt: self.value(prompt) for prompt in accepted}
        masks = {prompt: known.objects > 0 for prompt, known in accepted.items()}
        classes = compose_classes(masks, values, rule=overlaps.rule, order=overlaps.order)
        shown = np.where(data > 0, data, classes.astype(data.dtype))
        for prompt, known in accepted.items():
            if known.separate:
                self._part(shown, (data == 0) & (classes == values[prompt]), known.objects, prompt)
            if known.is_whole():
                self.finished.add(prompt)
        if was_empty:
            self._write(*merge(data, shown), undoable=False)  # nothing that Ctrl+Z would have to bring back
        else:
            self._write(*merge(data, shown))
        self._tracker.note_written(self.data, edited)
        self._describe_values()

    def _part(self, shown: np.ndarray, own: np.ndarray, objects: np.ndarray, prompt: str) -> None:
        """Give each object of `prompt` a value of its own; the first keeps the prompt's."""
        first = self.value(prompt)
        following = max(int(shown.max(initial=0)), self.first_free() - 1) + 1
        for place, number in enumerate(np.unique(objects[own]).tolist()):
            value = first if place == 0 else following + place - 1
            shown[own & (objects == number)] = value
            self.owners[value] = prompt

    def keep_accepted(self, prompt: str, accepted: Accepted) -> None:
        """Note that a mask is on the disk; the prompt is finished where all of the image was reviewed."""
        self.accepted[prompt] = accepted
        if accepted.is_whole():
            self.finish(prompt, True)

    def leave_project(self) -> None:
        """Forget what the project that was open knew of the image."""
        self.finished -= set(self.accepted)
        self.accepted = {}
        self.image_id = None

    def is_stored(self) -> bool:
        """Tell whether the labels layer holds nothing that the project lacks.

        That would be a prompt that was not accepted, or what a person painted or erased afterwards, or without any.
        """
        if self.labels is None or self._tracker is None:
            return True
        if any(prompt not in self.accepted for prompt in self.results):
            return False
        concerned, stored = self._tracker.edited(self.data), np.zeros(self.data.shape, np.bool_)
        for known in self.accepted.values():
            stored |= known.objects > 0
            concerned |= known.states != PixelState.NEVER
        return not bool((((self.data > 0) != stored) & concerned).any())

    def set_locked(self, prompt: str, objects: Iterable[int], locked: bool) -> None:
        """Lock objects of an accepted mask, or let the model paint over them, also where a person drew them."""
        known = self.accepted[prompt]
        chosen = list(objects)
        self.accepted[prompt] = replace(known, unlocked=set_locked(known.unlocked, chosen, locked))
        if not locked and self.labels is not None and self._tracker is not None:
            self._tracker.release(self.data, np.isin(known.objects, chosen))

    def change_objects(self, after: np.ndarray, owners: Mapping[int, str]) -> int:
        """Write label values that a person changed object by object, as one step of undo; return how many pixels.

        The objects that were changed are the person's from now on, all of their pixels.
        """
        if self.labels is None or self._tracker is None:
            raise LabelsError("There is no labels layer yet; run a prompt first.")
        before = self.data.copy()
        edited = self._tracker.edited(before)
        indices, values = merge(before, after.astype(before.dtype, copy=False))
        self._tracker.note_before(before, edited)
        self._write(indices, values)
        touched = np.union1d(before[indices], values)
        own = np.isin(self.data, touched[touched > 0])
        self._tracker.note_before(self.data, edited | own)
        self.owners.update(owners)
        self._describe_values()
        return int(values.size)

    def seconds_spent(self) -> float:
        """Return the time since the result was shown, and start anew."""
        spent, self._shown_at = time.monotonic() - self._shown_at, time.monotonic()
        return spent

    def _may_propose(self, prompt: str) -> bool:
        return prompt not in self.finished or (prompt in self.accepted and bool(self.accepted[prompt].unlocked))

    def _blocked(self, prompt: str) -> np.ndarray | None:
        return self.accepted[prompt].settled() if prompt in self.accepted else None

    def _locked(self) -> np.ndarray | None:
        parts = [known.locked() for known in self.accepted.values()]
        return np.logical_or.reduce(parts) if parts else None

    def _unlocked(self) -> np.ndarray:
        free = [np.isin(known.objects, list(known.unlocked)) for known in self.accepted.values() if known.unlocked]
        shape = () if self.labels is None else self.data.shape
        return np.logical_or.reduce(free) if free else np.zeros(shape, bool)

    def _finished_values(self) -> list[int]:
        return [value for value, owner in self.owners.items() if owner in self.finished]
