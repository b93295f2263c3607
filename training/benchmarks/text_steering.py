"""Does the text steer the mask? Dice of each prompt on the sample images, and how much absent prompts find.

    python -m training.benchmarks.text_steering [--model M] [--device DEVICE]

Prints one JSON object: for each sample set and prompt the mean Dice and mean presence where the concept is there, and
the mean share of found pixels and mean presence where it is not; then the agreement (IoU) of two wordings of the same
concept, and the overlap (IoU) of the masks of the left and the right lung, which should be none.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.imaging import binary_mask, read_folder, read_image, read_mask
from napari_amvlm.metrics import dice, iou
from napari_amvlm.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_amvlm.prediction import Prediction

SAMPLES = Path(__file__).parents[2] / "sample_data"
PRESENT: dict[str, dict[str, tuple[int, ...]]] = {
    "nuclei": {"nuclei": (), "cell nuclei": (), "hematoxylin stained nuclei": ()},
    "lungs": {"lungs": (1, 2), "right lung": (1,), "left lung": (2,), "the patient's left lung": (2,)},
    "spine": {"vertebrae": (1,), "intervertebral discs": (2,), "spinal canal": (3,)},
}
"""For each sample set the prompts and the label values that they mean; () means every value above 0."""
ABSENT: dict[str, tuple[str, ...]] = {
    "nuclei": ("lungs", "spinal canal", "airplane"),
    "lungs": ("nuclei", "intervertebral discs", "airplane"),
    "spine": ("nuclei", "left lung", "airplane"),
}
WORDINGS = (("nuclei", "nuclei", "cell nuclei"), ("lungs", "left lung", "the patient's left lung"))


def steering(predictor: Predictor, root: Path = SAMPLES) -> dict[str, Any]:
    """Return the figures described above for the sample sets below `root`."""
    report: dict[str, Any] = {}
    agreement: dict[str, list[float]] = {}
    for name, prompts in PRESENT.items():
        rows: dict[str, list[tuple[float, float]]] = {}
        for pair in read_folder(root / name).pairs:
            image = read_image(pair.image).data
            labels = read_mask(pair.mask, image.shape[:2]) if pair.mask else np.zeros(image.shape[:2], np.int32)
            predictor.set_image(image)
            predictions = {p: predictor.predict(p) for p in (*prompts, *ABSENT[name])}
            for prompt, values in prompts.items():
                target = np.isin(labels, values) if values else binary_mask(labels)
                rows.setdefault(prompt, []).append(
                    (dice(predictions[prompt].mask(), target), predictions[prompt].presence)
                )
            for prompt in ABSENT[name]:
                rows.setdefault(prompt, []).append(
                    (float(predictions[prompt].mask().mean()), predictions[prompt].presence)
                )
            _compare(name, predictions, agreement)
        report[name] = {
            prompt: _row("dice" if prompt in prompts else "found_share", values) for prompt, values in rows.items()
        }
    report["agreement_iou"] = {k: round(float(np.mean(v)), 4) for k, v in agreement.items()}
    return report


def _compare(name: str, predictions: dict[str, Prediction], agreement: dict[str, list[float]]) -> None:
    pairs = [(a, b) for sample, a, b in WORDINGS if sample == name]
    if name == "lungs":
        pairs += [("left lung", "right lung"), ("left lung", "lungs")]
    for a, b in pairs:
        agreement.setdefault(f"{a} / {b}", []).append(_iou(predictions[a].mask(), predictions[b].mask()))


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(iou(a, b))


def _row(measure: str, values: list[tuple[float, float]]) -> dict[str, float]:
    means = np.mean(values, axis=0)
    worst = min(v[0] for v in values) if measure == "dice" else max(v[0] for v in values)
    return {measure: round(float(means[0]), 4), "worst": round(worst, 4), "presence": round(float(means[1]), 4)}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name of an installed model, or a model file")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(argv)
    print(json.dumps(steering(Predictor.from_file(options.model, device=options.device)), indent=1))


if __name__ == "__main__":
    main()
