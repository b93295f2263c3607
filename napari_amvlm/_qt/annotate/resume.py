"""Where a person is, and going back there another day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.layers.image import layer_shape
from napari_amvlm.project import ResumeState

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.queue.queue import Queue
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import CutMask

_NAMED = 3
"""Masks that are named in one sentence."""


class Resume(QObject):
    """Tells the workspace where a person is, and goes back there when a project is opened."""

    def __init__(
        self,
        viewer: Any,
        workspace: Workspace,
        panel: AnnotatePanel,
        queue: Queue,
        current: Callable[[], Annotation | None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._panel = panel
        self._queue = queue
        self._current = current
        workspace.positionAsked.connect(self._store)
        workspace.projectOpened.connect(self._on_project_opened)

    def state(self) -> ResumeState | None:
        """Return where the person is; None where the image at hand is not in the project."""
        annotation = self._current() if isalive(self) and isalive(self._panel) else None
        if annotation is None or annotation.image_id is None:
            return None
        camera, prompt, image = camera_of(self._viewer), self._panel.prompts.current(), annotation.image
        centre, zoom = camera.center, camera.zoom
        if image.ndim == 2:
            centre, zoom = (*centre[:-2], *image.world_to_data(centre[-2:])), zoom * image.scale[-1]
        return ResumeState(
            image_id=annotation.image_id,
            item_id=self._queue.current.id if self._queue.current is not None else None,
            camera_centre=tuple(float(value) for value in centre),
            camera_zoom=float(zoom),
            camera_angles=tuple(float(value) for value in camera.angles),
            step=tuple(int(value) for value in self._viewer.dims.current_step),
            prompt=prompt,
            threshold=annotation.threshold(prompt) if prompt is not None else None,
        )

    def _store(self) -> None:
        state = self.state()
        if state is not None:
            self._workspace.store_position(state)

    def _on_project_opened(self, left: ResumeState | None) -> None:
        project = self._workspace.project
        if project is not None:
            self._workspace.submit(project.corrections.possibly_cut, self._say_cut)
        if left is not None and left.image_id is not None:
            self._queue.open_image(left.image_id, lambda annotation: self._go_back(annotation, left))

    def _say_cut(self, cut_masks: list[CutMask]) -> None:
        """Name the accepted masks of an older version that lack what another prompt's mask hid."""
        lacking = [each for each in cut_masks if each.pixels]
        if lacking:
            names = ", ".join(f"{each.prompt} on {each.image_name}" for each in lacking[:_NAMED])
            more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
            self._workspace.say(
                "warning",
                f"An older version may have cut accepted masks where others covered them: {names}{more}. Run each "
                "prompt again, and accept it.",
            )

    def _go_back(self, annotation: Annotation, left: ResumeState) -> None:
        """Bring camera, slice, prompt and threshold back; the image is shown already."""
        camera, image = camera_of(self._viewer), annotation.image
        centre, zoom = left.camera_centre, left.camera_zoom
        if image.ndim == 2 and centre is not None and zoom is not None:  # it may lie elsewhere today
            if not all(0 <= at <= side for at, side in zip(centre[-2:], layer_shape(image)[-2:], strict=True)):
                centre = zoom = None  # of an older version: then the whole image stays in view
            else:
                centre, zoom = (*centre[:-2], *image.data_to_world(centre[-2:])), zoom / image.scale[-1]
        if centre is not None:
            camera.center = centre
        if zoom is not None:
            camera.zoom = zoom
        if left.camera_angles is not None:
            camera.angles = left.camera_angles
        if left.step is not None and len(left.step) == self._viewer.dims.ndim:
            self._viewer.dims.current_step = left.step
        if left.prompt is not None and left.threshold is not None:
            annotation.thresholds[left.prompt] = left.threshold
        if left.prompt is not None:
            self._panel.prompts.setCurrent(left.prompt)
        if left.prompt is not None and left.threshold is not None:
            self._panel.threshold.show_value(left.threshold)
        self._workspace.say("info", f"Back at {annotation.image.name}, where you left off.", annotation)
