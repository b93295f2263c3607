"""What a fine-tuning run learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_amvlm.errors import LabelsError, NotEnoughDataError
from napari_amvlm.imaging.scale import stretched, stretched_labels
from napari_amvlm.imaging.values import is_gray

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName


class StoredPixels(Protocol):
    """An image that is read when it is needed, for sets that are larger than memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(H, W, 3)`."""

    def read(self) -> NDArray[np.float32]:
        """Return float32 `(H, W, 3)` in [0, 1]."""


@dataclass(frozen=True)
class LabelledImage:
    """An image with a mask for each prompt that somebody answered.

    Attributes
    ----------
    image
        float32 `(H, W, 3)` in [0, 1], or what reads that.
    masks
        For each prompt a bool mask `(H, W)`; of a stored image they may be read too when they are asked for.
    scales
        For each prompt the working scale to learn it at.
    reviewed
        Pixels that somebody looked at, bool `(H, W)`; None means all. A mapping gives them for single prompts, those
        that are not in it were looked at everywhere. The others count as unlabelled, not as background.
    objects
        Numbers of the objects of the prompts whose objects a person told apart, `(H, W)`.
    shows
        Of an image that is read when it is needed, the prompts that its masks show; None counts all as shown.

    Raises
    ------
    LabelsError
        A mask has not the shape of the image.
    """

    name: str
    image: NDArray[np.float32] | StoredPixels
    masks: Mapping[str, NDArray[np.bool_]]
    scales: Mapping[str, ScaleName]
    reviewed: NDArray[np.bool_] | Mapping[str, NDArray[np.bool_]] | None = None
    objects: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)
    shows: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Check shapes, of what is in memory."""
        if not isinstance(self.image, np.ndarray):
            return
        shape = self.image.shape[:2]
        for prompt, mask in self.masks.items():
            others = ("reviewed pixels", self.reviewed_for(prompt)), ("objects", self.objects.get(prompt))
            for kind, values in (("mask", mask), *others):
                if values is not None and values.shape != shape:
                    raise LabelsError(
                        f"The {kind} of {prompt!r} for {self.name} has shape {values.shape}, "
                        f"but the image has {shape}; make them equal."
                    )

    def pixels(self) -> NDArray[np.float32]:
        """Return the image, float32 `(H, W, 3)` in [0, 1]."""
        return self.image if isinstance(self.image, np.ndarray) else self.image.read()

    @property
    def nbytes(self) -> int:
        """Bytes of pixels and masks, of an image in memory."""
        reviewed = [r for prompt in self.masks if (r := self.reviewed_for(prompt)) is not None]
        return sum(a.nbytes for a in (self.pixels(), *self.masks.values(), *reviewed, *self.objects.values()))

    def squared(self, side: int) -> LabelledImage:
        """Return the image and its masks, resized to a square of this side."""
        if self.image.shape[:2] == (side, side):
            return self
        seen = {p: stretched_labels(r, side) for p in self.masks if (r := self.reviewed_for(p)) is not None}
        masks = {prompt: stretched_labels(mask, side) for prompt, mask in self.masks.items()}
        return replace(self, image=stretched(self.pixels(), side), masks=masks, reviewed=seen or None)

    def reviewed_for(self, prompt: str) -> NDArray[np.bool_] | None:
        """Return the pixels that somebody looked at for a prompt, bool `(H, W)`; None means all."""
        return self.reviewed.get(prompt) if isinstance(self.reviewed, Mapping) else self.reviewed

    def shown(self, prompt: str) -> NDArray[np.bool_]:
        """Return the reviewed pixels that show a prompt, bool `(H, W)`."""
        mask, reviewed = self.masks[prompt], self.reviewed_for(prompt)
        return mask if reviewed is None else mask & reviewed


@dataclass(frozen=True)
class UnlabelledImage:
    """An image that nobody annotated.

    Attributes
    ----------
    image
        float32 `(H, W, 3)` in [0, 1].
    prompt
        What is asked of it, for instance its own caption; None asks the prompts of the run in turn.
    scale
        Working scale of `prompt`; not looked at without one.
    """

    name: str
    image: NDArray[np.float32] | StoredPixels
    prompt: str | None = None
    scale: ScaleName = "tiles"

    def pixels(self) -> NDArray[np.float32]:
        """Return the image, float32 `(H, W, 3)` in [0, 1]."""
        return self.image if isinstance(self.image, np.ndarray) else self.image.read()

    def squared(self, side: int) -> UnlabelledImage:
        """Return the image, resized to a square of this side."""
        square = self.image.shape[:2] == (side, side)
        return self if square else replace(self, image=stretched(self.pixels(), side))


@dataclass(frozen=True)
class Entries:
    """Where the images of a run come from, as a project numbers it.

    Attributes
    ----------
    train, validate
        Ids of the corrections that are learnt from and scored on.
    unlabelled
        Ids of the images seen without labels.
    """

    train: tuple[int, ...] = ()
    validate: tuple[int, ...] = ()
    unlabelled: tuple[int, ...] = ()


@dataclass(frozen=True)
class LearningData:
    """Labelled, unlabelled and held-out images of one run.

    Attributes
    ----------
    unlabelled
        Used through the teacher's pseudo-labels.
    validation
        Never trained on; split by image.
    entries
        Where they come from; None if not from a project.
    """

    labelled: tuple[LabelledImage, ...]
    unlabelled: tuple[UnlabelledImage, ...] = ()
    validation: tuple[LabelledImage, ...] = ()
    prompts: tuple[str, ...] = field(default=())
    entries: Entries | None = None

    def __post_init__(self) -> None:
        """Collect the prompts where none were given."""
        if not self.prompts:
            prompts = dict.fromkeys(prompt for image in self.labelled for prompt in image.masks)
            object.__setattr__(self, "prompts", tuple(prompts))

    def prompt_scales(self) -> dict[str, ScaleName]:
        """Return the working scale that each prompt is learnt at: that of most labelled images, else of the first."""
        counted: dict[str, Counter[ScaleName]] = {}
        for image in self.labelled:
            for prompt in image.masks:
                counted.setdefault(prompt, Counter())[image.scales.get(prompt, "tiles")] += 1
        return {prompt: counts.most_common(1)[0][0] for prompt, counts in counted.items()}

    def shown_prompts(self) -> set[str]:
        """Return the prompts that a labelled image shows; masks of stored images are not read, see `shows`."""
        shown: set[str] = set()
        for image in self.labelled:
            if isinstance(image.image, np.ndarray):
                shown |= {p for p in image.masks if p not in shown and image.shown(p).any()}
            else:
                shown |= set(image.masks) if image.shows is None else image.shows
        return shown

    def gray_prompts(self) -> set[str]:
        """Return the prompts that are answered on an image without colours; every fourth pixel of those in memory."""
        gray = (i for i in self.labelled if isinstance(i.image, np.ndarray) and is_gray(i.image[::4, ::4]))
        return {prompt for image in gray for prompt in image.masks}

    def at_one_scale(self) -> LearningData:
        """Return the same images, labelled and held-out, with each prompt at its working scale of `prompt_scales`."""
        chosen = self.prompt_scales()

        def settled(image: LabelledImage) -> LabelledImage:
            return replace(image, scales={p: chosen.get(p, image.scales.get(p, "tiles")) for p in image.masks})

        return replace(
            self,
            labelled=tuple(map(settled, self.labelled)),
            validation=tuple(map(settled, self.validation)),
        )

    def scored_on(self, wanted: Callable[[str], bool]) -> LearningData:
        """Return the same images, with no other masks of held-out ones than those of the prompts that are `wanted`."""

        def scored(image: LabelledImage) -> LabelledImage:
            kept = [prompt for prompt in image.masks if wanted(prompt)]
            return image if len(kept) == len(image.masks) else replace(image, masks={p: image.masks[p] for p in kept})

        return replace(self, validation=tuple(map(scored, self.validation)))

    def squared(self, side: int) -> LearningData:
        """Return all images resized to squares of this side, as the protocol 224 scores them; 0: as they are."""
        if not side:
            return self
        return replace(
            self,
            labelled=tuple(image.squared(side) for image in self.labelled),
            unlabelled=tuple(image.squared(side) for image in self.unlabelled),
            validation=tuple(image.squared(side) for image in self.validation),
        )

    def check(self) -> None:
        """Raise `NotEnoughDataError` unless there is something to learn from."""
        if not any(image.masks for image in self.labelled):
            raise NotEnoughDataError("There is no accepted image to learn from yet; accept at least one mask first.")
        if not self.shown_prompts():
            raise NotEnoughDataError(
                "All accepted masks are empty, so there is nothing to learn; accept one that shows something first."
            )
