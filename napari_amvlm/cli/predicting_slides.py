"""A slide on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.cli.predict_request import answers, model_token
from napari_amvlm.errors import InputError, PromptError
from napari_amvlm.wording import counted, shortened

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm.cli.predict_request import Progress, Remark, Request
    from napari_amvlm.imaging import ImageData
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.slides import SlideStore


def predict_one_slide(
    predictor: Predictor, image: ImageData, folder: Path, request: Request, *, show: Progress, remark: Remark
) -> str:
    """Fill the store of a slide in `folder`, or continue to fill it, and return the line about it.

    Raises
    ------
    InputError
        A prompt was not taught, or needs the whole image, or the store is that of another request.
    """
    from napari_amvlm.imaging import Tile
    from napari_amvlm.slides import SlideRun, memory_needed, memory_note, number_objects
    from napari_amvlm.slides.slide_run import CACHE_BYTES, check_slide_prompts

    path = image.path
    if request.views > 1:
        raise InputError(f"{path} is a slide, which is seen in one view; leave out --views.")
    if unknown := predictor.not_taught(request.prompts):
        raise InputError(f"{path} is a slide: {' '.join(unknown.values())} On slides, give known words only.")
    try:
        check_slide_prompts(predictor, request.prompts)
    except PromptError as refusal:
        raise InputError(f"{path} is a slide: {refusal}") from refusal
    store = _store(predictor, image, folder, request)
    region = None
    if request.region:
        x, y, width, height = request.region
        region = Tile(y, x, height, width)
    run = SlideRun(predictor, image, store, region=region, on_message=lambda message: remark(f"{path}: {message}"))
    if run.total == 0 and (not request.instances or store.object_counts is not None):
        return f"{path}: done already -> {store.path}"
    maps = len(request.prompts) * (1 + request.instances)
    needed = memory_needed(predictor.model, batch=run.batch, prompts=maps, cache_bytes=CACHE_BYTES)
    remark(f"{path}: {counted(run.total, 'block')} to do; {memory_note(needed, predictor.device)}.")
    if request.instances:
        store.note_objects(None)
    for report in run.run():
        show(report.done / report.total, f"{image.name}, block {report.done} of {report.total}")
    said = answers(predictor, zip(request.prompts, store.presence(), strict=True))
    if request.instances:
        counts = number_objects(store, on_progress=lambda done, total: show(done / total, f"{image.name}, objects"))
        said = [f"{answer} ({counted(count, 'object')})" for answer, count in zip(said, counts, strict=True)]
        for prompt, countable in zip(request.prompts, store.request.countable, strict=True):
            if not countable:
                name = shortened(prompt)
                remark(f"{path}: the model does not tell objects of {name!r} apart; each connected piece is one.")
    return f"{path}: {', '.join(said)} -> {store.path}"


def _store(predictor: Predictor, image: ImageData, folder: Path, request: Request) -> SlideStore:
    """Return the store of a slide, a new one or the one that is there."""
    from napari_amvlm.models.inference import is_countable
    from napari_amvlm.slides import SlideRequest, SlideStore

    model = predictor.model
    path = image.path
    if path is None:  # an image that was read from a file always has one
        raise InputError(f"{image.name} has no file; save it first.")
    asked = SlideRequest(
        prompts=request.prompts,
        threshold=request.threshold,
        magnification=request.magnification or 1.0,
        every_tile=request.every_tile,
        objects=request.instances,
        countable=tuple(is_countable(model, prompt) for prompt in request.prompts) if request.instances else (),
        marker=model.config.objects.marker if model.config.objects is not None else 0.5,
        model=model_token(predictor),
        image=path.name,
        bytes=path.stat().st_size if path.is_file() else 0,
        shape=(int(image.data.shape[0]), int(image.data.shape[1])),
    )
    return SlideStore.open(folder, asked, overwrite=request.overwrite, spacing=image.spacing)
