"""What a row of a comparison is: one way to learn masks, on the shared backbone, loop, views and steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from napari_amvlm.config import Config
from napari_amvlm.losses import segmentation_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMON = "one plain U-Net of 1.96 million parameters, AdamW, our views and segmentation loss, EMA weights are scored"
"""How every row departs from its source."""


@dataclass(frozen=True)
class Views:
    """Crops for one step, labelled ones first.

    Attributes
    ----------
    weak, strong
        Two looks of the same crops, `(B, 3, H, W)` in [0, 1].
    target, known
        Masks and which of their pixels are answers, `(B, 1, H, W)`.
    channel
        Which of the K masks is asked of each crop, int64 `(B,)`.
    text
        Frozen sentence embeddings of what is asked, `(B, D)`; None for methods that read no text.
    balance
        Of the classes in the supervised loss.
    """

    weak: Tensor
    strong: Tensor
    target: Tensor
    known: Tensor
    channel: Tensor
    text: Tensor | None = None
    balance: float = 0.0

    @property
    def labelled(self) -> Tensor:
        """Which crops have an answer, bool `(B,)`."""
        return self.known.amax((1, 2, 3)) > 0

    def asked(self, logits: Tensor) -> Tensor:
        """Return the mask of each crop that is asked, `(B, 1, H, W)`, out of `(B, K, H, W)`."""
        return logits[torch.arange(len(logits), device=logits.device), self.channel][:, None]

    def __getitem__(self, rows: Tensor) -> Views:
        text = None if self.text is None else self.text[rows]
        weak, strong, target, known = (x[rows] for x in (self.weak, self.strong, self.target, self.known))
        return Views(weak, strong, target, known, self.channel[rows], text, self.balance)


class Method(Config):
    """One row: its fields are the hyperparameters, with the values of the paper.

    Attributes
    ----------
    title, source
        As tables call it, and where it is defined.
    departures
        What is otherwise here than there, beside `COMMON`.
    reads_text
        Whether it needs a caption for each image.
    unlabelled
        Whether it learns from unlabelled crops.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    departures: ClassVar[str] = ""
    reads_text: ClassVar[bool] = False
    unlabelled: ClassVar[bool] = True

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return what is learnt, for K masks; teachers are a part of it that needs no gradient."""
        raise NotImplementedError

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return the weighted losses of a step, scalars by name; "supervised" is one.

        Parameters
        ----------
        network
            What `build` returned.
        views
            Crops.
        time
            Share of the run that is over, 0 to 1.
        """
        raise NotImplementedError

    def after_step(self, network: Any, time: float) -> None:
        """Let teachers follow, after an optimiser step."""

    def predictor(self, network: Any) -> nn.Module:
        """Return the part that maps images `(B, 3, H, W)` to logits `(B, K, H, W)`."""
        return network  # type: ignore[no-any-return]


def supervised(views: Views, logits: Tensor) -> Tensor:
    """Return the segmentation loss of all masks `(B, K, H, W)` on labelled crops."""
    rows = views.labelled
    if not bool(rows.any()):
        return logits.sum() * 0
    return segmentation_loss(
        views.asked(logits)[rows], views.target[rows], views.known[rows], balance=views.balance
    ).mean()


def rise(time: float, ramp: float = 1.0) -> float:
    """Return the sigmoid ramp exp(-5 (1 - t)^2) of Laine & Aila (ICLR 2017); t reaches 1 at `ramp`."""
    return math.exp(-5 * (1 - min(1.0, time / ramp)) ** 2)


def mean_squares(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference in float32; 0 for no crop."""
    return (a.float() - b.float()).square().mean() if len(a) else a.sum() * 0


@torch.no_grad()
def answer(teacher: Any, images: Tensor) -> Tensor:
    """Return what a teacher finds, probabilities `(B, K, H, W)`, in eval mode."""
    return torch.sigmoid(teacher.eval()(images).float())
