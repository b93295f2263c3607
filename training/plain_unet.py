"""The plain U-Net alone, on any two folders, printed as one JSON object as by `napari-amvlm evaluate`.

python -m training.plain_unet LABELLED VALIDATION --prompt nuclei --minutes 10
"""

from __future__ import annotations

import json
import logging
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.config import LearningConfig
from napari_amvlm.device import resolve_device
from napari_amvlm.evaluation import evaluate_folder
from napari_amvlm.imaging import binary_mask, read_folder
from napari_amvlm.learning.data import LabelledImage, LearningData
from training import command
from training.methods.teachers import UNetMethod
from training.methods.train import train
from training.runs.plain_unet import PlainPredictor

if TYPE_CHECKING:
    from napari_amvlm.learning import StepReport

log = logging.getLogger("training.plain_unet")


def load_labelled(folder: Path, prompt: str) -> LearningData:
    """Return all pairs of a folder in LViT layout, with everything above 0 as the mask of `prompt`.

    Raises
    ------
    DatasetError
        The folder has not the expected layout, or an image has no mask.
    """
    images: list[LabelledImage] = []
    for pair in read_folder(folder).pairs:
        pixels = pair.pixels()
        mask = binary_mask(pair.labels(pixels.shape))
        images.append(LabelledImage(pair.name, pixels, {prompt: mask}, {prompt: "tiles"}))
    return LearningData(labelled=tuple(images))


def _log_step(report: StepReport) -> None:
    if report.step % 50 == 0:
        log.info("step %d, loss %.3f", report.step, report.loss)


def main(
    labelled: Annotated[Path, typer.Argument(help="Folder to learn from, LViT layout.")],
    validation: Annotated[Path, typer.Argument(help="Folder to score on, LViT layout.")],
    prompt: Annotated[str, typer.Option(help="What the masks show; only for the report.")] = "nuclei",
    minutes: Annotated[float, typer.Option(help="Length of the run.")] = 10.0,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    device: command.DeviceOption = "auto",
) -> None:
    """Train a plain U-Net and print its scores as one JSON object."""
    where = resolve_device(device)
    config = LearningConfig(minutes=minutes, learning_rate=rate, seed=seed, labelled_batch=4)
    network, steps = train(UNetMethod(), load_labelled(labelled, prompt), config, where, on_step=_log_step)
    scores = evaluate_folder(PlainPredictor(network, where), validation, prompt)
    typer.echo(json.dumps(scores | {"steps": steps}))


if __name__ == "__main__":
    command.run(main)
