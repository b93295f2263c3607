"""Dice after each of a number of strokes that spread, by a simulated person who corrects the largest error.

    python -m training.benchmarks.strokes DIR --prompt TEXT --strokes 10 [--model M] [--reach near|whole] [--json]

DIR is in LViT layout. Each image is taken at the size that the model looks at it: whole images at a long side of 256
pixels, tiles at their own size; so strokes of 30 x 3 pixels mean the same everywhere. The strokes are placed by
`training.simulation.strokes`. With `--json` one object is printed: `dice` has the mean over the images after 0, 1, ...
strokes, `per_image` the same of each image, `seconds_p95` the time of an update that 95 % of them do not exceed.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import numpy as np
import typer

from napari_amvlm.errors import InputError
from napari_amvlm.evaluation import wanted_classes
from napari_amvlm.imaging import binary_mask, is_gray, read_folder, read_image, resize, to_rgb01
from napari_amvlm.metrics import dice
from napari_amvlm.predictor import Predictor, ScaleChoice
from napari_amvlm.strokes import Reach, Spread
from training import command
from training.simulation.strokes import next_stroke

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImagePair

_EVIDENT = 0.5
"""Probability from which a pixel counts as found."""


@dataclass(frozen=True)
class Corrected:
    """What strokes made of one image: Dice after 0, 1, ... of them, and the seconds that each update took."""

    dice: list[float]
    seconds: list[float]


def chosen_pairs(folder: Path, prompt: str, count: int | None) -> tuple[str, int | None, tuple[ImagePair, ...]]:
    """Return a prompt as a data folder has it, its mask value, and the images, or `count` of them, evenly spaced."""
    data = read_folder(folder)
    ((wanted, value),) = wanted_classes(data, prompt).items()
    pairs = data.pairs
    if count is not None and count < len(pairs):
        pairs = tuple(pairs[k * len(pairs) // count] for k in range(count))
    return wanted, value, pairs


def at_working_size(
    predictor: Predictor, image: NDArray[Any], truth: NDArray[np.bool_], prompt: str, scale: ScaleChoice
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return an image, float32 `(H, W, 3)` in [0, 1], and its mask at the size that the model looks at them."""
    pixels = to_rgb01(image)
    shape = (pixels.shape[0], pixels.shape[1])
    factor = predictor.scale_for(prompt, shape, scale=scale, gray=is_gray(pixels)).factor
    size = (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))
    return resize(pixels, size), resize(truth.astype(np.float32), size) >= _EVIDENT


def correct_by_strokes(
    predictor: Predictor,
    image: NDArray[np.float32],
    truth: NDArray[np.bool_],
    prompt: str,
    strokes: int,
    *,
    scale: ScaleChoice = "auto",
    reach: Reach = "whole",
    spread: bool = True,
) -> Corrected:
    """Correct the mask of one image by strokes; without `spread` they are painted and nothing else changes."""
    predictor.set_image(image, limits=(0.0, 1.0))
    probability = predictor.predict(prompt, scale=scale).probability
    corrector = Spread(predictor.features(prompt, scale=scale), probability, reach=reach) if spread else None
    mask = probability >= _EVIDENT
    scores, seconds = [dice(mask, truth)], list[float]()
    for _ in range(strokes):
        stroke = next_stroke(mask, truth)
        if stroke is not None and corrector is not None:
            started = time.perf_counter()
            mask = corrector.stroke(stroke.rows, stroke.columns, stroke.positive) >= _EVIDENT
            seconds.append(time.perf_counter() - started)
        elif stroke is not None:
            mask[stroke.rows, stroke.columns] = stroke.positive
        scores.append(dice(mask, truth))
    return Corrected(scores, seconds)


def measure(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Data folder in LViT layout.")],
    prompt: Annotated[str, typer.Option(help="What its masks show.")],
    strokes: Annotated[int, typer.Option(min=0, max=1000, help="Strokes in each image.")] = 10,
    model: Annotated[str | None, typer.Option(help="Name of an installed model, or a model file.")] = None,
    device: command.DeviceOption = "auto",
    scale: Annotated[str, typer.Option(help="auto, whole or tiles.")] = "auto",
    reach: Annotated[str, typer.Option(help="near or whole, or off: strokes are painted only.")] = "whole",
    images: Annotated[int | None, typer.Option(min=1, help="Only so many images, evenly spaced.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print Dice after each stroke."""
    if reach not in (*get_args(Reach), "off") or scale not in get_args(ScaleChoice):
        raise InputError(
            f"Expected --reach near, whole or off and --scale auto, whole or tiles, but got {reach}, {scale}."
        )
    wanted, value, pairs = chosen_pairs(folder, prompt, images)
    predictor = Predictor.from_file(model, device=device)
    results: dict[str, Corrected] = {}
    for pair in pairs:
        image = read_image(pair.image).data
        truth = binary_mask(pair.labels(image.shape), value)
        options = cast("ScaleChoice", scale)
        small, target = at_working_size(predictor, image, truth, wanted, options)
        results[pair.name] = correct_by_strokes(
            predictor,
            small,
            target,
            wanted,
            strokes,
            scale=options,
            reach=cast("Reach", "near" if reach == "off" else reach),
            spread=reach != "off",
        )
    report = summary(results)
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    name = predictor.info.name if predictor.info else "unknown"
    typer.echo(f"{len(results)} images, {wanted!r}, model {name}, reach {reach}")
    for count, value_ in enumerate(report["dice"]):
        typer.echo(f"{count:3d} strokes: Dice {value_:.3f}")
    if report["seconds_p95"] is not None:
        typer.echo(f"95 % of updates took at most {1000 * report['seconds_p95']:.0f} ms")


def summary(results: dict[str, Corrected]) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    seconds = [s for each in results.values() for s in each.seconds]
    return {
        "dice": np.mean([each.dice for each in results.values()], axis=0).round(4).tolist(),
        "per_image": {name: [round(d, 4) for d in each.dice] for name, each in results.items()},
        "seconds_p95": round(float(np.percentile(seconds, 95)), 4) if seconds else None,
    }


if __name__ == "__main__":
    command.run(measure)
