"""Methods of several decoders or students that must agree: CCT, MC-Net and UCMT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from napari_amvlm.losses import segmentation_loss
from training.methods.backbone import Decoder, PlainUNet
from training.methods.protocol import Method, Views, answer, mean_squares, rise, supervised
from training.methods.teachers import Taught

if TYPE_CHECKING:
    from collections.abc import Sequence


class Branched(nn.Module):
    """A U-Net and more decoders on its encoder."""

    def __init__(self, main: PlainUNet, others: Sequence[Decoder]) -> None:
        super().__init__()
        self.main, self.others = main, nn.ModuleList(others)


def feature_noise(x: Tensor, bound: float) -> Tensor:
    """Return features times 1 + uniform noise, one draw for all images, as CCT does."""
    return x * (1 + torch.empty_like(x[:1]).uniform_(-bound, bound))


def feature_drop(x: Tensor) -> Tensor:
    """Return features without their strongest places: those above 0.7 to 0.9 of the largest mean over channels."""
    attention = x.detach().mean(1, keepdim=True)
    most = attention.amax((2, 3), keepdim=True) * torch.empty(1, device=x.device).uniform_(0.7, 0.9)
    return x * (attention < most)


class CCTMethod(Method):
    """Auxiliary decoders under perturbed features must find what the main one finds."""

    title: ClassVar[str] = "CCT"
    source: ClassVar[str] = "Ouali et al., CVPR 2020; the three perturbations of SSL4MIS"
    departures: ClassVar[str] = "auxiliary decoders have skips; guided and adversarial perturbations are left out"

    consistency: float = Field(0.1, ge=0)
    noise: float = Field(0.3, ge=0)
    dropout: float = Field(0.3, ge=0, lt=1)

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return a U-Net with three auxiliary decoders."""
        return Branched(PlainUNet(masks, widths), [Decoder(masks, widths) for _ in range(3)])

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return L_sup of all decoders + lambda(t) mean over decoders of (p_aux - p_main)^2; p_main has no gradient."""
        skips = network.main.encode(views.strong)
        main = network.main.decode(skips)
        perturbed = (
            [feature_noise(x, self.noise) for x in skips],
            [nn.functional.dropout2d(x, self.dropout) for x in skips],
            [feature_drop(x) for x in skips],
        )
        found = [decoder(x) for decoder, x in zip(network.others, perturbed, strict=True)]
        free = ~views.labelled
        target = main[free].detach().float().sigmoid()
        agreement = torch.stack([mean_squares(x[free].float().sigmoid(), target) for x in found]).mean()
        return {
            "supervised": torch.stack([supervised(views, x) for x in (main, *found)]).mean(),
            "consistency": self.consistency * rise(time) * agreement,
        }

    def predictor(self, network: Any) -> nn.Module:
        """Return the main network."""
        return network.main  # type: ignore[no-any-return]


def sharpened(p: Tensor, temperature: float) -> Tensor:
    """Return p^(1/T) / (p^(1/T) + (1 - p)^(1/T)), computed from the logit."""
    return torch.sigmoid(torch.logit(p.float(), eps=1e-6) / temperature)


class MCNetMethod(Method):
    """Two decoders that differ in upsampling; each learns the other's sharpened answer."""

    title: ClassVar[str] = "MC-Net"
    source: ClassVar[str] = "Wu et al., MICCAI 2021"
    departures: ClassVar[str] = "sharpened targets carry no gradient"

    consistency: float = Field(0.1, ge=0)
    temperature: float = Field(0.1, gt=0)

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return a U-Net with a second decoder of transposed convolutions."""
        return Branched(PlainUNet(masks, widths), [Decoder(masks, widths, "transposed")])

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return L_sup of both + lambda(t) [(p_1 - sharp(p_2))^2 + (p_2 - sharp(p_1))^2] over all crops."""
        skips = network.main.encode(views.strong)
        logits = [network.main.decode(skips), network.others[0](skips)]
        a, b = (views.asked(x).float().sigmoid() for x in logits)
        sharp_a, sharp_b = (sharpened(p.detach(), self.temperature) for p in (a, b))
        agreement = mean_squares(a, sharp_b) + mean_squares(b, sharp_a)
        return {
            "supervised": torch.stack([supervised(views, x) for x in logits]).sum(),
            "consistency": self.consistency * rise(time) * agreement,
        }

    def predictor(self, network: Any) -> nn.Module:
        """Return the network with bilinear upsampling."""
        return network.main  # type: ignore[no-any-return]


