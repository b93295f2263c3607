"""Score a predictor on a folder of images with masks (Pan et al. 2025, metrics).

Two protocols, always named: `native` scores at the images' own size; `224` resizes image and mask to 224x224
first (bilinear image, nearest mask), as LViT and AMVLM do. An image that is looked at in tiles is then enlarged back
by what it has shrunk (`magnification_in`), so that its objects have the size that the model knows. Values are
fractions; per-image values are kept for paired tests.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

import numpy as np

from napari_amvlm.errors import DatasetError, InputError, LabelsError, PromptError
from napari_amvlm.imaging import DataFolder, answered_masks, read_folder, read_image, read_mask, read_reviewed
from napari_amvlm.imaging.scale import stretched, stretched_labels
from napari_amvlm.metrics import Overlap, mean_overlap, object_scores, overlap
from napari_amvlm.prediction import Prediction
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.metrics import ObjectScores

EvaluationProtocol = Literal["native", "224"]
THRESHOLD = 0.5
LVIT_SIDE = 224
_COUNTED = ("aji", "pq", "f1", "count_error")


class HasProbability(Protocol):
    """What scoring needs of a prediction."""

    @property
    def probability(self) -> NDArray[np.float32]:
        """Probability of the prompt in every pixel, `(H, W)`, in `[0, 1]`."""


class HasObjects(Protocol):
    """What scoring objects needs of a prediction."""

    def objects(self, threshold: float) -> NDArray[np.int32]:
        """Return the mask with a number for each object, `(H, W)`."""


class PromptPredictor(Protocol):
    """What scoring needs of a predictor; `napari_amvlm.predictor.Predictor` has it."""

    def set_image(self, image: NDArray[Any], *, key: Hashable | None = None) -> None:
        """Take the image that the next prompts are about."""

    def predict(
        self, prompt: str, *, scale: Literal["auto"] | ScaleName = "auto", magnification: float = 1.0
    ) -> HasProbability:
        """Segment what `prompt` names."""


def evaluate_folder(
    predictor: PromptPredictor,
    folder: Path | DataFolder,
    prompt: str | None = None,
    protocol: EvaluationProtocol = "native",
    *,
    scale: Literal["auto"] | ScaleName = "auto",
    magnification: float = 1.0,
    objects: bool = False,
    as_drawn: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Return Dice and IoU of every image at threshold 0.5, and their means.

    Parameters
    ----------
    folder
        LViT layout: `img/` and `labelcol/`; with a `classes.csv` its masks hold one value per prompt. Of an export,
        masks count whole, and a prompt is not scored on images on which nobody answered it.
    prompt
        What is to be found. With a `classes.csv` it must be one of its prompts, or None for all of them.
    protocol
        "native" or "224".
    magnification
        Relative to the image's own size, in both protocols.
    objects
        Whether objects are scored too: AJI, PQ, F1 at an IoU of 0.5 and the relative count error, as `"objects"` of
        every image and of the means. The folder needs numbers of objects, in `instances/` or as values of its masks.
    as_drawn
        Whether what is surely absent is scored as nothing, which is what is drawn of it; else what the network finds
        there is. A prompt that was not taught, of which nothing is drawn either, is scored by what the network finds.
    on_progress
        Called with the number of images done and the number of all.

    Returns
    -------
    dict
        `{"n", "protocol", "prompt", "dice", "iou", "per_image": {name: {"dice", "iou"}}}`. Where several classes were
        scored, `"prompts"` holds one such object per prompt, the values on top are means over prompts, and `"prompt"`
        is None.

    Raises
    ------
    DatasetError
        The folder has not the expected layout, or nobody answered the prompts; or a mask has a value that `classes.csv`
        does not name, which would count as background.
    PromptError
        A prompt is needed, or is not one of the folder's.
    InputError
        `protocol` is not known, or objects are wanted in another than "native".
    ImageError, LabelsError
        An image or its mask cannot be used, or does not tell its objects apart.
    """
    data = folder if isinstance(folder, DataFolder) else read_folder(folder)
    return evaluate_pairs(
        predictor,
        data.pairs,
        wanted_classes(data, prompt),
        protocol,
        one=bool(prompt) or not data.classes,
        scale=scale,
        magnification=magnification,
        objects=objects,
        as_drawn=as_drawn,
        check=data.check_values,
        on_progress=on_progress,
    )


