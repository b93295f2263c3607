"""Fits the presence score of released weights anew; their masks stay as they are.

python -m training.presence MODEL.safetensors --data PATH -o MODEL.safetensors
"""

from __future__ import annotations

import logging
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from napari_amvlm.device import resolve_device
from training.command import DataSetsOption, DeviceOption, run_command
from training.pretraining.data import SOURCES, load_taught_images
from training.pretraining.presence import fit_presence

log = logging.getLogger("training.presence")


def main(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    data: DataSetsOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the fitted model goes.")],
    device: DeviceOption = "auto",
    steps: Annotated[int, typer.Option(help="Length of the fit.")] = 300,
) -> None:
    """Fit the presence score of a trained model."""
    from napari_amvlm.models.checkpoint import load_model, save_model

    network, info = load_model(model, device=resolve_device(device))
    images = [i for s in SOURCES for i in load_taught_images(data, s, whole=info.config.whole)]
    scores = fit_presence(network, images, steps=steps)
    log.info("%s", scores)
    save_model(
        network,
        output,
        name=info.name,
        version=info.version,
        licence=info.licence,
        training_data=info.training_data,
        parent=info.parent,
        scores=info.scores | {"presence AUC": round(scores["after"], 4)},
    )


if __name__ == "__main__":
    run_command(main)
