"""Seconds that a simulated person needs to bring the mask of an image to a Dice, by each way to correct it.

    python -m training.benchmarks.corrections DIR --prompt TEXT [--corrections paint,strokes,clicks] [--target 0.85]

DIR is in LViT layout; images are taken at the size that the model looks at them. The person is that of
`training.simulation.corrections` and `mouse`; nothing is learnt meanwhile. With `--json` one object is printed: for
each way `minutes`, the mean over the images, `reached`, the share of images that came to the target within 200 actions,
mean `dice`, and `f1` of objects (connected pieces, matched above an IoU of 0.5) at the end.
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import numpy as np
import typer

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import binary_mask, read_image
from napari_amvlm.metrics import dice, object_scores
from napari_amvlm.predictor import Predictor, ScaleChoice
from napari_amvlm.review.objects import connected_objects
from napari_amvlm.strokes import Spread
from training import command
from training.benchmarks.strokes import at_working_size, chosen_pairs
from training.simulation.corrections import Corrections, steps, until
from training.simulation.mouse import MouseModel

if TYPE_CHECKING:
    from numpy.typing import NDArray


def correct_image(
    predictor: Predictor,
    image: NDArray[np.float32],
    truth: NDArray[np.bool_],
    prompt: str,
    kind: Corrections,
    target: float,
    mouse: MouseModel,
    scale: ScaleChoice = "auto",
) -> dict[str, float]:
    """Return what one way to correct costs in one image, and what it comes to."""
    predictor.set_image(image, limits=(0.0, 1.0))
    probability = predictor.predict(prompt, scale=scale).probability
    spread = Spread(predictor.features(prompt, scale=scale), probability, reach="whole") if kind == "strokes" else None
    step, reached = until(steps(kind, probability, truth, mouse, spread), truth, target)
    objects = object_scores(connected_objects(step.mask), connected_objects(truth))
    return {
        "minutes": step.seconds / 60,
        "reached": float(reached),
        "dice": dice(step.mask, truth),
        "f1": objects.f1,
    }


def seen_at(factor: float, speed: float) -> MouseModel:
    """Return the mouse of a person who sees an image resized by `factor`; its speed is in pixels of the image."""
    plain = MouseModel(pixels_per_second=speed)
    return MouseModel(
        pixels_per_second=plain.pixels_per_second * factor,
        free_pixels_per_second=plain.free_pixels_per_second * factor,
        tolerance=round(plain.tolerance * min(factor, 1)),
    )


def measure(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Data folder in LViT layout.")],
    prompt: Annotated[str, typer.Option(help="What its masks show.")],
    corrections: Annotated[str, typer.Option(help="Ways to correct, separated by commas.")] = "paint,strokes,clicks",
    target: Annotated[float, typer.Option(min=0, max=1, help="Dice at which the person stops.")] = 0.85,
    speed: Annotated[float, typer.Option(min=1, help="Of the mouse along a contour, image pixels a second.")] = 50,
    model: Annotated[str | None, typer.Option(help="Name of an installed model, or a model file.")] = None,
    scale: Annotated[str, typer.Option(help="auto, whole or tiles.")] = "auto",
    images: Annotated[int | None, typer.Option(min=1, help="Only so many images, evenly spaced.")] = None,
    crop: Annotated[int | None, typer.Option(min=64, help="Only the first rows and columns of an image.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print minutes, Dice and object F1 of each way to correct."""
    kinds = [kind.strip() for kind in corrections.split(",")]
    if not set(kinds) <= set(get_args(Corrections)) or scale not in get_args(ScaleChoice):
        raise InputError(
            f"Expected --corrections out of paint, strokes, clicks and --scale auto, whole or tiles, but got "
            f"{corrections} and {scale}."
        )
    wanted, value, pairs = chosen_pairs(folder, prompt, images)
    predictor = Predictor.from_file(model, device="cpu")
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for pair in pairs:
        image = read_image(pair.image).data
        truth = binary_mask(pair.labels(image.shape), value)
        chosen = cast("ScaleChoice", scale)
        small, right = at_working_size(predictor, image[:crop, :crop], truth[:crop, :crop], wanted, chosen)
        mouse = seen_at(max(right.shape) / max(truth[:crop, :crop].shape), speed)
        for kind in kinds:
            row = correct_image(predictor, small, right, wanted, cast("Corrections", kind), target, mouse, chosen)
            rows[kind].append(row)
    report: dict[str, Any] = {
        kind: {name: round(float(np.mean([row[name] for row in found])), 4) for name in found[0]}
        for kind, found in rows.items()
    }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    typer.echo(f"{len(pairs)} images, {wanted!r}, until Dice {target:g}")
    for kind, row in report.items():
        typer.echo(
            f"{kind:8s} {row['minutes']:6.2f} minutes an image, reached in {row['reached']:.0%}, "
            f"Dice {row['dice']:.3f}, object F1 {row['f1']:.3f}"
        )


if __name__ == "__main__":
    command.run(measure)
