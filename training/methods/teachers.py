"""Methods with one network and a teacher: U-Net, Mean Teacher, and two-way copy-paste."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from napari_amvlm.learning.ema import averaged
from napari_amvlm.losses import segmentation_loss
from training.methods.backbone import PlainUNet
from training.methods.protocol import Method, Views, answer, mean_squares, rise, supervised

if TYPE_CHECKING:
    from collections.abc import Sequence


class UNetMethod(Method):
    """Labelled images alone."""

    title: ClassVar[str] = "U-Net"
    source: ClassVar[str] = "Ronneberger et al., MICCAI 2015"
    departures: ClassVar[str] = "batch normalisation, bilinear upsampling"
    unlabelled: ClassVar[bool] = False

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return a U-Net."""
        return PlainUNet(masks, widths)

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return the supervised loss."""
        return {"supervised": supervised(views, network(views.strong))}


class Taught(nn.Module):
    """A student and its EMA teacher.

    Parameters
    ----------
    student
        What is learnt.
    decay
        Of the teacher, at most.
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        super().__init__()
        self.student = student
        self.teacher = averaged(student, decay)
        self.teacher.requires_grad_(requires_grad=False)

    def follow(self) -> None:
        """Let the teacher follow."""
        self.teacher.update_parameters(self.student)


class MeanTeacherMethod(Method):
    """An EMA teacher, and consistency with what it finds."""

    title: ClassVar[str] = "MT"
    source: ClassVar[str] = "Tarvainen and Valpola, NeurIPS 2017; values of SSL4MIS"

    decay: float = Field(0.99, ge=0, lt=1)
    consistency: float = Field(0.1, ge=0)
    noise: float = Field(
        0.1, ge=0, description="standard deviation of the noise on the teacher's view, at most doubled"
    )

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return a student and its teacher."""
        return Taught(PlainUNet(masks, widths), self.decay)

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return L_sup + lambda(t) mean (p_student - p_teacher)^2 over unlabelled crops."""
        logits = network.student(views.strong)
        free = ~views.labelled
        noise = (torch.randn_like(views.weak[free]) * self.noise).clamp(-2 * self.noise, 2 * self.noise)
        target = answer(network.teacher, views.weak[free] + noise)
        agreement = mean_squares(logits[free].float().sigmoid(), target)
        return {
            "supervised": supervised(views, logits),
            "consistency": self.consistency * rise(time) * agreement,
        }

    def after_step(self, network: Any, time: float) -> None:
        """Let the teacher follow."""
        network.follow()

    def predictor(self, network: Any) -> nn.Module:
        """Return the student."""
        return network.student  # type: ignore[no-any-return]


class CopyPasteMethod(Method):
    """Two-way copy-paste between labelled and unlabelled images, after a labelled warm-up."""

    title: ClassVar[str] = "BCP"
    source: ClassVar[str] = "Bai et al., CVPR 2023"
    departures: ClassVar[str] = "pseudo-labels keep all parts, not the largest alone: there are many objects"

    decay: float = Field(0.99, ge=0, lt=1)
    pseudo_weight: float = Field(0.5, ge=0, description="alpha: of pixels that have a pseudo-label")
    warmup: float = Field(0.25, ge=0, lt=1, description="share of the run with labelled images alone")
    side: float = Field(2 / 3, gt=0, lt=1, description="beta: side of the pasted rectangle, share of the image's")

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return a student and its teacher."""
        return Taught(PlainUNet(masks, widths), self.decay)

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return the loss of both mixtures; pixels of a labelled image weigh 1, of an unlabelled one alpha."""
        rows = views.labelled
        own = views[rows]
        other = own[torch.arange(len(own.weak)).roll(1)]
        inside = paste_region(views.weak.shape[-2:], self.side).to(views.weak.device)
        if time < self.warmup or not bool((~rows).any()):
            mixed = torch.where(inside, other.strong, own.strong)
            target, known = torch.where(inside, other.target, own.target), torch.where(inside, other.known, own.known)
            logits = _chosen(network.student(mixed), own.channel, other.channel, inside)
            return {"supervised": segmentation_loss(logits, target, known, balance=0.0).mean()}
        free = views[~rows]
        n = len(free.weak)
        pseudo = (free.asked(answer(network.teacher, free.weak)) >= 0.5).to(views.target.dtype)
        own, other = (each[torch.arange(n) % len(own.weak)] for each in (own, other))
        found: list[Tensor] = []
        for labelled, outside in ((own, True), (other, False)):
            from_free = inside if outside else ~inside
            mixed = torch.where(from_free, free.strong, labelled.strong)
            logits = _chosen(network.student(mixed), labelled.channel, free.channel, from_free)
            target = torch.where(from_free, pseudo, labelled.target)
            weights = (torch.where(from_free, 0.0, labelled.known), from_free.to(pseudo.dtype).expand_as(pseudo))
            parts = [segmentation_loss(logits, target, weight, balance=0.0).mean() for weight in weights]
            found.append(parts[0] + self.pseudo_weight * parts[1])
        return {"supervised": torch.stack(found).sum()}

    def after_step(self, network: Any, time: float) -> None:
        """Let the teacher follow; in the warm-up it is the student."""
        if time < self.warmup:
            network.teacher.n_averaged.zero_()
        network.follow()

    def predictor(self, network: Any) -> nn.Module:
        """Return the student."""
        return network.student  # type: ignore[no-any-return]


def paste_region(size: tuple[int, int] | torch.Size, side: float) -> Tensor:
    """Return a rectangle at a random place, bool `(1, 1, H, W)`, its sides that share of the image's."""
    inside = torch.zeros(1, 1, *size, dtype=torch.bool)
    height, width = (int(side * length) for length in size)
    top, left = (int(torch.randint(n - m + 1, (1,))) for n, m in zip(size, (height, width), strict=True))
    inside[..., top : top + height, left : left + width] = True
    return inside


def _chosen(logits: Tensor, outer: Tensor, inner: Tensor, inside: Tensor) -> Tensor:
    """Return the mask that is asked of each pixel, `(B, 1, H, W)`: of the image that it comes from."""
    rows = torch.arange(len(logits), device=logits.device)
    return torch.where(inside, logits[rows, inner][:, None], logits[rows, outer][:, None])
