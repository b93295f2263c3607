"""Where a person is, and going back there another day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm.project import ResumeState

if TYPE_CHECKING:
    from napari_amvlm._qt.annotation.annotation import Annotation


def present_place(
    viewer: Any, annotation: Annotation | None, item_id: int | None, prompt: str | None
) -> ResumeState | None:
    """Return where the person is; None where the image at hand is not in the project."""
    if annotation is None or annotation.image_id is None:
        return None
    camera = camera_of(viewer)
    return ResumeState(
        image_id=annotation.image_id,
        item_id=item_id,
        camera_centre=tuple(float(value) for value in camera.center),
        camera_zoom=float(camera.zoom),
        camera_angles=tuple(float(value) for value in camera.angles),
        step=tuple(int(value) for value in viewer.dims.current_step),
        prompt=prompt,
        threshold=annotation.threshold(prompt) if prompt is not None else None,
    )


def go_back(viewer: Any, annotation: Annotation, state: ResumeState) -> None:
    """Bring camera, slice and threshold back; the image is shown already."""
    camera = camera_of(viewer)
    if state.camera_centre is not None:
        camera.center = state.camera_centre
    if state.camera_zoom is not None:
        camera.zoom = state.camera_zoom
    if state.camera_angles is not None:
        camera.angles = state.camera_angles
    if state.step is not None and len(state.step) == viewer.dims.ndim:
        viewer.dims.current_step = state.step
    if state.prompt is not None and state.threshold is not None:
        annotation.thresholds[state.prompt] = state.threshold
