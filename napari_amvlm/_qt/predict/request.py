"""What is to be run where, and the thread that does it: on a plane, on slices of a stack, or on a slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import describe_layer
from napari_amvlm._qt.predict.plane_thread import PredictThread, PromptThread
from napari_amvlm._qt.predict.slide_threads import SlideJob, SlideThread, StackThread
from napari_amvlm.imaging import count_nonfinite

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.widgets.extent_choice import Extent
    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.imaging import Tile
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.slides import SlideReport

    Limits = Callable[[], tuple[float, float] | None]


@dataclass(frozen=True)
class PromptRequest:
    """Prompts to run; `view` is what is in view of a slide, None where the slide is not; `new` ones were not listed."""

    annotation: Annotation
    prompts: tuple[str, ...]
    settings: ScaleSettings
    extent: Extent
    view: Tile | None = None
    new: tuple[str, ...] = ()


def thread_for(request: PromptRequest, predictor: Predictor, workspace: Workspace, limits: Limits) -> PromptThread:
    """Return the thread that a request needs; it is not started yet.

    Parameters
    ----------
    limits
        Gives the values of a stack that become 0 and 1.
    """
    annotation, settings = request.annotation, request.settings
    image, place = annotation.image, annotation.place
    if isinstance(annotation, SlideAnnotation):
        return _slide_thread(request, annotation, predictor, workspace)
    if not place or request.extent.part == "here":
        return PredictThread(
            predictor,
            lambda: label_layers.pixels(image, place),
            request.prompts,
            scale=settings.scale,
            magnification=settings.magnification,
            look=look_at_pixels,
            limits=limits if place else lambda: None,
        )
    everything = request.extent.part == "all"
    return StackThread(
        predictor,
        describe_layer(image),
        request.prompts,
        settings,
        volume=() if everything else place[:-1],
        slices=None if everything else request.extent.slices,
        limits=limits,
    )


def _slide_thread(
    request: PromptRequest, annotation: SlideAnnotation, predictor: Predictor, workspace: Workspace
) -> SlideThread:
    job = SlideJob(
        describe_layer(annotation.image),
        request.prompts,
        request.settings,
        workspace.results_folder(),
        request.view,
        request.extent.part == "all",
        workspace.served_key() or "unnamed",
    )

    def ready(report: SlideReport) -> None:
        # in the thread, so that the window only has to compose what is read already
        annotation.read_again(report.store, report.rectangle)

    return SlideThread(predictor, job, ready)


def look_at_pixels(array: np.ndarray) -> str:
    """Return a sentence where pixels are no numbers, else nothing."""
    count = count_nonfinite(array)
    if not count or count == array.size:
        return ""
    noun = "pixel is not a finite number; it counts" if count == 1 else "pixels are not finite numbers; they count"
    return f"{count} {noun} as the darkest pixel of the image."
