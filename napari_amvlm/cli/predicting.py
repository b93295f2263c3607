"""Predicts one file of any kind, in this process or on a worker: a plane, a slide or a stack."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_amvlm.cli.predict_request import (
    ImageResult,
    Outcome,
    answers,
    file_titles,
    model_token,
    numbered,
    output_files,
    result_token,
    seg_file,
    store_folder,
)
from napari_amvlm.cli.predicting_slides import predict_one_slide
from napari_amvlm.cli.predicting_stacks import predict_one_stack
from napari_amvlm.errors import IncompleteError, IncompleteWarning, InputError, OutOfMemoryError, PromptError
from napari_amvlm.exports.dicom_seg import is_own_seg, shortened_labels, write_predicted_seg
from napari_amvlm.exports.label_files import write_tiff
from napari_amvlm.exports.nifti_labels import write_nifti
from napari_amvlm.imaging import WorkingScale, choose_channel, magnification_by_size, to_file_axes
from napari_amvlm.imaging.structure_size import ESTIMATE_DOUBT, estimated_magnification
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_amvlm.cli.predict_request import Progress, Remark, Request
    from napari_amvlm.imaging import ImageData, ImageSource
    from napari_amvlm.imaging.turning import Views
    from napari_amvlm.prediction import Prediction
    from napari_amvlm.predictor import Predictor

Kind = Literal["plane", "slide", "stack"]
_ONE_FILE = threading.Lock()


def predict_file(
    predictor: Predictor, source: ImageSource, request: Request, *, show: Progress, remark: Remark
) -> list[str]:
    """Write the results of all images of one source, unless they are there, and return a line about each.

    Parameters
    ----------
    show
        Called with the share that is done, `[0, 1]`, and a short note.
    remark
        Called with what else there is to say.

    Raises
    ------
    InputError
        An image cannot be used; the others of the source are done, and `remark` has their lines.
    IncompleteError
        So it is with a part of the source only, or a part of it is lost: what is there is done.
    """
    token = _token(predictor, source, request)
    if not request.overwrite and is_done(source, request, token):
        return [f"{source.path}: done already -> {output_files(source, request)[-1]}"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = source.open(request.plane)
    lines: list[str] = []
    failures: list[InputError] = []
    for warning in caught:
        if issubclass(warning.category, IncompleteWarning):
            failures.append(IncompleteError(str(warning.message)))
            token = f"incomplete {token}"  # so that it never counts as done
        elif issubclass(warning.category, UserWarning):
            remark(str(warning.message))
    titles = [image.name.removeprefix(source.name).strip() if len(images) > 1 else "" for image in images]
    for title, image in _chosen(source.path, titles, images, request):
        try:
            lines.append(_predict_image(predictor, _Task(source, title, image, request, token), show, remark))
        except PromptError:
            raise
        except InputError as error:
            failures.append(error)
    if failures:
        for line in (*lines, *map(str, failures[1:])):
            remark(line)
        raise IncompleteError(str(failures[0])) if lines else failures[0]
    return lines


def _chosen(
    path: Path, titles: Sequence[str], images: Sequence[ImageData], request: Request
) -> list[tuple[str, ImageData]]:
    """Return all images of a file, or the one that `--image` names or numbers, from 1, with their titles in files."""
    pairs = list(zip(file_titles(titles), images, strict=True))
    if request.image is None:
        return pairs
    if request.image in titles:
        return [pairs[titles.index(request.image)]]
    if request.image.isdecimal() and 1 <= int(request.image) <= len(pairs):
        return [pairs[int(request.image) - 1]]
    listed = ", ".join(f"{number} {title}".strip() for number, title in enumerate(titles, 1))
    raise InputError(f"{path} has no image {request.image!r}; choose one of {listed} with --image.")


@dataclass(frozen=True)
class _Task:
    """One image of a source, and what is wanted of it."""

    source: ImageSource
    title: str
    image: ImageData
    request: Request
    token: str


def _predict_image(predictor: Predictor, task: _Task, show: Progress, remark: Remark) -> str:
    """Write the results of one image and return the line about it."""
    request, path = task.request, task.source.path
    image = choose_channel(task.image, request.channel) if request.channel else task.image
    files = output_files(task.source, request, task.title)
    kind = image_kind_of(image, path, request)
    request = replace(request, magnification=_magnification(predictor, image, kind, request, path, remark))
    task = replace(task, request=request)
    if kind == "slide":
        folder = store_folder(task.source, request, task.title)
        return predict_one_slide(predictor, image, folder, request, show=show, remark=remark)
    seg = seg_file(task.source, request, task.title)
    foreign = files[-1] if files[-1].is_file() and result_token(files[-1]) is None else None
    if seg is not None and seg.is_file() and not is_own_seg(seg):
        foreign = seg
    if foreign is not None and not request.overwrite:
        raise InputError(f"{foreign} was not made by predict; give another -o, or --overwrite to replace it.")
    result = _predict_channels(predictor, image, task, show, remark)
    if seg is not None:
        write_predicted_seg(seg, image, result.labels, request.prompts)
        for note in shortened_labels(str(path), request.prompts):
            remark(note)
    # Labels last: their file says that the others are there too.
    arrays = [*([result.probabilities] if request.probabilities else ()), *result.objects, result.labels]
    for file, array in zip(files, arrays, strict=True):
        if file.name.endswith(".nii.gz"):
            write_nifti(file, array, image, made_with=task.token)
        else:
            # The prompts of probabilities are channels, where the image has none itself.
            prompts = "Q" if "C" in image.axes else "C"
            stored = to_file_axes(array, image)
            own = image.axes if stored.ndim == array.ndim else image.axes.replace("YX", "ZYX")
            write_tiff(file, stored, axes=prompts * (array.ndim - len(image.axes)) + own, made_with=task.token)
    return f"{path}: {', '.join(result.answers)} -> {files[-1]}"


def _magnification(
    predictor: Predictor, image: ImageData, kind: Kind, request: Request, path: Path, remark: Remark
) -> float:
    """Return the magnification that was asked for, or that which the pixel size of the image asks for."""
    from napari_amvlm.imaging.formats.limits import LARGEST_PLANE

    if request.magnification is not None:
        return request.magnification
    taught = predictor.model.config.micrometers
    known = magnification_by_size(image, taught)
    factor = known or 1.0
    height, width = (int(side) for side in image.data.shape[image.axes.index("Y") :][:2])
    scales = [
        predictor.scale_for(prompt, (height, width), scale=request.scale, gray=not image.rgb, magnification=factor)
        for prompt in request.prompts
    ]
    if request.estimate and known is None and kind == "plane" and WorkingScale("tiles", 1.0) in scales:
        _offer_estimate(image, taught, path, remark)
    if factor == 1.0 or (kind != "slide" and WorkingScale("tiles", factor) not in scales):
        return 1.0
    size = f"{path}: its pixels have {taught * factor:.3g} um, and the model was taught at {taught:.3g} um"
    if kind != "slide" and height * width * factor**2 > LARGEST_PLANE:
        remark(f"{size}, but magnified {factor:.3g} times it would be too large; it is looked at as it is.")
        return 1.0
    remark(f"{size}; it is looked at at magnification {factor:.3g}. --magnification sets another one.")
    return factor


def _offer_estimate(image: ImageData, taught: float, path: Path, remark: Remark) -> None:
    """Say which magnification may fit an image that gives no pixel size."""
    estimate = None if image.spacing else estimated_magnification(np.asarray(image.data), taught)
    if estimate is not None:
        remark(
            f"{path} gives no pixel size; by the size of its structures, --magnification {estimate:.2g} may fit, but "
            f"{ESTIMATE_DOUBT}; it is looked at as it is."
        )


def _predict_channels(
    predictor: Predictor, image: ImageData, task: _Task, show: Progress, remark: Remark
) -> ImageResult:
    """Predict an image; where it has channels, each by itself."""
    if "C" not in image.axes:
        if image.axes == "YX":
            return _predict_plane(predictor, task.source.path, image, task.request, remark)
        return predict_one_stack(predictor, image, task.request, show=show)
    position = image.axes.index("C")
    results = [
        _predict_channels(predictor, image.of_channel(number), task, show, remark)
        for number in range(len(image.channel_titles))
    ]
    maps = [result.probabilities for result in results if result.probabilities is not None]
    titled = [
        answer.replace(shortened(prompt), f"{shortened(prompt)} in {title}", 1)
        for title, result in zip(image.channel_titles, results, strict=True)
        for prompt, answer in zip(task.request.prompts, result.answers, strict=True)
    ]
    return ImageResult(
        np.stack([result.labels for result in results], position),
        np.stack(maps, position + 1) if maps else None,
        [np.stack(objects, position) for objects in zip(*(result.objects for result in results), strict=True)],
        titled,
    )


def image_kind_of(image: ImageData, path: Path, request: Request) -> Kind:
    """Return whether an image is one plane, a slide or a stack.

    Raises
    ------
    InputError
        Slices are wanted of a plane, or a region of a stack, or of an image that is looked at whole.
    """
    from napari_amvlm.imaging.formats.limits import LARGEST_PLANE

    if image.axes == "CYX" and (image.smaller or request.region):
        listed = ", ".join(image.channel_titles)
        raise InputError(f"{path} is a slide with the channels {listed}; choose one with --channel.")
    if image.axes != "YX":
        if request.region:
            raise InputError(f"{path}: a region can be had of a plane, but it is a stack, {image.size}; use --slices.")
        return "stack"
    if request.slices:
        raise InputError(f"{path}: slices can be had of a stack, but it is one plane; leave out --slices.")
    if request.region and request.scale == "whole":
        raise InputError(f"{path}: a region is looked at in tiles; leave out --scale whole, or --region.")
    large = image.data.shape[0] * image.data.shape[1] > LARGEST_PLANE
    return "slide" if (image.smaller or large or request.region) and request.scale != "whole" else "plane"


def is_done(source: ImageSource, request: Request, token: str) -> bool:
    """Tell whether all files of an image are there, and of this very request."""
    seg = seg_file(source, request)
    labels = all(file.is_file() and result_token(file) == token for file in output_files(source, request))
    return labels and (seg is None or seg.is_file())


def work(source: ImageSource, request: Request, model: Path, device: str) -> Outcome:
    """Predict a source on a worker, which keeps its model from file to file; errors of the file come back as such."""
    import dask

    remarks: list[str] = []
    try:
        # One file at a time, on workers of several threads too: they share the predictor, which knows one image.
        # Without threads of dask's, what is read lazily would become tasks of the cluster.
        with _ONE_FILE, dask.config.set(scheduler="threads"):
            predictor = _own_predictor(model, model.stat().st_mtime_ns, device, request.views, request.text_model)
            lines = predict_file(predictor, source, request, show=lambda _share, _note: None, remark=remarks.append)
    except (InputError, OutOfMemoryError) as error:
        return Outcome(source.path, error=type(error)(str(error)), remarks=tuple(remarks))
    return Outcome(source.path, tuple(lines), remarks=tuple(remarks))


@functools.lru_cache(maxsize=1)
def _own_predictor(model: Path, _changed: int, device: str, views: Views, text_model: str) -> Predictor:
    """Return the worker's predictor, another one where the file was written anew."""
    from napari_amvlm.predictor import Predictor

    return Predictor.from_file(model, device=device, views=views, text_model=text_model)


