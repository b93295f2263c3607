"""Predicts one file of any kind, in this process or on a worker: a plane, a slide or a stack."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.cli.predict_request import (
    Outcome,
    model_token,
    numbered,
    output_files,
    presence_text,
    result_token,
)
from napari_amvlm.cli.predicting_slides import predict_one_slide
from napari_amvlm.cli.predicting_stacks import predict_one_stack
from napari_amvlm.errors import ImageError, InputError, OutOfMemoryError
from napari_amvlm.exports.label_files import write_tiff
from napari_amvlm.exports.nifti_labels import write_nifti
from napari_amvlm.imaging import to_file_axes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.cli.predict_request import Progress, Remark, Request
    from napari_amvlm.imaging import ImageData
    from napari_amvlm.imaging.turning import Views
    from napari_amvlm.predictor import Prediction, Predictor

Kind = Literal["plane", "slide", "stack"]
_ONE_FILE = threading.Lock()


def predict_file(predictor: Predictor, path: Path, request: Request, *, show: Progress, remark: Remark) -> str:
    """Write the results of one file, unless they are there, and return the line that tells about it.

    Parameters
    ----------
    predictor
        Answers the prompts.
    path
        The file or folder.
    request
        What is wanted.
    show
        Told how far it is, `[0, 1]`, with a short note.
    remark
        Told what else there is to know.
    """
    token = _token(predictor, path, request)
    if not request.overwrite and is_done(path, request, token):
        return f"{path}: done already -> {output_files(path, request)[-1]}"
    opened, kind = opened_image(path, request)
    if kind == "slide":
        return predict_one_slide(predictor, opened, request, show=show, remark=remark)
    if kind == "stack":
        labels, stacked, objects, presences = predict_one_stack(predictor, opened, request, show=show)
    else:
        labels, stacked, objects, presences = _predict_plane(predictor, path, opened, request, remark)
    files = output_files(path, request)
    # Labels last: their file says that the others are there too.
    arrays = [*([stacked] if request.probabilities else ()), *objects, labels]
    for file, array in zip(files, arrays, strict=True):
        if file.name.endswith(".nii.gz"):
            write_nifti(file, array, opened, made_with=token)
        else:
            axes = "C" * (array.ndim - len(opened.axes)) + opened.axes
            write_tiff(file, to_file_axes(array, opened), axes=axes, made_with=token)
    return f"{path}: {', '.join(presence_text(*one) for one in presences)} -> {files[-1]}"


def opened_image(path: Path, request: Request) -> tuple[ImageData, Kind]:
    """Return what is in a file, and whether it is one plane, a slide or a stack.

    Raises
    ------
    ImageError
        It cannot be read, or holds several images.
    InputError
        Slices are wanted of a plane, or a region of a stack, or of an image that is looked at whole.
    """
    from napari_amvlm.imaging import open_images
    from napari_amvlm.imaging.formats.limits import LARGEST_PLANE

    images = open_images(path, request.plane)
    if len(images) > 1:
        raise ImageError(f"{path}: expected one image, but it holds {len(images)}; give the file of the one you mean.")
    image = images[0]
    if image.axes != "YX":
        if request.region:
            raise InputError(f"{path}: a region can be had of a plane, but it is a stack, {image.size}; use --slices.")
        return image, "stack"
    if request.slices:
        raise InputError(f"{path}: slices can be had of a stack, but it is one plane; leave out --slices.")
    if request.region and request.scale == "whole":
        raise InputError(f"{path}: a region is looked at in tiles; leave out --scale whole, or --region.")
    large = image.data.shape[0] * image.data.shape[1] > LARGEST_PLANE
    if (image.smaller or large or request.region) and request.scale != "whole":
        return image, "slide"
    return image, "plane"


def is_done(path: Path, request: Request, token: str) -> bool:
    """Tell whether all files of an image are there, and of this very request."""
    return all(file.is_file() and result_token(file) == token for file in output_files(path, request))


def work(path: Path, request: Request, model: Path, device: str) -> Outcome:
    """Predict a file on a worker, which keeps its model from file to file; errors of the file come back as such."""
    import dask

    remarks: list[str] = []
    try:
        # One file at a time, on workers of several threads too: they share the predictor, which knows one image.
        # Without threads of dask's, what is read lazily would become tasks of the cluster.
        with _ONE_FILE, dask.config.set(scheduler="threads"):
            predictor = _own_predictor(model, model.stat().st_mtime_ns, device, request.views)
            line = predict_file(predictor, path, request, show=lambda _share, _note: None, remark=remarks.append)
    except (InputError, OutOfMemoryError) as error:
        return Outcome(path, error=type(error)(str(error)), remarks=tuple(remarks))
    return Outcome(path, line, remarks=tuple(remarks))


@functools.lru_cache(maxsize=1)
def _own_predictor(model: Path, _changed: int, device: str, views: Views) -> Predictor:
    """Return the worker's predictor, another one where the file was written anew."""
    from napari_amvlm.predictor import Predictor

    return Predictor.from_file(model, device=device, views=views)


def _predict_plane(
    predictor: Predictor, path: Path, opened: ImageData, request: Request, remark: Remark
) -> tuple[NDArray[Any], NDArray[np.float16], list[NDArray[Any]], list[tuple[str, float]]]:
    """Return labels, probabilities, objects by prompt, and presences of a plane."""
    from napari_amvlm.imaging import count_nonfinite, split_instances
    from napari_amvlm.imaging.formats.limits import check_size
    from napari_amvlm.slides.class_labels import label_image

    check_size(path, *opened.data.shape[:2])
    image = np.asarray(opened.data)
    predictor.set_image(image, key=str(path.resolve()))
    if unusable := count_nonfinite(image):
        remark(f"{path}: {unusable} values are not finite numbers; they count as the lowest value that is one.")
    found: Sequence[Prediction] = [
        predictor.predict(
            prompt,
            scale=request.scale,
            magnification=request.magnification,
            on_message=lambda text: remark(f"{path}: {text}"),
        )
        for prompt in request.prompts
    ]
    maps = [prediction.probability for prediction in found]
    objects = [numbered(split_instances(m, request.threshold)) for m in maps] if request.instances else []
    presences = [(prediction.prompt, prediction.presence) for prediction in found]
    return label_image(maps, request.threshold), np.stack(maps).astype(np.float16), objects, presences


def _token(predictor: Predictor, path: Path, request: Request) -> str:
    """Return a text that differs for other requests, models and images."""
    state = path.stat() if path.exists() else None
    settings = (
        *(request.prompts, request.threshold, request.scale, request.magnification, request.slices),
        *(model_token(predictor), path.name, state and (state.st_size, state.st_mtime_ns)),
        # Left out where it is one, so that what was done before there were views still counts as done.
        *((request.views,) if request.views > 1 else ()),
        *((request.plane,) if request.plane != "acquired" else ()),
    )
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
