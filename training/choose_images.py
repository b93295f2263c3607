"""Which images to annotate first: few that look like all the others, chosen without any mask.

    python -m training.choose_images MoNuSeg --data PATH --count 2

It prints the names as a setting of `training.semi_supervised`, for the recipe or after `--set`.
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from napari_amvlm.errors import DatasetError, InputError
from napari_amvlm.imaging import read_image
from napari_amvlm.predictor import Predictor
from training.command import run_command
from training.datasets import open_dataset
from training.datasets.registry import dataset_called
from training.datasets.splits import SplitConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def representative(features: NDArray[np.floating], candidates: Sequence[int], count: int) -> list[int]:
    """Return those candidates that stand best for all images, the most telling one first.

    Each choice adds most to the sum, over all images, of the cosine similarity to the nearest chosen one: facility
    location, whose greedy solution reaches at least 1 - 1/e of the best sum (Nemhauser et al., Math. Programming 1978).
    A smaller choice is the beginning of a larger one.

    Parameters
    ----------
    features
        One vector for each image, `(N, D)`; their lengths do not matter.
    candidates
        Rows that may be chosen.
    count
        How many.

    Raises
    ------
    InputError
        There are fewer candidates, or a vector is zero or not finite.
    """
    if not 1 <= count <= len(candidates):
        raise InputError(
            f"{count} images are wanted, but there are {len(candidates)} to choose from; change the count."
        )
    vectors = np.asarray(features, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise InputError("An image has no embedding that could be compared; take it out.")
    likeness = (vectors / lengths) @ (vectors / lengths).T
    chosen: list[int] = []
    nearest = np.full(len(vectors), -1.0)
    for _ in range(count):
        left = [row for row in candidates if row not in chosen]
        gains = [np.maximum(nearest, likeness[row]).sum() for row in left]
        chosen.append(left[int(np.argmax(gains))])
        nearest = np.maximum(nearest, likeness[chosen[-1]])
    return chosen


def choose(data: Path, dataset: str, count: int, predictor: Predictor) -> list[str]:
    """Return the names of training images that stand for the training and the unlabelled images of a data set.

    Raises
    ------
    DatasetError, InputError
        The data set or the count does not fit.
    """
    split = open_dataset(dataset_called(dataset), data, SplitConfig(), seed=0)
    names, features = [], []
    for pair in (*split.labelled, *split.unlabelled):
        predictor.set_image(read_image(pair.image).data)
        names.append(pair.name)
        features.append(predictor.describe())
    if not features:
        raise DatasetError(f"{split.root} has no training images.")
    return [names[row] for row in representative(np.stack(features), range(len(split.labelled)), count)]


def main(
    dataset: Annotated[str, typer.Argument(help="Name of the data set.")],
    data: Annotated[Path, typer.Option(help="The data set's folder, or one that holds it under its name.")],
    count: Annotated[int, typer.Option(help="How many images.", min=1)] = 2,
    model: Annotated[str | None, typer.Option(help="Whose embeddings are compared; the default model.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Choose images to annotate first."""
    typer.echo(f"labels={json.dumps(choose(data, dataset, count, Predictor.from_file(model, device=device)))}")


if __name__ == "__main__":
    run_command(main)
