"""Trains any method on the loop, crops and budget that all rows of a comparison share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_amvlm.config import LearningConfig, ModelConfig
from napari_amvlm.device import autocast, learning_layout
from napari_amvlm.learning.budget import LearningBudget
from napari_amvlm.learning.crop_source import CropSource
from napari_amvlm.learning.ema import averaged
from napari_amvlm.learning.loop import Loop, StepLosses, never
from napari_amvlm.learning.module_state import below, descend, flat, optimiser_tensors, restore_optimiser
from napari_amvlm.learning.run_state import Progress, RunState
from training.methods.backbone import WIDTHS
from training.methods.protocol import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_amvlm.learning.data import LearningData
    from napari_amvlm.learning.mean_teacher import CropBatch
    from napari_amvlm.learning.reports import StepReport
    from napari_amvlm.learning.run_state import StateKeeper
    from napari_amvlm.models.text_encoder import TextEncoder
    from training.methods.protocol import Method


def train(
    method: Method,
    data: LearningData,
    config: LearningConfig,
    device: torch.device,
    *,
    masks: Sequence[str] | None = None,
    widths: Sequence[int] = WIDTHS,
    text_encoder: TextEncoder | None = None,
    keeper: StateKeeper | None = None,
    should_stop: Callable[[], bool] = never,
    on_step: Callable[[StepReport], object] = lambda report: None,
) -> tuple[nn.Module, int]:
    """Return the averaged network in eval mode, and the number of steps it was given.

    Parameters
    ----------
    method
        What to minimise.
    data
        Labelled and unlabelled images; validation images are not looked at.
    config
        Budget, rate, crop, batches and seed; what concerns our own teacher and text is not used.
    device
        Where to compute.
    masks
        What each mask of the network shows; None takes the prompts of the labelled images. With one mask, every prompt
        asks it.
    widths
        Of the backbone.
    text_encoder
        Reads what is asked, for methods that read text.
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
    run = _Training(method, data, config, device, masks, widths, text_encoder)
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

    def __init__(
        self,
        method: Method,
        data: LearningData,
        config: LearningConfig,
        device: torch.device,
        masks: Sequence[str] | None,
        widths: Sequence[int],
        text_encoder: TextEncoder | None,
    ) -> None:
        self._method, self._device = method, device
        batches = {} if method.unlabelled else {"unlabelled_batch": 0}
        self._config = config.model_copy(update={**batches, "consistency": 0.0, "moved_views": False})
        self._text_encoder = text_encoder if method.reads_text else None
        torch.manual_seed(config.seed)
        self._masks = tuple(masks or dict.fromkeys(p for image in data.labelled for p in image.masks))
        network = method.build(len(self._masks), widths)
        self.network = network.to(device, memory_format=learning_layout(device))  # type: ignore[call-overload]
        self.average = averaged(self.network, config.ema_decay)
        self._source = CropSource(data.squared(config.square), self._config, ModelConfig(), device)
        learnt = [p for p in self.network.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(learnt, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.budget = LearningBudget(self._config)

    def step(self) -> StepLosses:
        """Make one step."""
        time, rate = self.budget.fraction, self.budget.learning_rate
        self.network.train()
        views = self._views(self._source.draw())
        with autocast(self._device):
            losses = self._method.losses(self.network, views, time)
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        descend(self._optimiser, [loss], rate)
        self._method.after_step(self.network, time)
        self.average.update_parameters(self.network)
        supervised = float(losses["supervised"].detach())
        return StepLosses(rate, float(loss.detach()), supervised, float(loss.detach()) - supervised)

    def state(self, not_finite: int) -> RunState:
        """Return the state between two steps, chance included: noise and dropout draw from it."""
        parts = {"network": self.network.state_dict(), "average": self.average.state_dict()}
        parts |= {"optimiser": optimiser_tensors(self._optimiser), "crops": self._source.state()}
        tensors = {**flat(parts), "chance": torch.get_rng_state()}
        return RunState(tensors, Progress(self.budget.step, self.budget.seconds, not_finite=not_finite))

    def restore(self, saved: RunState) -> None:
        """Continue the run that saved this state."""
        self.network.load_state_dict(below(saved.tensors, "network."))
        self.average.load_state_dict(below(saved.tensors, "average."))
        restore_optimiser(self._optimiser, below(saved.tensors, "optimiser."))
        self._source.restore(below(saved.tensors, "crops."))
        if "chance" in saved.tensors:
            torch.set_rng_state(saved.tensors["chance"].cpu())
        self.budget.resume(saved.progress.step, saved.progress.seconds)

    def _views(self, batch: CropBatch) -> Views:
        """Return the crops of a step as methods take them."""
        one, device = len(self._masks) == 1, batch.weak.device
        channel = torch.tensor([0 if one else self._masks.index(p) for p in batch.prompts], device=device)
        text = None if self._text_encoder is None else self._text_encoder.sentence(batch.prompts).to(device)
        layout = learning_layout(device)
        weak, strong = (x.contiguous(memory_format=layout) for x in (batch.weak, batch.strong))
        return Views(weak, strong, batch.target, batch.known, channel, text, self._config.class_balance)
