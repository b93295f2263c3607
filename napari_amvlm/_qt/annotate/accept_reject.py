"""Accept and Reject: what a person decided about a mask, on the disk first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.corrections import (
    ImageSource,
    Stored,
    default_project,
    store_correction,
    withdraw_correction,
)
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm.errors import InputError
from napari_amvlm.project import Answer
from napari_amvlm.session.accepted import summary

if TYPE_CHECKING:
    import numpy as np

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace


class Review(QObject):
    """Stores and withdraws corrections.

    Signals
    -------
    said : level, text
    accepted : Annotation
        A mask is on the disk, and its prompt is finished.
    rejected : Annotation
        A mask was taken off the image.
    """

    said = Signal(str, str)
    accepted = Signal(object)
    rejected = Signal(object)

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        # the last acceptance under way of each; one that was overtaken, or rejected meanwhile, is not shown
        self._storing: dict[tuple[Annotation, str], Answer] = {}

    def accept(self, annotation: Annotation, prompt: str, region: np.ndarray | None = None) -> None:
        """Store the mask as it is now, or the part of it in `region`, bool (H, W).

        Only when it is on the disk are its objects locked, and is the prompt called finished if that was all.
        """
        try:
            answer = _take(annotation, prompt, region)
            source = ImageSource.of(annotation.image, annotation.place, annotation.image_id)
        except InputError as error:
            self.said.emit("error", str(error))
            return

        asked = (annotation, prompt)
        self._storing[asked] = answer

        def end() -> bool:
            """Forget the acceptance; tell whether neither a later one nor a Reject has overtaken it."""
            if self._storing.get(asked) is not answer:
                return False
            del self._storing[asked]
            return True

        def failed(text: str) -> None:
            end()
            self.said.emit("error", text)

        def done(stored: Stored) -> None:
            if not end():
                return
            annotation.image_id = stored.image.id
            annotation.keep_accepted(prompt, stored.accepted)
            count = int((stored.accepted.objects > 0).sum())
            part = "" if stored.accepted.is_whole() else f" in the {summary(stored.accepted)[0]:.0%} reviewed"
            self.said.emit("info", f"Accepted {prompt} on {stored.image.name}: {count} pixels{part} are on the disk.")
            self.accepted.emit(annotation)

        self.said.emit("info", f"Storing {prompt} ...")
        if self._workspace.project is None:
            self._workspace.open_project(default_project(annotation.image))
        self._workspace.with_project(lambda project: store_correction(project, source, prompt, answer), done, failed)

    def reject(self, annotation: Annotation, prompt: str) -> None:
        """Take the mask off the image, and out of the project if it was accepted."""
        stored_soon = self._storing.pop((annotation, prompt), None) is not None
        was_accepted = stored_soon or prompt in annotation.finished or prompt in annotation.accepted
        annotation.finish(prompt, False)
        annotation.forget(prompt)
        annotation.clear(prompt)
        self.rejected.emit(annotation)
        words = f"Rejected {prompt}; Ctrl+Z brings the pixels back."
        if not was_accepted or (self._workspace.project is None and not stored_soon):
            self.said.emit("info", words)
            return
        source = ImageSource.of(annotation.image, annotation.place, annotation.image_id)
        self._workspace.with_project(
            lambda project: withdraw_correction(project, source, prompt), lambda _: self.said.emit("info", words)
        )


def _take(annotation: Annotation, prompt: str, region: np.ndarray | None) -> Answer:
    mask = annotation.mask(prompt)
    if annotation.labels is not None:
        label_layers.check_labels(annotation.labels, annotation.image)
    result = annotation.results.get(prompt)
    by_hand = result is not None and result.settings.scale != "auto"
    return Answer(
        mask,
        objects=annotation.objects(prompt) if region is None else None,
        region=region,
        before=annotation.proposed(prompt),
        model=result.model if result is not None else None,
        threshold=annotation.threshold(prompt),
        seconds_spent=annotation.seconds_spent(),
        scale=result.prediction.scale.name if result is not None and by_hand else None,
        magnification=result.settings.magnification if result is not None and by_hand else None,
    )
