"""SS-Net: smoothness by virtual adversarial noise, and classes that are apart in the space of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from napari_amvlm.losses import dice_loss
from training.methods.backbone import PlainUNet
from training.methods.protocol import Method, Views, rise, supervised

if TYPE_CHECKING:
    from collections.abc import Sequence


class Separated(nn.Module):
    """A U-Net with a projection of its last map, and a memory of one prototype for ground and one for each mask."""

    def __init__(self, main: PlainUNet, masks: int, width: int) -> None:
        super().__init__()
        self.main, self.project = main, nn.Conv2d(width, width, 1)
        self.register_buffer("prototypes", torch.zeros(masks, 2, width))


def prototype_distance(features: Tensor, labels: Tensor, prototypes: Tensor) -> Tensor:
    """Return the mean of 1 - cos(f, m_c) over pixels, c the class of the pixel.

    Parameters
    ----------
    features
        `(N, d)`.
    labels
        0 or 1, `(N,)`.
    prototypes
        m of ground and mask, `(2, d)`.
    """
    apart: Tensor = 1 - nn.functional.cosine_similarity(features, prototypes[labels.long()], dim=1)
    return apart.mean()


class SSNetMethod(Method):
    """Virtual adversarial training, and prototype separation."""

    title: ClassVar[str] = "SS-Net"
    source: ClassVar[str] = "Wu et al., MICCAI 2022"
    departures: ClassVar[str] = (
        "a prototype a class, averaged over steps, stands for the ranked memory; pixels weigh alike; 512 a crop"
    )

    consistency: float = Field(0.1, ge=0, description="of both terms")
    separation: float = Field(
        0.2, ge=0, description="of the distance to prototypes: 0.1 each of labelled and other crops"
    )
    length: float = Field(6.0, gt=0, description="epsilon: length of the adversarial noise")
    probe: float = Field(10.0, gt=0, description="xi: length of the noise that looks for its direction")
    memory: float = Field(0.9, ge=0, lt=1, description="decay of the prototypes")

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return the network."""
        return Separated(PlainUNet(masks, widths), masks, widths[0])

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return L_sup + lambda(t) (Dice under adversarial noise + a times the distance to the class's prototype)."""
        maps = network.main.features(network.main.encode(views.strong))
        logits = network.main.head(maps)
        found = {"supervised": supervised(views, logits)}
        weight = self.consistency * rise(time)
        apart = self._apart(network, network.project(maps), views, views.asked(logits).detach())
        smooth = self._smooth(network.main, views, views.asked(logits).detach().float())
        return found | {"smoothness": weight * smooth, "separation": weight * self.separation * apart}

    def _smooth(self, main: Any, views: Views, before: Tensor) -> Tensor:
        """LDS (Miyato et al., TPAMI 2018): one step of power iteration finds the noise, as in SSL4MIS."""
        target = before.sigmoid()

        def changed(noise: Tensor) -> Tensor:
            return dice_loss(views.asked(main(views.strong + noise)), target).mean()

        noise = (self.probe * _unit(torch.randn_like(views.strong))).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(changed(noise), noise)
        return changed(self.length * _unit(slope.detach()))

    def _apart(self, network: Any, maps: Tensor, views: Views, logits: Tensor) -> Tensor:
        """Distance of some pixels to the prototype of their class; right labelled pixels renew the prototypes."""
        labels = torch.where(views.known > 0, views.target, (logits >= 0).to(views.target.dtype)) >= 0.5
        total: list[Tensor] = []
        for row in range(len(maps)):
            pick = torch.randint(labels[row].numel(), (512,), device=maps.device)
            features, classes = maps[row].flatten(1)[:, pick].T.float(), labels[row].flatten()[pick]
            own = network.prototypes[views.channel[row]]
            if bool(views.labelled[row]):
                right = (logits[row].flatten()[pick] >= 0) == classes
                for kind in (0, 1):
                    chosen = features.detach()[right & (classes == bool(kind))]
                    if len(chosen):
                        fresh, kept = chosen.mean(0), own[kind].any()
                        own[kind] = torch.lerp(fresh, own[kind], self.memory) if bool(kept) else fresh
            if bool(own.any(1).all()):
                total.append(prototype_distance(features, classes, own.clone()))
        return torch.stack(total).mean() if total else torch.zeros((), device=maps.device)

    def predictor(self, network: Any) -> nn.Module:
        """Return the U-Net."""
        return network.main  # type: ignore[no-any-return]


def _unit(noise: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(noise, dim=(1, 2, 3), keepdim=True)
    unit: Tensor = noise / length.clamp_min(1e-8)
    return unit