class Pair(nn.Module):
    """Two students; the first has an EMA teacher."""

    def __init__(self, first: PlainUNet, second: PlainUNet, decay: float) -> None:
        super().__init__()
        self.first, self.second = Taught(first, decay), second


def uncertain_mix(images: Tensor, labels: Tensor, entropy: Tensor, *, grid: int, count: int) -> tuple[Tensor, Tensor]:
    """Replace the `count` most uncertain patches of each image by the surest ones of the next image (UMIX).

    Parameters
    ----------
    images, labels
        `(B, C, H, W)` and `(B, K, H, W)`; both are mixed alike.
    entropy
        Uncertainty, `(B, 1, H, W)`.
    grid
        Patches a side.
    count
        Patches to replace.
    """
    height, width = (side // grid for side in images.shape[-2:])

    def patch(number: int) -> tuple[slice, slice]:
        row, column = divmod(number, grid)
        return slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)

    scores = nn.functional.adaptive_avg_pool2d(entropy, grid).flatten(1)
    both = torch.cat([images, labels.to(images.dtype)], dim=1)
    mixed = both.clone()
    for row in range(len(images)):
        other = (row + 1) % len(images)
        worst, best = scores[row].topk(count).indices.tolist(), (-scores[other]).topk(count).indices.tolist()
        for to, come in zip(worst, best, strict=True):
            mixed[row][:, *patch(to)] = both[other][:, *patch(come)]
    return mixed[:, : images.shape[1]], mixed[:, images.shape[1] :]


class UCMTMethod(Method):
    """Two students and a teacher; the images are mixed where the three are unsure."""

    title: ClassVar[str] = "UCMT"
    source: ClassVar[str] = "Shen et al., IJCAI 2023"
    departures: ClassVar[str] = (
        "patches come from the next crop of the batch; one teacher of the first student; labelled crops stay whole, "
        "and unlabelled ones are learnt mixed alone"
    )

    decay: float = Field(0.99, ge=0, lt=1)
    cross: float = Field(0.1, ge=0, description="weight of cross pseudo supervision")
    consistency: float = Field(0.1, ge=0, description="weight of the teacher's labels")
    ramp: float = Field(0.2, gt=0, le=1, description="share of the run over which both weights rise")
    grid: int = Field(16, ge=2, description="r: patches a side")
    count: int = Field(2, ge=1, description="k: patches that are replaced")

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return two students of different random weights, and a teacher."""
        return Pair(PlainUNet(masks, widths), PlainUNet(masks, widths), self.decay)

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return L_sup of both + lambda(t) (cross pseudo supervision + the teacher's labels) on mixed crops.

        Both terms are the mean of the students' segmentation losses against hard labels.
        """
        students = (network.first.student, network.second)
        rows = ~views.labelled
        found = {"supervised": torch.stack([supervised(views, s(views.strong)) for s in students]).sum()}
        free = views[rows]
        if not len(free.weak):
            return found
        p = answer(network.first.teacher, free.weak)
        with torch.no_grad():
            sure = torch.stack([p, *(s(free.weak).float().sigmoid() for s in students)]).mean(0)
            entropy = -(sure.clamp_min(1e-6).log() * sure + (1 - sure).clamp_min(1e-6).log() * (1 - sure))
        images, label = uncertain_mix(
            free.strong, p, free.asked(entropy), grid=min(self.grid, free.weak.shape[-1] // 4), count=self.count
        )
        logits = [free.asked(s(images)).float() for s in students]
        others = [(x.detach() >= 0).float() for x in reversed(logits)]
        taught = [(free.asked(label) >= 0.5).float()] * 2
        for name, weight, targets in (("cross", self.cross, others), ("consistency", self.consistency, taught)):
            each = [segmentation_loss(x, y, balance=0.0).mean() for x, y in zip(logits, targets, strict=True)]
            found[name] = weight * rise(time, self.ramp) * torch.stack(each).mean()
        return found

    def after_step(self, network: Any, time: float) -> None:
        """Let the teacher follow the first student."""
        network.first.follow()

    def predictor(self, network: Any) -> nn.Module:
        """Return the first student."""
        return network.first.student  # type: ignore[no-any-return]
