"""What the text does, on held-out images at their own size: right prompts, wrong ones, none, and whether it says "no".

    python -m training.benchmarks.text_contribution --data PATH [--model M] [--extra FOLDER:PROMPT:KIND ...]

Every validation image of the shippable data sets is asked for each of its concepts in its own words ("right"), in those
of another concept that the same kind of image shows or could show ("shuffled"), and with a word that says nothing
("none"); the answer is scored against the mask of the concept each time. It is also asked for all concepts that the
model was taught: presence of what is there is held against presence of what is not (area under the ROC curve, all
images together). `--extra` adds folders in LViT layout, each with the prompt that its masks answer and the kind of
image (tissue, xray or spine) that says what is absent.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import binary_mask, read_folder
from napari_amvlm.metrics import dice
from napari_amvlm.predictor import Predictor
from training import command
from training.pretraining.data import KINDS, SOURCES, concept_masks, is_validation
from training.pretraining.prompts import ABSENT, CONCEPTS
from training.pretraining.scoring import roc_auc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from training.pretraining.data import Kind

NOTHING_SAID = "image"
"""A prompt that names nothing."""
OTHER: Mapping[str, str] = {
    "nuclei": "lungs",
    "lungs": "vertebrae",
    "left lung": "right lung",
    "right lung": "left lung",
    "vertebrae": "intervertebral discs",
    "intervertebral discs": "spinal canal",
    "spinal canal": "vertebrae",
}
"""The wrong prompt for each concept."""


@dataclass(frozen=True)
class Scored:
    """An image at its own size `(H, W, 3)` with the masks `(H, W)` of the concepts that it shows."""

    image: NDArray[np.float32]
    masks: Mapping[str, NDArray[np.bool_]]
    kind: Kind


def contribution(predictor: Predictor, images: Iterator[Scored]) -> dict[str, object]:
    """Return mean Dice of each concept with right, shuffled and no words, and the presence AUC."""
    rows: dict[str, dict[str, list[float]]] = {}
    there: list[float] = []
    absent: list[float] = []
    for shown in images:
        predictor.set_image(shown.image)
        predictions = {p: predictor.predict(p) for p in {*(c.name for c in CONCEPTS), NOTHING_SAID}}
        for concept, mask in shown.masks.items():
            prompts = {"right": concept, "shuffled": OTHER[concept], "none": NOTHING_SAID}
            for name, prompt in prompts.items():
                rows.setdefault(concept, {}).setdefault(name, []).append(dice(predictions[prompt].mask(), mask))
        there += [predictions[c].presence for c, mask in shown.masks.items() if mask.any()]
        absent += [predictions[c].presence for c in ABSENT[shown.kind]]
    means = {c: {n: round(float(np.mean(v)), 4) for n, v in kinds.items()} for c, kinds in rows.items()}
    counts = {c: len(k["right"]) for c, k in rows.items()}
    return {"dice": means, "n": counts, "presence_auc": round(roc_auc(there, absent), 4)}


def held_out_images(data: Path) -> Iterator[Scored]:
    """Yield the validation images of the shippable data sets below `data`."""
    for source in SOURCES:
        for pair in read_folder(data / source).pairs:
            if is_validation(source, pair.name):
                image = pair.pixels()
                labels = pair.labels(image.shape)
                yield Scored(image, concept_masks(source, labels), KINDS.get(source, "tissue"))


def extra_images(folder: Path, prompt: str, kind: Kind) -> Iterator[Scored]:
    """Yield the images of one folder in LViT layout whose masks answer `prompt`."""
    for pair in read_folder(folder).pairs:
        image = pair.pixels()
        yield Scored(image, {prompt: binary_mask(pair.labels(image.shape))}, kind)


def _parsed(entry: str) -> tuple[Path, str, Kind]:
    """Return folder, prompt and kind of an `--extra`."""
    match entry.rsplit(":", 2):
        case [folder, prompt, ("tissue" | "xray" | "spine") as kind] if prompt in OTHER:
            return Path(folder), prompt, kind
    raise InputError(
        f"--extra {entry!r} must look like FOLDER:PROMPT:KIND with a prompt out of {', '.join(OTHER)} and one of the "
        f"kinds {', '.join(ABSENT)}."
    )


def main(
    data: command.DataSetsOption,
    model: Annotated[str | None, typer.Option(help="Name of an installed model, or a model file.")] = None,
    extra: Annotated[list[str] | None, typer.Option(help="FOLDER:PROMPT:KIND, any number of times.")] = None,
    device: command.DeviceOption = "auto",
) -> None:
    """Print the figures as one JSON object."""
    more = [_parsed(entry) for entry in extra or ()]
    images = itertools.chain(held_out_images(data), *(extra_images(*each) for each in more))
    typer.echo(json.dumps(contribution(Predictor.from_file(model, device=device), images), indent=1))


if __name__ == "__main__":
    command.run(main)
