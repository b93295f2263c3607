"""`napari-amvlm evaluate`: Dice and IoU of a model on a folder of images with masks."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated, Any, Literal

import typer

from napari_amvlm.cli.console import (
    DeviceOption,
    MagnificationOption,
    ModelOption,
    ViewsOption,
    progress,
    remark,
    say,
    views_of,
)
from napari_amvlm.wording import counted, shortened


def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="LViT layout: img/ and labelcol/, optional classes.csv.")
    ],
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", metavar="TEXT", help="What the masks show; with classes.csv: all its prompts."),
    ] = None,
    model: ModelOption = None,
    protocol: Annotated[
        Literal["native", "224"],
        typer.Option("--protocol", help="Size to score at: the image's own, or 224x224 as LViT."),
    ] = "native",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    scale: Annotated[
        Literal["auto", "whole", "tiles"], typer.Option("--scale", help="Look at the image as a whole or in tiles.")
    ] = "auto",
    magnification: MagnificationOption = 1.0,
    objects: Annotated[
        bool, typer.Option("--objects", help="Score objects too: AJI, PQ, F1 and count error; wants instances/.")
    ] = False,
    views: ViewsOption = "1",
    device: DeviceOption = "auto",
) -> None:
    """Score a model: Dice and IoU per image at threshold 0.5, then their mean.

    Scored is what predict draws: nothing where tissue is surely absent.
    """
    # What is wrong with the folder is said before torch is loaded.
    from napari_amvlm.evaluation import evaluate_folder, wanted_classes
    from napari_amvlm.imaging import read_folder

    data = read_folder(folder)
    classes = wanted_classes(data, prompt)
    from napari_amvlm.predictor import Predictor

    predictor = Predictor.from_file(model, device=device, views=views_of(views))
    for said in predictor.not_taught(classes).values():
        remark(f"{said} Its scores are those of a guess; predict draws nothing.")
    with progress("Evaluating") as show:
        report = evaluate_folder(
            predictor,
            data,
            prompt,
            protocol,
            scale=scale,
            magnification=magnification,
            objects=objects,
            as_drawn=True,
            on_progress=lambda done, total: show(done / total, f"{done} of {total}"),
        )
    if as_json:
        say(json.dumps(report))
        return
    for line in _table(report):
        say(line)


def _table(report: dict[str, Any]) -> list[str]:
    """Return the scores of each image, and below them the means, as lines for people."""
    prompts = report.get("prompts", {})
    name = report["prompt"] or "mean of prompts"
    lines = [line for prompt, values in (prompts or {name: report}).items() for line in _image_lines(prompt, values)]
    return [*lines, *(_line(prompt, values) for prompt, values in prompts.items()), _line(name, report)]


def _image_lines(prompt: str, values: dict[str, Any]) -> list[str]:
    """Return one line for each image of one prompt."""
    return [
        f"{shortened(prompt)} in {image}: Dice {scores['dice']:.4f}, IoU {scores['iou']:.4f}{_of_objects(scores)}"
        for image, scores in values["per_image"].items()
    ]


def _line(name: str, values: dict[str, Any]) -> str:
    """Return the line of one prompt."""
    scores = f"Dice {values['dice']:.4f}, IoU {values['iou']:.4f}{_of_objects(values)}"
    return f"{name}: {scores} ({counted(values['n'], 'image')}, {values['protocol']})"


def _of_objects(values: dict[str, Any]) -> str:
    """Return the scores of objects as they are added to a line; nothing where they were not asked for."""
    names = {"aji": "AJI", "pq": "PQ", "f1": "F1", "count_error": "count error"}
    return "".join(f", {names[key]} {value:.4f}" for key, value in values.get("objects", {}).items())