def _predict_plane(
    predictor: Predictor, path: Path, opened: ImageData, request: Request, remark: Remark
) -> ImageResult:
    """Predict a plane."""
    from napari_amvlm.imaging import count_nonfinite
    from napari_amvlm.imaging.formats.limits import check_size
    from napari_amvlm.slides.class_labels import label_image

    check_size(path, *opened.data.shape[:2])
    image = np.asarray(opened.data)
    predictor.set_image(image)
    if unusable := count_nonfinite(image):
        remark(f"{path}: {unusable} values are not finite numbers; they count as the lowest value that is one.")
    predictions: Sequence[Prediction] = [
        predictor.predict(
            prompt,
            scale=request.scale,
            magnification=request.magnification or 1.0,
            on_message=lambda text: remark(f"{path}: {text}"),
        )
        for prompt in request.prompts
    ]
    drawn = [prediction.drawn for prediction in predictions]
    objects = [numbered(p.objects(request.threshold)) for p in predictions] if request.instances else []
    kinds = {prediction.prompt: prediction.untaught_kind for prediction in predictions}
    said = answers(predictor, [(prediction.prompt, prediction.presence) for prediction in predictions], kinds)
    return ImageResult(
        label_image(drawn, request.threshold),
        np.stack([each.probability for each in predictions]).astype(np.float16) if request.probabilities else None,
        objects,
        said,
    )


def _token(predictor: Predictor, source: ImageSource, request: Request) -> str:
    """Return a text that differs for other requests, models and images."""
    stats = [path.stat() for path in source.files or (source.path,) if path.exists()]
    states = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    settings = (
        *(request.prompts, request.threshold, request.scale, request.magnification or "by size", request.slices),
        *(model_token(predictor), source.path.name, states if source.files else states and states[0]),
        # Left out where they are the default, so that results of versions without them still count as done.
        *((request.views,) if request.views > 1 else ()),
        *((request.plane,) if request.plane != "acquired" else ()),
        *((request.channel,) if request.channel else ()),
        *((f"image {request.image}",) if request.image else ()),
    )
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
