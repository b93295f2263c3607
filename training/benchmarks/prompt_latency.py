"""How long a prompt takes on a 512x512 image, beside SAM ViT-B in the same process.

    python -m training.benchmarks.prompt_latency [--image FILE] [--repeats N] [--model M] [--device DEVICE] [--skip-sam]

The first prompt encodes the image; the second one, in words not asked before, costs the decoder alone. SAM ViT-B is
what most interactive plugins run: its encoder once per image and its decoder for each prompt; its weights are random
here (the time does not depend on them) and its input is its own, 1024x1024.
One JSON object is printed; seconds are medians of `--repeats` runs after one warm-up run, but for `very_first_prompt`:
the first of all after loading, as a person meets it, with the working scale chosen automatically.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import typer

from napari_amvlm.device import supports_bfloat16
from napari_amvlm.imaging import read_folder, read_image
from napari_amvlm.predictor import Predictor
from training import command
from training.benchmarks.conditions import SAMPLES
from training.benchmarks.sam import SamPath
from training.benchmarks.table import faster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from training.benchmarks.conditions import Options
    from training.benchmarks.table import Row

SIDE = 512
PROMPTS = ("nuclei", "cell nuclei")


def square_sample(image: NDArray[Any], side: int = SIDE) -> NDArray[Any]:
    """Return `image`, `(H, W)` or `(H, W, 3)`, mirrored at its borders and cut to `side` times `side` pixels."""
    missing = [(0, max(0, side - image.shape[0])), (0, max(0, side - image.shape[1])), *[(0, 0)] * (image.ndim - 2)]
    return np.pad(image, missing, mode="symmetric")[:side, :side]


def prompt_seconds(predictor: Predictor, image: NDArray[Any], *, repeats: int) -> dict[str, float]:
    """Return the seconds of the first prompt on a new image, of a second one, and of one in whole-image scale."""
    seconds: dict[str, list[float]] = {"first_prompt": [], "second_prompt": [], "first_prompt_whole": []}
    for turn in range(repeats + 1):
        # Without a key the image counts as one never seen, so nothing of it is in the cache.
        seconds["first_prompt"].append(_timed(lambda: _first(predictor, image, "tiles")))
        seconds["second_prompt"].append(_timed(lambda: predictor.predict(f"{PROMPTS[1]} {turn}", scale="tiles")))  # noqa: B023
        seconds["first_prompt_whole"].append(_timed(lambda: _first(predictor, image, "whole")))
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def sam_seconds(sam: SamPath, image: NDArray[Any], *, repeats: int) -> dict[str, float]:
    """Return the seconds of SAM's encoder with one answer of its decoder, and of each further answer."""
    shape = (image.shape[0], image.shape[1])
    places = [(shape[0] * k // (repeats + 2), shape[1] // 2) for k in range(1, repeats + 2)]
    seconds: dict[str, list[float]] = {"first": [], "next": []}
    for point in places:
        started = time.perf_counter()
        embedding = sam.encode(image)
        sam.decode(embedding, point, shape)
        seconds["first"].append(time.perf_counter() - started)
        seconds["next"] += [_timed(lambda: sam.decode(embedding, other, shape)) for other in places]  # noqa: B023
    return {"first": statistics.median(seconds["first"][1:]), "next": statistics.median(seconds["next"][len(places) :])}


def rows(options: Options) -> Iterator[Row]:
    """Yield first and next prompt beside SAM ViT-B, in float32 as it comes and in the number format that ours takes."""
    image = square_sample(read_image(_sample(options.tissue)).data)
    predictor = Predictor.from_file(options.model, device=options.device)
    ours = prompt_seconds(predictor, image, repeats=5)
    how = f"median of 5 after one to warm up, {SIDE}x{SIDE} tissue, tiles at their own size; loading not counted"
    formats = {"float32, as it comes": False}
    if supports_bfloat16(predictor.device):
        formats["bfloat16, as ours"] = True
    for words, half in formats.items():
        sam = sam_seconds(SamPath(predictor.device, half=half), image, repeats=2)
        name = f"SAM ViT-B, {words}"
        first = f"{how}; SAM: encoder at 1024x1024, one point, mask at the image's size, random weights, median of 2"
        further = f"{how}, each time in words not asked before; SAM: decoder alone, another point, median of 6"
        yield faster(f"first prompt ({words})", ours["first_prompt"], sam["first"], name, first, least=10.0)
        name = f"its decoder, {words}"
        yield faster(f"next prompt ({words})", ours["second_prompt"], sam["next"], name, further, least=1.0)


def main(
    image: Annotated[Path | None, typer.Option(help="Image to cut 512x512 pixels from; else a sample image.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs that medians are of.")] = 5,
    sam_repeats: Annotated[int, typer.Option(min=1, help="The same of SAM.")] = 1,
    model: Annotated[str | None, typer.Option(help="Name of an installed model, or a model file.")] = None,
    device: command.DeviceOption = "auto",
    skip_sam: Annotated[bool, typer.Option("--skip-sam", help="Time the prompts alone.")] = False,
) -> None:
    """Print the timings as one JSON object."""
    path = image or _sample(SAMPLES / "nuclei")
    square = square_sample(read_image(path).data)
    started = time.perf_counter()
    predictor = Predictor.from_file(model, device=device)
    report: dict[str, Any] = {
        "image": path.name,
        "shape": list(square.shape),
        "model": predictor.info.name if predictor.info else "unknown",
        "device": str(predictor.device),
        "threads": torch.get_num_threads(),
        "loading": time.perf_counter() - started,
        "very_first_prompt": _timed(lambda: _first(predictor, square, "auto")),
        **prompt_seconds(predictor, square, repeats=repeats),
    }
    if not skip_sam:
        sam = sam_seconds(SamPath(predictor.device), square, repeats=sam_repeats)
        report |= {"sam_vit_b_first": sam["first"], "sam_vit_b_next": sam["next"]}
        report["sam_over_first_prompt"] = sam["first"] / report["first_prompt"]
        report["sam_over_second_prompt"] = sam["next"] / report["second_prompt"]
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in report.items()}
    typer.echo(json.dumps(rounded, indent=2))


def _first(predictor: Predictor, image: NDArray[Any], scale: Any) -> None:
    """Set the image and ask the first prompt, as a person does."""
    predictor.set_image(image)
    predictor.predict(PROMPTS[0], scale=scale)


def _sample(folder: Path) -> Path:
    """Return the first image of a data folder."""
    return read_folder(folder, masks="none").pairs[0].image


def _timed(action: Callable[[], object]) -> float:
    """Return the wall seconds of `action`."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    command.run(main)
