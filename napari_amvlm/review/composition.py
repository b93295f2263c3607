"""From stored probabilities to label values, without touching what a person drew.  Numpy only."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.review import OverlapRule, compose_classes, visible_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Splitter = Callable[[np.ndarray, float], np.ndarray]

_LEAST = 1e-6


@dataclass(frozen=True)
class Overlaps:
    """Who wins a pixel that several prompts claim; `order` has the prompts from the one that wins on."""

    rule: OverlapRule = OverlapRule.SMALLEST
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """What the model proposes for one prompt: `probability` is float32 (H, W) in [0, 1].

    `blocked`, bool (H, W), marks what a person has settled for this prompt: nothing of it is proposed anew, and where
    objects are told apart, none that lies mostly below it.
    """

    prompt: str
    value: int
    probability: np.ndarray
    threshold: float
    blocked: np.ndarray | None = None


@dataclass(frozen=True)
class Composition:
    """Label values of an image, int32 (H, W), and the prompt that each value belongs to."""

    labels: np.ndarray
    owners: dict[int, str]


def compose(
    proposals: Sequence[Proposal],
    shape: tuple[int, int],
    *,
    overlaps: Overlaps | None = None,
    split: Splitter | None = None,
    first_free: int = 1,
) -> Composition:
    """Join the proposals of several prompts into one label image.

    Parameters
    ----------
    proposals : sequence of Proposal
    shape : (H, W)
        Shape of the result.
    overlaps : Overlaps, optional
        Who wins where more than one prompt is at or above its threshold; by default the smaller mask.
    split : callable, optional
        `split(probability, threshold)` gives objects (H, W), 1 and up: every object then gets a value of its own.
    first_free : int
        Values from here on are free for objects.
    """
    owners = {proposal.value: proposal.prompt for proposal in proposals}
    if not proposals:
        return Composition(np.zeros(shape, np.int32), owners)
    rule = overlaps or Overlaps()
    masks = {proposal.prompt: _mask(proposal, split) for proposal in proposals}
    values = {proposal.prompt: proposal.value for proposal in proposals}
    labels = compose_classes(masks, values, rule=rule.rule, order=rule.order).astype(np.int32)
    if split is None:
        return Composition(labels, owners)
    following = max([first_free, *(proposal.value + 1 for proposal in proposals)])
    for proposal in proposals:
        own = labels == proposal.value
        objects = _objects(proposal, own, split)
        more = max(int(objects.max(initial=0)) - 1, 0)
        # the first object keeps the prompt's own value, the others follow; what is too small for one is left out
        table = np.concatenate([[0, proposal.value], np.arange(following, following + more)])
        labels[own] = table[objects[own]]
        owners.update(dict.fromkeys(range(following, following + more), proposal.prompt))
        following += more
    return Composition(labels, owners)


def _mask(proposal: Proposal, split: Splitter | None) -> np.ndarray:
    mask = np.asarray(proposal.probability >= np.float32(proposal.threshold))
    if proposal.blocked is None:
        return mask
    if split is None:
        return np.asarray(mask & ~proposal.blocked)
    return np.asarray(visible_objects(_objects(proposal, mask, split), proposal.blocked) > 0)


def _objects(proposal: Proposal, own: np.ndarray, split: Splitter) -> np.ndarray:
    inside = np.where(own, np.maximum(proposal.probability, np.float32(_LEAST)), np.float32(0))
    return np.asarray(split(inside, max(proposal.threshold, _LEAST)))


class EditTracker:
    """Tells which pixels of a labels layer a person changed since the model last wrote to it.

    The layer is compared with what the model wrote; a state that the layer was in before (the person pressed
    Ctrl+Z) is recognised, so that an undone result does not count as a correction.
    """

    def __init__(self, data: np.ndarray, *, remembered: int = 32) -> None:
        self._remembered = remembered
        self._states: dict[tuple[int, int], np.ndarray | None] = {}
        self._written: np.ndarray = np.zeros_like(data)
        self._edited: np.ndarray | None = None
        self.note_written(data, self.edited(data))

    def edited(self, data: np.ndarray) -> np.ndarray:
        """Return the pixels, bool (H, W), that hold a person's own work now."""
        key = _digest(data)
        if key in self._states:
            known = self._states[key]
            return np.zeros(data.shape, bool) if known is None else known.copy()
        changed: np.ndarray = data != self._written
        if self._edited is not None:
            changed |= self._edited
        return changed

    def release(self, data: np.ndarray, where: np.ndarray) -> None:
        """Call the pixels `where`, bool (H, W), the model's from now on, though a person drew them."""
        self.note_written(data, self.edited(data) & ~where)

    def note_written(self, data: np.ndarray, edited: np.ndarray) -> None:
        """Remember the state after the model wrote; `edited` marks the person's own pixels in it."""
        self._written = data.copy()
        self.note_before(data, edited)

    def note_before(self, data: np.ndarray, edited: np.ndarray) -> None:
        """Remember the state before the model writes: undo may bring it back."""
        if self._edited is None or not np.array_equal(edited, self._edited):
            # states with the same edits share one array
            self._edited = edited if edited.any() else None
        self._remember(data)

    def _remember(self, data: np.ndarray) -> None:
        key = _digest(data)
        self._states.pop(key, None)
        self._states[key] = self._edited
        if len(self._states) > self._remembered:
            del self._states[next(iter(self._states))]


def merge(data: np.ndarray, proposed: np.ndarray, *keep: np.ndarray | None) -> tuple[tuple[Any, ...], np.ndarray]:
    """Return the indices at which `data` must change to become `proposed`, and the values there.

    Pixels marked in any of `keep` (finished objects, a person's corrections) are left alone.
    """
    change: np.ndarray = data != proposed
    for mask in keep:
        if mask is not None:
            change &= ~mask
    indices = np.nonzero(change)
    return indices, proposed[indices]


def _digest(data: np.ndarray) -> tuple[int, int]:
    raw = data.tobytes()
    return zlib.crc32(raw), zlib.adler32(raw)
