"""The baseline that every figure of the loop stands beside: a plain U-Net, random start, labelled images alone.

It learns from native-resolution crops with the loop's own views and loss, in the same time on the same device; it
knows no text, no pretraining and no unlabelled images.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_amvlm.config import STRIDE, LearningConfig, ModelConfig
from napari_amvlm.device import autocast
from napari_amvlm.errors import ImageError, PromptError
from napari_amvlm.imaging import resize, to_rgb01
from napari_amvlm.imaging.scale import canvas_box, fit_square
from napari_amvlm.learning.budget import Budget
from napari_amvlm.learning.crop_source import CropSource
from napari_amvlm.learning.data import LabelledImage, LearningData
from napari_amvlm.learning.ema import averaged
from napari_amvlm.learning.loop import Loop, StepLosses, never
from napari_amvlm.learning.module_state import below, optimiser_tensors, restore_optimiser
from napari_amvlm.learning.run_state import Progress, RunState
from napari_amvlm.losses import segmentation_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.learning.reports import StepReport
    from napari_amvlm.learning.run_state import StateKeeper

WIDTHS = (16, 32, 64, 128, 256)
"""Channels from full resolution down to 1/16: 1.96 million parameters."""

FORMAT = "plain-unet/1"
_CANVAS = ModelConfig().whole


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise((inputs, outputs, outputs)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class PlainUNet(nn.Module):
    """U-Net (Ronneberger et al., MICCAI 2015) with batch normalisation and bilinear upsampling."""

    def __init__(self, classes: int = 1) -> None:
        super().__init__()
        w = WIDTHS
        self.down = nn.ModuleList(_Block(a, b) for a, b in itertools.pairwise((3, *w)))
        self.up = nn.ModuleList(_Block(a + b, a) for a, b in itertools.pairwise(w))
        self.head = nn.Conv2d(w[0], classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, 3, H, W)` in [0, 1], H and W multiples of 16, to logits `(B, K, H, W)`."""
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
    """A plain U-Net behind the interface that `evaluate_folder` scores.

    Parameters
    ----------
    prompts
        What its K masks show. A network of one mask gives that one, whatever it is asked.
    """

    def __init__(self, network: PlainUNet, device: torch.device, prompts: Sequence[str] = ()) -> None:
        self._network, self._device = network.eval(), device
        self._prompts = tuple(prompts)
        self._pixels: NDArray[np.float32] | None = None
        self._found: dict[tuple[str, float], NDArray[np.float32]] = {}
        self._channel = 0
        self._scale, self._magnification = "tiles", 1.0

    @property
    def probability(self) -> NDArray[np.float32]:
        """Probability of what was last asked, `(H, W)`."""
        if self._pixels is None:
            raise ImageError("There is no image yet; call set_image first.")
        look = (self._scale, self._magnification)
        if look not in self._found:
            self._found[look] = self._whole(self._pixels) if self._scale == "whole" else self._enlarged(self._pixels)
        return np.asarray(self._found[look][self._channel])

    def set_image(self, image: NDArray[Any], *, key: Hashable | None = None) -> None:
        """Take the image to segment; `key` is not used."""
        self._pixels, self._found = to_rgb01(image), {}

    def predict(
        self, prompt: str, *, scale: Literal["auto"] | ScaleName = "auto", magnification: float = 1.0
    ) -> PlainPredictor:
        """Return itself, turned to `prompt`.

        Raises
        ------
        PromptError
            It knows several masks, and none of that name.
        """
        if len(self._prompts) > 1:
            if prompt not in self._prompts:
                raise PromptError(f"This plain U-Net knows {', '.join(self._prompts)}, but was asked {prompt!r}.")
            self._channel = self._prompts.index(prompt)
        self._scale, self._magnification = ("whole", 1.0) if scale == "whole" else ("tiles", magnification)
        return self

    def _masks(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the K probabilities of an image at its own size, in one piece."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(self._device)
        h, w = pixels.shape[-2:]
        padded = nn.functional.pad(pixels, (0, -w % STRIDE, 0, -h % STRIDE), mode="replicate")
        with torch.no_grad(), autocast(self._device):
            logits = self._network(padded.contiguous(memory_format=torch.channels_last))
        probabilities: NDArray[np.float32] = torch.sigmoid(logits.float())[0, :, :h, :w].cpu().numpy()
        return probabilities

    def _enlarged(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the K probabilities of an image that is looked at under a magnification."""
        shape = (image.shape[0], image.shape[1])
        if self._magnification == 1:
            return self._masks(image)
        large = resize(image, (round(shape[0] * self._magnification), round(shape[1] * self._magnification)))
        return _resized(self._masks(large), shape)

    def _whole(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the K probabilities of an image that is looked at on a square canvas."""
        shape = (image.shape[0], image.shape[1])
        top, left, height, width = canvas_box(shape, _CANVAS)
        probabilities = self._masks(fit_square(image, _CANVAS))[:, top : top + height, left : left + width]
        return _resized(probabilities, shape)


def _resized(masks: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.stack([np.clip(resize(mask, shape), 0, 1) for mask in masks])


def train_plain_unet(
    images: Sequence[LabelledImage],
    config: LearningConfig,
    device: torch.device,
    *,
    keeper: StateKeeper | None = None,
    should_stop: Callable[[], bool] = never,
    on_step: Callable[[StepReport], object] = lambda report: None,
) -> tuple[PlainUNet, int]:
    """Return the averaged network in eval mode, and the number of steps it was given.

    Parameters
    ----------
    images
        What to learn from. Each crop teaches the mask of the prompt that it was drawn for; the network has one mask
        for each prompt, in the order of their first appearance.
    config
        Budget, rate, crop, labelled batch and seed; what concerns teacher, unlabelled images and text is not used.
    keeper
        Saves the run's state, and loads the state to continue from, as in `fine_tune`.
    should_stop
        Called before every step; the network is returned as it is then.
    on_step
        Called with a report after every step.

    Raises
    ------
    DivergedError
        The loss was not finite several times in a row.
    """
    run = _Training(images, config, device)
    loop = Loop(run.budget, keeper, should_stop)
    saved = keeper.load() if keeper is not None else None
    if saved is not None:
        run.restore(saved)
        loop.not_finite = saved.progress.not_finite
    for report in loop.steps(run.step, lambda: run.state(loop.not_finite)):
        on_step(report)
    run.network.load_state_dict(run.average.module.state_dict())
    return run.network.eval(), run.budget.step


class _Training:
    """The state of one run: network, average of its weights, optimiser, crops and budget."""

    def __init__(self, images: Sequence[LabelledImage], config: LearningConfig, device: torch.device) -> None:
        self._config, self._device = config.model_copy(update={"unlabelled_batch": 0, "consistency": 0.0}), device
        torch.manual_seed(config.seed)
        self._prompts = tuple(dict.fromkeys(p for image in images for p in image.masks))
        network = PlainUNet(len(self._prompts))
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = averaged(self.network, config.ema_decay)
        data = LearningData(labelled=tuple(images), unlabelled=(), validation=(), prompts=self._prompts)
        self._source = CropSource(data, self._config, ModelConfig(), device)
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.budget = Budget(self._config)

    def step(self, rate: float) -> StepLosses:
        """Make one step."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        batch = self._source.draw()
        with autocast(self._device):
            logits = self.network(batch.strong.contiguous(memory_format=torch.channels_last))
        masks = logits[range(len(batch.prompts)), [self._prompts.index(p) for p in batch.prompts]][:, None]
        loss = segmentation_loss(masks, batch.target, batch.known, balance=self._config.class_balance).mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        self.average.update_parameters(self.network)
        return StepLosses(float(loss.detach()), float(loss.detach()))

    def state(self, not_finite: int) -> RunState:
        """Return the state between two steps."""
        parts = {"network": self.network.state_dict(), "average": self.average.state_dict()}
        parts |= {"optimiser": optimiser_tensors(self._optimiser), "crops": self._source.state()}
        tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        return RunState(tensors, Progress(self.budget.step, self.budget.seconds, 0.0, 0, (), not_finite))

    def restore(self, saved: RunState) -> None:
        """Continue the run that saved this state."""
        self.network.load_state_dict(below(saved.tensors, "network."))
        self.average.load_state_dict(below(saved.tensors, "average."))
        restore_optimiser(self._optimiser, below(saved.tensors, "optimiser."))
        self._source.restore(below(saved.tensors, "crops."))
        self.budget.resume(saved.progress.step, saved.progress.seconds)


def save_plain_unet(network: PlainUNet, path: Path, prompts: Sequence[str]) -> None:
    """Write a network and what its masks show, as safetensors."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, path, metadata={"format": FORMAT, "prompts": json.dumps(list(prompts))})


def load_plain_unet(path: Path, device: torch.device) -> PlainPredictor | None:
    """Return the predictor of a file of `save_plain_unet`; None if it is a file of another kind."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        return None
    prompts = json.loads(metadata["prompts"])
    network = PlainUNet(len(prompts))
    network.load_state_dict(load_file(path))
    return PlainPredictor(network.to(device, memory_format=torch.channels_last), device, prompts)  # type: ignore[call-overload]
