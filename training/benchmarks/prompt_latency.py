"""How long a prompt takes on a 512x512 image, beside the image encoder of SAM ViT-B in the same process.

    python -m training.benchmarks.prompt_latency [--image FILE] [--repeats N] [--model M] [--device DEVICE] [--skip-sam]

The first prompt encodes the image; the second one costs the decoder alone. SAM ViT-B is what most interactive plugins
run once per image; its weights are random here (the time does not depend on them) and its input is its own, 1024x1024.
One JSON object is printed; seconds are medians of `--repeats` runs after one warm-up run, but for `very_first_prompt`:
the first of all after loading, as a person meets it, with the working scale chosen automatically.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_amvlm.device import resolve_device
from napari_amvlm.imaging import read_folder, read_image
from napari_amvlm.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SIDE = 512
SAMPLES = Path(__file__).parents[2] / "sample_data"
PROMPTS = ("nuclei", "cell nuclei")


def square_sample(image: NDArray[Any], side: int = SIDE) -> NDArray[Any]:
    """Return `image`, `(H, W)` or `(H, W, 3)`, mirrored at its borders and cut to `side` times `side` pixels."""
    missing = [(0, max(0, side - image.shape[0])), (0, max(0, side - image.shape[1])), *[(0, 0)] * (image.ndim - 2)]
    return np.pad(image, missing, mode="symmetric")[:side, :side]


def prompt_seconds(predictor: Predictor, image: NDArray[Any], *, repeats: int) -> dict[str, float]:
    """Return the seconds of the first prompt on a new image, of a second one, and of one in whole-image scale."""
    seconds: dict[str, list[float]] = {"first_prompt": [], "second_prompt": [], "first_prompt_whole": []}
    for _ in range(repeats + 1):
        # Without a key the image counts as one never seen, so nothing of it is in the cache.
        seconds["first_prompt"].append(_timed(lambda: _first(predictor, image, "tiles")))
        seconds["second_prompt"].append(_timed(lambda: predictor.predict(PROMPTS[1], scale="tiles")))
        seconds["first_prompt_whole"].append(_timed(lambda: _first(predictor, image, "whole")))
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def sam_encoder_seconds(device: torch.device, *, repeats: int) -> float:
    """Return the seconds of a SAM ViT-B image encoder with random weights on one 1024x1024 image."""
    from transformers import SamVisionConfig
    from transformers.models.sam.modeling_sam import SamVisionEncoder

    torch.manual_seed(0)
    encoder: torch.nn.Module = SamVisionEncoder(SamVisionConfig())
    encoder.to(device).eval()
    pixels = torch.rand(1, 3, 1024, 1024, device=device)

    def encode() -> None:
        with torch.inference_mode():
            encoder(pixels)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return statistics.median([_timed(encode) for _ in range(repeats + 1)][1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the timings as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="image to cut 512x512 pixels from; default: a sample image")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sam-repeats", type=int, default=1)
    parser.add_argument("--model", default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--skip-sam", action="store_true", help="time the prompts alone")
    options = parser.parse_args(arguments)
    if min(options.repeats, options.sam_repeats) < 1:
        parser.error("--repeats and --sam-repeats must be at least 1")
    path = options.image or _sample()
    image = square_sample(read_image(path).data)
    started = time.perf_counter()
    predictor = Predictor.from_file(options.model, device=options.device)
    report: dict[str, Any] = {
        "image": path.name,
        "shape": list(image.shape),
        "model": predictor.info.name if predictor.info else "unknown",
        "device": str(predictor.device),
        "threads": torch.get_num_threads(),
        "loading": time.perf_counter() - started,
        "very_first_prompt": _timed(lambda: _first(predictor, image, "auto")),
        **prompt_seconds(predictor, image, repeats=options.repeats),
    }
    if not options.skip_sam:
        report["sam_vit_b_encoder"] = sam_encoder_seconds(resolve_device(options.device), repeats=options.sam_repeats)
        report["sam_over_first_prompt"] = report["sam_vit_b_encoder"] / report["first_prompt"]
        report["sam_over_second_prompt"] = report["sam_vit_b_encoder"] / report["second_prompt"]
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in report.items()}
    sys.stdout.write(json.dumps(rounded, indent=2) + "\n")
    return 0


def _first(predictor: Predictor, image: NDArray[Any], scale: Any) -> None:
    """Set the image and ask the first prompt, as a person does."""
    predictor.set_image(image)
    predictor.predict(PROMPTS[0], scale=scale)


def _sample() -> Path:
    """Return the first sample image of tissue."""
    return read_folder(SAMPLES / "nuclei").pairs[0].image


def _timed(action: Callable[[], object]) -> float:
    """Return the wall seconds of `action`."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
