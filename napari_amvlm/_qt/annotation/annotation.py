"""What is known of one plane: stored probabilities, thresholds, masks, and what is finished."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm._qt.annotation.masks import PlaneMasks
from napari_amvlm.review import PixelState, separate_pieces, set_locked
from napari_amvlm.review.proposal import propose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari.layers import Image

    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm.prediction import Prediction
    from napari_amvlm.project import Answer, PromptStyle
    from napari_amvlm.review.proposal import Splitter
    from napari_amvlm.session.accepted import Accepted

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class StoredPrediction:
    """A prediction, and what it was made with."""

    prediction: Prediction
    settings: ScaleSettings
    model: str | None


@dataclass(eq=False)
class Decision:
    """An Accept or a Reject that Ctrl+Z takes back.

    Attributes
    ----------
    accepts
        Whether it is an Accept.
    change
        The newest change of the mask when it was made; see `MaskLayer.newest_change`.
    stored
        Whether it changed the project.
    cleared
        Whether it took pixels off, which is `change` then.
    region
        What of the image an Accept was of, bool (H, W); None: all of it.
    around
        Once it was taken back: the newest change of the mask, and the one that redo would do.
    """

    accepts: bool
    change: Any
    stored: bool = True
    cleared: bool = False
    result: StoredPrediction | None = None
    region: np.ndarray | None = None
    around: tuple[Any, Any] = (None, None)


class Annotation(PlaneMasks):
    """The prompts of an image layer, of a stack those of one slice, and the masks that show them.

    Parameters
    ----------
    usual_threshold
        Gives the threshold of a prompt that has none here.
    style
        Gives value, colour and kind of a prompt's mask.
    place
        The slice of a stack, a number for each axis before Y and X.
    sibling
        What is known of another slice: layers and thresholds are the same on all.

    Attributes
    ----------
    finished
        Prompts whose pixels the model may neither change nor add to, but for objects that were unlocked.
    accepted
        What of each prompt is in the open project.
    drafts
        Unaccepted work that the open project keeps, by prompt, as it would be accepted.
    decisions, undone
        For each prompt what was accepted and rejected, the last at the end, and what of it was taken back.
    joined
        For each prompt the objects of several pieces that a person made one.
    guessed
        Prompts that were not taught and of which a person wants to see the model's guess.
    image_id
        The image's number in the open project, once it is known there.
    left
        The name of the project that the image was in before another was opened; empty where there is none.
    left_work
        Whether a person's work was not in the project then.
    """

    def __init__(
        self,
        image: Image,
        usual_threshold: Callable[[str], float] | None = None,
        style: Callable[[str], PromptStyle] | None = None,
        *,
        place: tuple[int, ...] = (),
        sibling: Annotation | None = None,
    ) -> None:
        super().__init__(image, place, style=style, sibling=sibling)
        self._usual_threshold = usual_threshold or (lambda _prompt: DEFAULT_THRESHOLD)
        self.results: dict[str, StoredPrediction] = {}
        self.thresholds: dict[str, float] = sibling.thresholds if sibling is not None else {}
        self.finished: set[str] = set()
        self.accepted: dict[str, Accepted] = {}
        self.drafts: dict[str, Answer] = {}
        self._saved: dict[str, tuple[int, int]] = {}  # states of masks that are kept as drafts, or were left behind
        self.decisions: dict[str, list[Decision]] = {}
        self.undone: dict[str, list[Decision]] = {}
        self.joined: dict[str, set[int]] = {}
        self.guessed: set[str] = set()
        self.image_id: int | None = None
        self.left = ""
        self.left_work = False
        self._shown_at = time.monotonic()

    # What the model says

    def keep(self, predictions: Iterable[Prediction], settings: ScaleSettings, model: str | None) -> None:
        """Store the probabilities of a run; `model` made those that do not say which one did."""
        for prediction in predictions:
            self.results[prediction.prompt] = StoredPrediction(prediction, settings, prediction.model or model)
        self._shown_at = time.monotonic()

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

    def is_drawn(self, prompt: str) -> bool:
        """Tell whether the model draws a prompt that ran: it is taught and may be there, or a person asked for it."""
        stored = self.results.get(prompt)
        return stored is not None and (stored.prediction.is_drawn or prompt in self.guessed)

    def prompts(self) -> list[str]:
        """Return the prompts that ran here."""
        return list(self.results)

    def presence(self, prompt: str) -> float | None:
        """Return how probably what a prompt says is there; None where it did not run here."""
        stored = self.results.get(prompt)
        return stored.prediction.presence if stored is not None else None

    def proposed(self, prompt: str) -> np.ndarray | None:
        """Return what the model had proposed at the threshold in use, bool (H, W)."""
        stored = self.results.get(prompt)
        return None if stored is None else np.asarray(self._probability(prompt) >= self.threshold(prompt))

    def _probability(self, prompt: str) -> np.ndarray:
        prediction = self.results[prompt].prediction
        return np.asarray(prediction.probability if self.is_drawn(prompt) else prediction.drawn)

    def is_open(self, prompt: str) -> bool:
        """Tell whether the model may change anything of a prompt."""
        return prompt not in self.finished or (prompt in self.accepted and bool(self.accepted[prompt].unlocked))

    def proposal(self, prompt: str, split: Splitter) -> Callable[[], np.ndarray]:
        """Take what a proposal for a prompt that ran needs; return what makes it, in any thread."""
        separate, found = self.style(prompt).separate_objects, self.results[prompt].prediction
        return partial(
            propose,
            self._probability(prompt),
            self.threshold(prompt),
            blocked=self.accepted[prompt].settled() if prompt in self.accepted else None,
            split=partial(split, depth=found.depth, marker=found.marker) if separate else None,
            before=self.plane(prompt).copy() if separate else None,
        )

    def show(self, prompt: str, proposed: np.ndarray, *, undoable: bool = True) -> None:
        """Write a proposal to the mask, as a step of undo if `undoable`.

        Locked objects, a finished mask, and what the person painted or erased stay as they are.
        """
        style, edited = self.style(prompt), self.edited(prompt)
        keep: list[np.ndarray | None] = [edited]
        known = self.accepted.get(prompt)
        if known is not None:
            unlocked = np.isin(known.objects, list(known.unlocked))
            keep += [known.locked(), self.mask(prompt) & ~unlocked if prompt in self.finished else None]
        self._draw(prompt, proposed * (1 if style.separate_objects else style.value), edited, *keep, undoable=undoable)

    # What the person decides

    def forget(self, prompt: str) -> None:
        """Drop the probabilities of a prompt, and what was accepted of it."""
        self.results.pop(prompt, None)
        self.accepted.pop(prompt, None)
        self.drop_draft(prompt)

    def finish(self, prompt: str, on: bool) -> None:
        """Call a prompt finished, with what was painted for it by hand, or take it up again, whatever was accepted."""
        if prompt in self.accepted:
            self.accepted[prompt] = self.accepted[prompt].opened(not on)
        if on:
            self.finished.add(prompt)
        else:
            self.finished.discard(prompt)

    def separate_cut_off(self, prompt: str) -> None:
        """Make every cut-off piece an object of its own, where objects are told apart."""
        if not self.style(prompt).separate_objects:
            return
        known = self.accepted.get(prompt)
        joined = set(self.joined.get(prompt, ()))
        if known is not None and known.separate:
            # of objects that were accepted in several pieces these were wanted
            again = separate_pieces(known.objects)
            joined |= set(np.unique(known.objects[again != known.objects]).tolist())
        after = separate_pieces(self.plane(prompt), joined)
        self._draw(prompt, after, self.edited(prompt), undoable=False)

    def restore(self, accepted: Mapping[str, Accepted]) -> None:
        """Show more masks that are in the project, below what a person painted here since."""
        self.accepted.update(accepted)
        for prompt, known in accepted.items():
            # what was shown before may be wanted back; of an empty mask there is nothing
            self.show_stored(prompt, undoable=bool(self.mask(prompt).any()))
            if known.is_whole():
                self.finished.add(prompt)

    def show_stored(self, prompt: str, *, edits: bool = True, undoable: bool = True) -> None:
        """Show the accepted mask of a prompt, and above it what the person painted since if `edits`."""
        known, edited = self.accepted[prompt], self.edited(prompt)
        reviewed = known.states != PixelState.NEVER
        stored = (
            known.objects if self.style(prompt).separate_objects else (known.objects > 0) * self.style(prompt).value
        )
        after = np.where(reviewed, stored, self.plane(prompt))
        kept = edited if edits else edited & ~reviewed
        self._draw(prompt, after, kept, kept, undoable=undoable)

    def keep_accepted(self, prompt: str, accepted: Accepted) -> None:
        """Note that a mask is on the disk; the prompt is finished where all of the image was reviewed."""
        self.accepted[prompt] = accepted
        if accepted.is_whole():
            self.drop_draft(prompt)
            self.finish(prompt, True)

    def leave_project(self, name: str) -> None:
        """Forget what project `name`, which was open, knew of the image; its masks are no work on the next one."""
        self.left = name if self.image_id is not None else self.left
        self.left_work = self.left_work or not self.is_stored()
        self.finished -= set(self.accepted)
        self._saved = {prompt: self.state(prompt) for prompt in self.layers}
        self.accepted, self.decisions, self.undone, self.drafts = {}, {}, {}, {}
        self.image_id = None

    def differs(self, prompt: str) -> bool:
        """Tell whether the mask is another than the accepted one, where that was reviewed."""
        known = self.accepted.get(prompt)
        if known is None:
            return False
        reviewed = known.states != PixelState.NEVER
        if known.separate and self.style(prompt).separate_objects:
            return bool(((self.plane(prompt) != known.objects) & reviewed).any())
        return bool(((self.mask(prompt) != (known.objects > 0)) & reviewed).any())

    def note_draft(self, prompt: str, answer: Answer) -> None:
        """Note that the project keeps the mask as it is now."""
        self.drafts[prompt] = answer
        self._saved[prompt] = self.state(prompt)

    def drop_draft(self, prompt: str) -> None:
        """Note that the project keeps no draft of a prompt."""
        self.drafts.pop(prompt, None)
        self._saved.pop(prompt, None)

    def show_draft(self, prompt: str, answer: Answer) -> None:
        """Show a draft; what it has beside the proposal of then is the person's."""
        style, mask = self.style(prompt), np.asarray(answer.mask, dtype=np.bool_)
        separate = style.separate_objects and answer.objects is not None
        values = np.asarray(answer.objects) if separate else mask * style.value
        edited = mask if answer.before is None else mask != np.asarray(answer.before, dtype=np.bool_)
        self._draw(prompt, values, edited, undoable=False)
        if answer.threshold is not None:
            self.thresholds[prompt] = answer.threshold
        self.note_draft(prompt, answer)

    def is_unsaved(self, prompt: str) -> bool:
        """Tell whether a person's work on a prompt is neither accepted nor kept as a draft."""
        if prompt not in self.layers or self._saved.get(prompt) == self.state(prompt):
            return False
        return self.has_work(prompt)

    def is_draft_stale(self, prompt: str) -> bool:
        """Tell whether the draft of a prompt was taken back since: the mask is as the model or the project has it."""
        return prompt in self.drafts and self._saved.get(prompt) != self.state(prompt) and not self.has_work(prompt)

    def has_work(self, prompt: str) -> bool:
        """Tell whether a person's work on a prompt is not accepted."""
        known, edited = self.accepted.get(prompt), self.edited(prompt)
        if known is None:
            return bool(edited.any())
        beyond = edited & (known.states == PixelState.NEVER)
        return self.differs(prompt) or bool((beyond & (self.mask(prompt) != (known.objects > 0))).any())

    def is_stored(self) -> bool:
        """Tell whether the masks hold nothing of a person's work that the project lacks."""
        return not any(self.is_unsaved(prompt) for prompt in self.layers)

    def set_locked(self, prompt: str, objects: Iterable[int], locked: bool) -> None:
        """Lock objects of an accepted mask, or let the model paint over them, also where a person drew them."""
        known, chosen = self.accepted[prompt], list(objects)
        self.accepted[prompt] = replace(known, unlocked=set_locked(known.unlocked, chosen, locked))
        if not locked:
            self._tracker(prompt).release(self.plane(prompt), np.isin(known.objects, chosen))

    def seconds_spent(self) -> float:
        """Return the time since the result was shown, and start anew."""
        spent, self._shown_at = time.monotonic() - self._shown_at, time.monotonic()
        return spent