def evaluate_pairs(
    predictor: PromptPredictor,
    pairs: Sequence[ImagePair],
    classes: Mapping[str, int | None],
    protocol: EvaluationProtocol = "native",
    *,
    wording: Callable[[str, str], str] | None = None,
    one: bool = False,
    scale: Literal["auto"] | ScaleName = "auto",
    magnification: float = 1.0,
    square: int = 0,
    objects: bool = False,
    as_drawn: bool = False,
    check: Callable[[NDArray[Any], Path], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Return what `evaluate_folder` does, for chosen images.

    Parameters
    ----------
    predictor, protocol, scale, magnification, objects, as_drawn, on_progress
        As in `evaluate_folder`.
    classes
        What is to be found, with its mask value; None means every value above 0.
    wording
        Given an image's name and one of `classes`, returns the prompt to ask that image; None asks the class itself.
    one
        Report a single class as such, without `"prompts"`.
    square
        In the protocol 224, the side at which the predictor looks at the square: that at which it learnt squares. 0
        enlarges it by what the image has shrunk.
    check
        Given each mask and its file, raises where it cannot be used.

    Raises
    ------
    InputError, DatasetError, ImageError, LabelsError
        As in `evaluate_folder`.
    """
    if protocol not in get_args(EvaluationProtocol):
        raise InputError(f"Expected protocol to be one of {list(get_args(EvaluationProtocol))}, but got {protocol!r}.")
    if objects and protocol != "native":
        raise InputError("Objects are scored at the images' own size; leave out --objects, or the protocol 224.")
    scores: dict[str, dict[str, Overlap]] = {text: {} for text in classes}
    counted: dict[str, dict[str, ObjectScores]] = {text: {} for text in classes if objects}
    for index, pair in enumerate(pairs):
        image, labels, known, shape = _load(pair)
        if check is not None:
            check(labels, pair.required_mask())
        masks = answered_masks(pair, labels, classes)
        if protocol == "224":
            image, known = resize_224(image), resize_labels_224(known)
            masks = {text: resize_labels_224(mask) for text, mask in masks.items()}
        in_square = square and protocol == "224"
        factor = magnification * (square / LVIT_SIDE if in_square else magnification_in(protocol, shape))
        predictor.set_image(image, key=("evaluate", protocol, str(pair.image)))
        for text, mask in masks.items():
            prompt = text if wording is None else wording(pair.name, text)
            prediction = predictor.predict(prompt, scale=scale, magnification=factor)
            found = prediction.probability
            if as_drawn and isinstance(prediction, Prediction):
                prediction = replace(prediction, taught=True)
                found = prediction.drawn
            probability = np.where(known, found, 0)
            scores[text][pair.name] = overlap(probability, mask & known, threshold=THRESHOLD)
            if objects:
                wanted = np.where(known, object_numbers(pair, labels, classes[text]), 0)
                numbers = cast("HasObjects", prediction).objects(THRESHOLD)
                counted[text][pair.name] = object_scores(np.where(known, numbers, 0), wanted)
        if on_progress is not None:
            on_progress(index + 1, len(pairs))
    answered = {text: per_image for text, per_image in scores.items() if per_image}
    if not answered:
        raise DatasetError(
            f"Nobody answered {', '.join(map(repr, classes))} on any of these images; choose another prompt."
        )
    return _report(answered, protocol, {text: counted[text] for text in answered if objects}, one=one)


def object_numbers(pair: ImagePair, labels: NDArray[np.integer], value: int | None = None) -> NDArray[np.integer]:
    """Return the numbers of an image's objects, `(H, W)`: those of `instances/`, else the values of its mask.

    Parameters
    ----------
    pair
        The image.
    labels
        Its mask, `(H, W)`.
    value
        Value of a class in it; None where every value above 0 is the same thing.

    Raises
    ------
    LabelsError
        Its mask says where objects are, but not which pixels are whose, or has values below 0.
    """
    from skimage.measure import label

    stored = labels if pair.objects is None else read_mask(pair.objects, labels.shape)
    numbers = stored if value is None else np.where(labels == value, stored, 0)
    if numbers.min(initial=0) < 0:
        raise LabelsError(f"{pair.objects or pair.mask} has values below 0: number objects from 1 on.")
    numbered = pair.objects is not None and value is not None  # a class may have one object, in pieces
    count = len(np.unique(numbers[numbers > 0]))
    # Another object may cross one and part it, but not so many.
    if not numbered and label(numbers, connectivity=2).max(initial=0) > 2 * count - (count == 1):
        values = "one value" if count == 1 else f"{count} values"
        raise LabelsError(
            f"{pair.objects or pair.mask} has {values} for all objects, so that touching ones cannot be told apart; "
            "put an image of the same stem with a number for each object into instances/."
        )
    return numbers


def wanted_classes(data: DataFolder, prompt: str | None) -> dict[str, int | None]:
    """Return each prompt to use on `data` with its mask value; None means every value above 0.

    Raises
    ------
    PromptError
        A prompt is needed, or is not one of the folder's.
    """
    text = None if prompt is None else tidied(prompt)
    if not data.classes:
        if not text:
            raise PromptError(
                f"{data.root} has no classes.csv, so a prompt is needed that says what its masks show; "
                'give one, for instance --prompt "nuclei".'
            )
        return {text: None}
    if text is None:
        return {name: value for value, name in data.classes}
    alike = {name: value for value, name in data.classes if name.casefold() == text.casefold()}
    if alike:  # as it is written, else in other letters
        name = text if text in alike else next(iter(alike))
        return {name: alike[name]}
    known = ", ".join(name for _, name in data.classes)
    raise PromptError(f"Prompt {text!r} is not in {data.root / 'classes.csv'}; choose one of: {known}.")


def magnification_in(protocol: EvaluationProtocol, shape: tuple[int, int]) -> float:
    """Return by how much a protocol has shrunk an image of `shape`, the geometric mean of both sides.

    Examples
    --------
    >>> magnification_in("224", (1000, 1000)) == 1000 / 224, magnification_in("native", (1000, 1000))
    (True, 1.0)
    """
    return math.sqrt(shape[0] * shape[1]) / LVIT_SIDE if protocol == "224" else 1.0


def resize_224(image: NDArray[Any]) -> NDArray[Any]:
    """Return `image`, `(H, W)` or `(H, W, 3)`, at 224x224: bilinear, without antialiasing, of the same dtype."""
    return stretched(image, LVIT_SIDE)


def resize_labels_224(labels: NDArray[Any]) -> NDArray[Any]:
    """Return `labels`, `(H, W)`, at 224x224 by nearest neighbour."""
    return stretched_labels(labels, LVIT_SIDE)


def _load(pair: ImagePair) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], tuple[int, int]]:
    """Return image and labels of one pair, which pixels are known, and the image's shape."""
    mask = pair.required_mask()
    image = read_image(pair.image).data
    shape = (image.shape[0], image.shape[1])
    labels = read_mask(mask, shape)
    reviewed = read_reviewed(pair.reviewed, shape)
    known = np.ones(shape, np.bool_) if reviewed is None else reviewed
    return image, labels, known, shape


def _report(
    scores: Mapping[str, Mapping[str, Overlap]],
    protocol: str,
    counted: Mapping[str, Mapping[str, ObjectScores]],
    *,
    one: bool,
) -> dict[str, Any]:
    """Return the scores in the form that `evaluate --json` prints."""
    reports = {text: _object(text, protocol, per_image) for text, per_image in scores.items()}
    for text, of_objects in counted.items():
        each = {name: {key: float(getattr(found, key)) for key in _COUNTED} for name, found in of_objects.items()}
        for name, values in each.items():
            reports[text]["per_image"][name]["objects"] = values
        reports[text]["objects"] = _means(list(each.values()))
    if one:
        return next(iter(reports.values()))
    per_class: Sequence[Mapping[str, Overlap]] = list(scores.values())
    names = dict.fromkeys(name for images in per_class for name in images)
    mean_per_image = {name: mean_overlap(images[name] for images in per_class if name in images) for name in names}
    objects = [report["objects"] for report in reports.values() if "objects" in report]
    means = {"objects": _means(objects)} if objects else {}
    overall = {key: float(np.mean([report[key] for report in reports.values()])) for key in ("dice", "iou")}
    return {**_object(None, protocol, mean_per_image), **overall, **means, "prompts": reports}


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each value over rows."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _object(prompt: str | None, protocol: str, per_image: Mapping[str, Overlap]) -> dict[str, Any]:
    """Return the object of one prompt."""
    mean = mean_overlap(per_image.values())
    return {
        "n": len(per_image),
        "protocol": protocol,
        "prompt": prompt,
        "dice": mean.dice,
        "iou": mean.iou,
        "per_image": {name: {"dice": value.dice, "iou": value.iou} for name, value in per_image.items()},
    }
