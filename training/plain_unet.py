"""The baseline that every figure of the loop stands beside: a plain U-Net, random start, labelled images alone.

    python -m training.plain_unet LABELLED VALIDATION --prompt nuclei --minutes 10

It learns from native-resolution crops with the loop's own views and loss, in the same time on the same device; it
knows no text, no pretraining and no unlabelled images. One JSON object is printed, as by `napari-amvlm evaluate`.
"""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import typer
from torch import Tensor, nn

from napari_amvlm.config import STRIDE, LearningConfig, ModelConfig
from napari_amvlm.device import autocast, resolve_device
from napari_amvlm.errors import ImageError
from napari_amvlm.evaluation import evaluate_folder
from napari_amvlm.imaging import binary_mask, read_folder, read_image, read_mask, to_rgb01
from napari_amvlm.learning.budget import Budget
from napari_amvlm.learning.crop_source import CropSource
from napari_amvlm.learning.data import LabelledImage, LearningData
from napari_amvlm.learning.ema import averaged
from napari_amvlm.losses import segmentation_loss

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName

log = logging.getLogger("training.plain_unet")
WIDTHS = (16, 32, 64, 128, 256)
"""Channels from full resolution down to 1/16: 1.96 million parameters."""


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise((inputs, outputs, outputs)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class PlainUNet(nn.Module):
    """U-Net (Ronneberger et al., MICCAI 2015) with batch normalisation and bilinear upsampling."""

    def __init__(self) -> None:
        super().__init__()
        w = WIDTHS
        self.down = nn.ModuleList(_Block(a, b) for a, b in itertools.pairwise((3, *w)))
        self.up = nn.ModuleList(_Block(a + b, a) for a, b in itertools.pairwise(w))
        self.head = nn.Conv2d(w[0], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, 3, H, W)` in [0, 1], H and W multiples of 16, to logits `(B, 1, H, W)`."""
        x = (images - 0.5) * 4
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for level in range(len(self.up) - 1, -1, -1):
            x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.up[level](torch.cat([x, skips[level]], dim=1))
        return self.head(x)  # type: ignore[no-any-return]


class PlainPredictor:
    """A plain U-Net behind the interface that `evaluate_folder` scores; it looks at the whole image at native scale."""

    def __init__(self, network: PlainUNet, device: torch.device) -> None:
        self._network, self._device = network.eval(), device
        self._probability: NDArray[np.float32] | None = None

    @property
    def probability(self) -> NDArray[np.float32]:
        """Probability of the foreground, `(H, W)`."""
        if self._probability is None:
            raise ImageError("There is no image yet; call set_image first.")
        return self._probability

    def set_image(self, image: NDArray[Any], *, key: Hashable | None = None) -> None:
        """Segment `image`; `key` is not used."""
        pixels = torch.from_numpy(to_rgb01(image)).permute(2, 0, 1)[None].to(self._device)
        h, w = pixels.shape[-2:]
        padded = nn.functional.pad(pixels, (0, -w % STRIDE, 0, -h % STRIDE), mode="replicate")
        with torch.no_grad(), autocast(self._device):
            logits = self._network(padded.contiguous(memory_format=torch.channels_last))
        self._probability = torch.sigmoid(logits.float())[0, 0, :h, :w].cpu().numpy()

    def predict(
        self, prompt: str, *, scale: Literal["auto"] | ScaleName = "auto", magnification: float = 1.0
    ) -> PlainPredictor:
        """Return itself: the network knows one concept, whatever the prompt says."""
        return self


def train_plain_unet(
    images: list[LabelledImage], config: LearningConfig, device: torch.device
) -> tuple[PlainUNet, int]:
    """Return the averaged network in eval mode, and the number of steps it was given.

    Parameters
    ----------
    images
        What to learn from; each with one mask, at scale "tiles".
    config
        Budget, rate, crop, batch and seed; what concerns teacher and text is not used.
    device
        Where to compute.
    """
    torch.manual_seed(config.seed)
    network = PlainUNet().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = averaged(network, config.ema_decay)
    prompts = tuple(dict.fromkeys(p for image in images for p in image.masks))
    data = LearningData(labelled=tuple(images), unlabelled=(), validation=(), prompts=prompts)
    source = CropSource(data, config, ModelConfig(), device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    budget = Budget(config)
    while budget.fraction < 1:
        for group in optimiser.param_groups:
            group["lr"] = budget.learning_rate
        views = source.draw()
        with autocast(device):
            logits = network(views.strong.contiguous(memory_format=torch.channels_last))
        loss = segmentation_loss(logits, views.target, views.known, balance=config.class_balance).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        budget.step += 1
        if budget.step % 50 == 0:
            log.info("step %d, loss %.3f", budget.step, float(loss.detach()))
    network.load_state_dict(average.module.state_dict())
    return network.eval(), budget.step


def load_labelled(folder: Path, prompt: str) -> list[LabelledImage]:
    """Return all pairs of a folder in LViT layout, with everything above 0 as the mask of `prompt`.

    Raises
    ------
    DatasetError
        The folder has not the expected layout, or an image has no mask.
    """
    images: list[LabelledImage] = []
    for pair in read_folder(folder).pairs:
        pixels = to_rgb01(read_image(pair.image).data, name=pair.name)
        mask = binary_mask(read_mask(pair.required_mask(), pixels.shape[:2]))
        images.append(LabelledImage(pair.name, pixels, {prompt: mask}, {prompt: "tiles"}))
    return images


def main(
    labelled: Annotated[Path, typer.Argument(help="Folder to learn from, LViT layout.")],
    validation: Annotated[Path, typer.Argument(help="Folder to score on, LViT layout.")],
    prompt: Annotated[str, typer.Option(help="What the masks show; only for the report.")] = "nuclei",
    minutes: Annotated[float, typer.Option(help="Length of the run.")] = 10.0,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Train a plain U-Net and print its scores as one JSON object."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    where = resolve_device(device)
    config = LearningConfig(minutes=minutes, learning_rate=rate, seed=seed)
    network, steps = train_plain_unet(load_labelled(labelled, prompt), config, where)
    scores = evaluate_folder(PlainPredictor(network, where), validation, prompt)
    typer.echo(json.dumps(scores | {"steps": steps}))


if __name__ == "__main__":
    typer.run(main)
