"""What a fine-tuning run learns from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_amvlm.errors import LabelsError, NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName


@dataclass(frozen=True)
class LabelledImage:
    """An image with a mask for each prompt that somebody answered.

    Attributes
    ----------
    name
        Shown in reports.
    image
        float32 `(H, W, 3)` in [0, 1].
    masks
        For each prompt a bool mask `(H, W)`.
    scales
        For each prompt the working scale to learn it at.
    reviewed
        Pixels that somebody looked at, bool `(H, W)`; None means all. The others count as unlabelled, not as
        background.

    Raises
    ------
    LabelsError
        A mask has not the shape of the image.
    """

    name: str
    image: NDArray[np.float32]
    masks: Mapping[str, NDArray[np.bool_]]
    scales: Mapping[str, ScaleName]
    reviewed: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Check shapes."""
        shape = self.image.shape[:2]
        extra = {} if self.reviewed is None else {"reviewed pixels": self.reviewed}
        for prompt, mask in {**self.masks, **extra}.items():
            if mask.shape != shape:
                raise LabelsError(
                    f"The mask of {prompt!r} for {self.name} has shape {mask.shape}, "
                    f"but the image has {shape}; make them equal."
                )


@dataclass(frozen=True)
class UnlabelledImage:
    """An image that nobody annotated.

    Attributes
    ----------
    name
        Shown in reports.
    image
        float32 `(H, W, 3)` in [0, 1].
    prompt
        What is asked of it, for instance its own caption; None asks the prompts of the run in turn.
    scale
        Working scale of `prompt`; not looked at without one.
    """

    name: str
    image: NDArray[np.float32]
    prompt: str | None = None
    scale: ScaleName = "tiles"


@dataclass(frozen=True)
class LearningData:
    """Labelled, unlabelled and held-out images of one run.

    Attributes
    ----------
    labelled
        Trained on.
    unlabelled
        Used through the teacher's pseudo-labels.
    validation
        Never trained on; split by image.
    """

    labelled: tuple[LabelledImage, ...]
    unlabelled: tuple[UnlabelledImage, ...] = ()
    validation: tuple[LabelledImage, ...] = ()
    prompts: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Collect the prompts where none were given."""
        if not self.prompts:
            found = dict.fromkeys(prompt for image in self.labelled for prompt in image.masks)
            object.__setattr__(self, "prompts", tuple(found))

    def check(self) -> None:
        """Raise `NotEnoughDataError` unless there is something to learn from."""
        if not any(image.masks for image in self.labelled):
            raise NotEnoughDataError("There is no accepted image to learn from yet; accept at least one mask first.")
