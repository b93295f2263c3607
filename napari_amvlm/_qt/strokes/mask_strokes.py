"""The strokes on one mask, and what they spread to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_amvlm.review.followed import Shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.layers.mask import Painted
    from napari_amvlm.review.followed import Box, Follower, Stroke
    from napari_amvlm.strokes import Reach


@dataclass(eq=False)
class MaskStrokes:
    """The strokes of one mask.

    Attributes
    ----------
    pinned
        What was painted before strokes spread here, bool `(H, W)`.
    strokes
        All of them, the oldest first, each with what was painted.
    withdrawn
        Those that were taken back.
    begun
        Those that the followers hold as a part of the mask they began with.
    key, reach
        What the followers were made with: the model, what it found, and the image; and how far strokes spread.
    followers
        For each part of the image what strokes spread to.
    """

    pinned: np.ndarray
    strokes: dict[Stroke, Painted] = field(default_factory=dict)
    withdrawn: set[Stroke] = field(default_factory=set)
    begun: set[Stroke] = field(default_factory=set)
    key: tuple[Any, ...] = ()
    reach: Reach = "near"
    followers: dict[Box | None, Follower] = field(default_factory=dict)

    def stands(self, stroke: Stroke) -> bool:
        """Tell whether a stroke was not taken back."""
        return stroke in self.strokes and stroke not in self.withdrawn

    def begin_anew(self, key: tuple[Any, ...]) -> None:
        """Let what is shown be what the next stroke corrects."""
        self.key, self.followers, self.begun = key, {}, set(self.strokes)

    def evidence(self, stroke: Stroke) -> list[Stroke]:
        """Return what the mask follows, up to a stroke."""
        every = [each for each in self.strokes if self.stands(each) and each.spreads and each not in self.begun]
        return every[: every.index(stroke) + 1]

    def shown(self, annotation: Annotation, prompt: str) -> Shown:
        """Return the mask as it is shown; what was painted or is locked follows nothing."""
        style, known = annotation.style(prompt), annotation.accepted.get(prompt)
        kept = self.pinned.copy() if known is None else self.pinned | known.locked()
        for each in self.strokes:
            if self.stands(each):
                kept[each.rows, each.columns] = True
        value = None if style.separate_objects else style.value
        labels = annotation.plane(prompt).copy()
        return Shown(labels, annotation.edited(prompt), kept, annotation.threshold(prompt), value)

    def before(self, strokes: Sequence[Stroke], labels: np.ndarray) -> np.ndarray:
        """Return labels as they were before the last strokes, `(H, W)`."""
        left = labels.copy()
        for stroke in reversed(strokes):
            if self.stands(stroke):
                painted = self.strokes[stroke]
                left[painted.rows, painted.columns] = painted.before
        return left


@dataclass(frozen=True)
class Job:
    """A stroke that a mask is to follow."""

    annotation: Annotation
    prompt: str
    mask: MaskStrokes
    stroke: Stroke


def same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Tell whether two tuples hold the same objects."""
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
