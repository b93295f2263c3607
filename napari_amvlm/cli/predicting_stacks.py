"""A stack on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.cli.predict_request import ImageResult, answers, numbered

if TYPE_CHECKING:
    from napari_amvlm.cli.predict_request import Progress, Request
    from napari_amvlm.imaging import ImageData
    from napari_amvlm.predictor import Predictor


def predict_one_stack(predictor: Predictor, image: ImageData, request: Request, *, show: Progress) -> ImageResult:
    """Predict a stack without channels; slices that were not chosen are 0.

    The presence of a prompt is that in the slice where it is highest.
    """
    from napari_amvlm.slides import ObjectLinker, label_image, predict_stack

    shape = image.data.shape[: len(image.axes)]
    count = len(request.prompts)
    labels = np.zeros(shape, np.min_scalar_type(count))
    maps = np.zeros((count, *shape) if request.probabilities else 0, np.float16)
    objects = [np.zeros(shape, np.int32) for _ in request.prompts] if request.instances else []
    linkers = [ObjectLinker() for _ in objects]
    presence = [0.0] * count
    kinds: dict[str, set[str]] = {}
    reports = predict_stack(
        predictor,
        image,
        request.prompts,
        slices=request.slices,
        scale=request.scale,
        magnification=request.magnification or 1.0,
    )
    for report in reports:
        planes = [prediction.drawn for prediction in report.predictions]
        labels[report.index] = label_image(planes, request.threshold)
        for row, prediction in enumerate(report.predictions):
            presence[row] = max(presence[row], prediction.presence)
            kinds.setdefault(prediction.prompt, set()).add(prediction.untaught_kind)
            if request.probabilities:
                maps[(row, *report.index)] = prediction.probability
        for volume, linker, prediction in zip(objects, linkers, report.predictions, strict=False):
            if report.starts_volume:
                linker.start_again()
            volume[report.index] = linker.link(prediction.objects(request.threshold))
        show(report.done / report.total, f"{image.name}, slice {report.done} of {report.total}")
    # It was taught of the stack if it was of one of its slices.
    untaught_kinds = {prompt: next(iter(of_slices)) for prompt, of_slices in kinds.items() if len(of_slices) == 1}
    return ImageResult(
        labels,
        maps if request.probabilities else None,
        [numbered(volume) for volume in objects],
        answers(predictor, zip(request.prompts, presence, strict=True), untaught_kinds),
    )
