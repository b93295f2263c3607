"""The learning part of a run: text-guided Mean Teacher from given weights, or the plain U-Net."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm.errors import Cancelled
from napari_amvlm.generators import drain
from napari_amvlm.learning import fine_tune
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.models.text_encoder import load_text_encoder
from training.datasets.asking import learning_data
from training.methods.train import train
from training.runs.folder import StateFile
from training.runs.rivals import save_rival

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.learning import Report, StepReport
    from napari_amvlm.models.text_encoder import TextEncoder
    from training.datasets.opening import DatasetSplit
    from training.methods.protocol import Method
    from training.runs.folder import RunFolder
    from training.runs.recipe import RunRecipe

log = logging.getLogger("training.learning")

Show = Callable[[float, str], None]
"""Told the share of a run that is done, and a note."""


@dataclass(frozen=True)
class Sitting:
    """One sitting of a run: what it was told, what it uses, where it writes, and who may stop it."""

    recipe: RunRecipe
    split: DatasetSplit
    folder: RunFolder
    device: torch.device
    should_stop: Callable[[], bool]
    show: Show


def learn(sitting: Sitting, unlabelled: Sequence[ImagePair], start: Path, text_encoder: TextEncoder | None) -> None:
    """Fine-tune the weights in `start`, logging every report, and write the run's weights.

    Raises
    ------
    Cancelled
        Somebody stopped it; its state is kept.
    """
    recipe, folder = sitting.recipe, sitting.folder
    config = recipe.learning_config()
    data = learning_data(sitting.split, unlabelled, recipe.prompts, seed=recipe.seed, square=config.square)
    if config.text_guidance and len({prompt for image in data.labelled for prompt in image.masks}) < 2:
        log.info(
            "L_tg cannot act in %s: all labelled images are asked one text; ask captions, or several prompts.",
            recipe.name,
        )
    model, info = load_model(start, device=sitting.device, text_encoder=text_encoder)
    run = fine_tune(
        model,
        data,
        config,
        device=sitting.device,
        should_stop=sitting.should_stop,
        keeper=StateFile(folder, recipe.save_every_seconds),
    )

    def on_report(report: Report) -> None:
        folder.note(report)
        sitting.show(report.fraction, f"step {report.step}")

    result = drain(run, on_report)
    if result.stopped:
        raise Cancelled(f"Stopped after {result.steps} steps; the same command goes on with {folder.path}.")
    _learnt(folder, result.steps, result.seconds)
    images = f"{len(data.labelled)} labelled and {len(data.unlabelled)} unlabelled images"
    save_model(
        result.model,
        folder.weights,
        name=recipe.name,
        licence=info.licence,
        training_data=f"{info.training_data}; {images} of {sitting.split.spec.name}",
        parent=info.sha256,
    )


def learn_rival(
    sitting: Sitting, method: Method, unlabelled: Sequence[ImagePair], text_encoder: TextEncoder | None
) -> None:
    """Train the plain U-Net or another rival, logging every report, and write its weights.

    Raises
    ------
    Cancelled
        Somebody stopped it; its state is kept.
    """
    recipe, folder = sitting.recipe, sitting.folder
    config, prompts = recipe.learning_config(), tuple(sitting.split.prompts())
    data = learning_data(sitting.split, unlabelled, recipe.prompts, seed=recipe.seed, square=config.square)
    seconds = 0.0

    def note(report: StepReport) -> None:
        nonlocal seconds
        seconds = report.seconds
        folder.note(report)
        sitting.show(report.fraction, f"step {report.step}")

    network, steps = train(
        method,
        data,
        config,
        sitting.device,
        masks=prompts,
        text_encoder=(text_encoder or load_text_encoder()) if method.reads_text else None,
        keeper=StateFile(folder, recipe.save_every_seconds),
        should_stop=sitting.should_stop,
        on_step=note,
    )
    if sitting.should_stop():
        raise Cancelled(f"Stopped after {steps} steps; the same command goes on with {folder.path}.")
    _learnt(folder, steps, seconds)
    save_rival(method, recipe.method, network, folder.weights, prompts)


def _learnt(folder: RunFolder, steps: int, seconds: float) -> None:
    """Log how much was learnt, before the weights say that learning is over."""
    folder.log({"event": "learnt", "step": steps, "seconds": seconds})
