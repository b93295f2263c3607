"""Pseudo-labels for pixels that nobody labelled: the sigmoid of a sum of weighted logits from several sources.

With the sources below that is q = sigmoid((1 - a) z_teacher + a (s z_start + (1 - s) z_settled) + beta z_text), and
z_other besides for prompts that another text model answers.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from napari_amvlm.learning.networks import decode, features
from napari_amvlm.models.text_prompted import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.learning.networks import SeenImages
    from napari_amvlm.models.amvlm import TextFeatures
    from napari_amvlm.models.text_prompted import TextPrompted

_NEARLY = 1e-4
"""Probabilities of another model count as at least so far from 0 and 1, so that its logits outvote nobody for ever."""


class PseudoLabelSource(Protocol):
    """Something that labels images for the student."""

    def weighted_logits(self, seen: SeenImages, text: TextFeatures, prompts: Sequence[str]) -> Iterator[Tensor]:
        """Yield logits times their weight for B images with a prompt each, `(B, 1, H, W)`; nothing at weight 0."""


def pseudo_label(
    sources: Sequence[PseudoLabelSource], seen: SeenImages, text: TextFeatures, prompts: Sequence[str]
) -> Tensor:
    """Return q in [0, 1] for B images with a prompt each, `(B, 1, H, W)`."""
    total = torch.zeros_like(seen.images[:, :1])
    for source in sources:
        for logits in source.weighted_logits(seen, text, prompts):
            total = total + logits
    return torch.sigmoid(total)


def doubted(q: Tensor, z_text: Tensor, doubt: float) -> Tensor:
    """Return q, drawn towards 0.5 by the share `doubt` where the text mask says the opposite.

    The weight of a pixel is a power of |2q - 1|: at doubt 1 such pixels teach nothing. The label itself stays.
    """
    otherwise = (q >= 0.5) != (z_text >= 0)
    return torch.where(otherwise, 0.5 + (1 - doubt) * (q - 0.5), q)


def text_logits(parts: nn.ModuleDict, seen: SeenImages, text: TextFeatures) -> Tensor:
    """Return z_text at the resolution of the images, `(B, 1, H, W)`."""
    text_mask = parts["text_mask"]
    z_text = text_mask.text_logits(text_mask(seen.maps), text.t_cls)  # type: ignore[operator]
    return nn.functional.interpolate(z_text, size=seen.images.shape[-2:], mode="bilinear", align_corners=False)


class TextEvidence:
    """The text mask of a network, with weight beta.

    Parameters
    ----------
    weight
        beta; at 0 the text has no part in the label.
    """

    def __init__(self, parts: nn.ModuleDict, weight: float) -> None:
        self._parts, self._weight = parts, weight
        self.share = 1.0
        """Of beta at this step."""

    def weighted_logits(self, seen: SeenImages, text: TextFeatures, prompts: Sequence[str]) -> Iterator[Tensor]:
        """Yield beta z_text at the resolution of the images."""
        if self._weight:
            yield self.share * self._weight * text_logits(self._parts, seen, text)


class OtherModel:
    """Another text-prompted model, for the prompts that it answers instead of the starting model, with weight 1."""

    def __init__(self, model: TextPrompted | None, config: ModelConfig) -> None:
        self._model, self._config = model, config

    def weighted_logits(self, seen: SeenImages, text: TextFeatures, prompts: Sequence[str]) -> Iterator[Tensor]:
        """Yield z_other in the rows that it answers, and 0 in the others."""
        rows = [row for row, prompt in enumerate(prompts) if answering(self._config, self._model, prompt)]
        if self._model is not None and rows:
            found = self._model.probability(seen.images[rows], [prompts[row] for row in rows])
            logits = torch.zeros_like(seen.images[:, :1])
            logits[rows] = torch.logit(found, eps=_NEARLY).to(logits.dtype)
            yield logits


class EmaTeacher:
    """The EMA teacher as it is at each step, with weight 1 - a."""

    def __init__(self, teacher: nn.ModuleDict, weight: float) -> None:
        self._teacher, self._weight = teacher, weight

    def weighted_logits(self, seen: SeenImages, text: TextFeatures, prompts: Sequence[str]) -> Iterator[Tensor]:
        """Yield the weighted logits of the teacher."""
        if self._weight > 0:
            yield self._weight * _logits(self._teacher, seen, text)


class FrozenEnsemble:
    """The starting model, and the teacher as it was when the pseudo-labels began; neither moves. Weight a.

    A teacher that is taught by its own pseudo-labels drifts. The starting model and a teacher of people's answers alone
    are fixed and make different errors.

    Parameters
    ----------
    start
        The starting model's parts.
    weight
        a: of the whole ensemble in the label.
    start_share
        Gives s for a prompt: the share of the starting model in the ensemble.
    """

    def __init__(self, start: nn.ModuleDict, weight: float, start_share: Callable[[str], float]) -> None:
        self._start, self._weight, self._start_share = start, weight, start_share
        self.settled: nn.ModuleDict | None = None
        """The frozen teacher; None until `settle`, and the starting model then counts alone."""

    def settle(self, teacher: nn.ModuleDict) -> None:
        """Freeze a copy of the teacher as it is now."""
        self.settled = copy.deepcopy(teacher).eval()

    def weighted_logits(self, seen: SeenImages, text: TextFeatures, prompts: Sequence[str]) -> Iterator[Tensor]:
        """Yield the weighted logits of both members."""
        if self.settled is None:
            members = [(torch.full((len(prompts),), self._weight), self._start)]
        else:
            share = torch.tensor([self._start_share(prompt) for prompt in prompts])
            members = [(self._weight * share, self._start), (self._weight * (1 - share), self.settled)]
        for weight, parts in members:
            if bool((weight > 0).any()):
                yield weight.view(-1, 1, 1, 1).to(seen.images.device) * _logits(parts, seen, text)


def _logits(parts: nn.ModuleDict, seen: SeenImages, text: TextFeatures) -> Tensor:
    return decode(parts, features(parts, seen), text).logits
