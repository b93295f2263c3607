"""Accept and Reject: what a person decided about a mask, on the disk first, and Ctrl+Z for both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotation.annotation import Decision
from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.corrections import (
    ImageSource,
    Stored,
    default_project,
    store_correction,
    undo_decision,
    withdraw_correction,
)
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm.errors import InputError
from napari_amvlm.project import Answer
from napari_amvlm.session.accepted import summary
from napari_amvlm.wording import counted, project_name, shortened

if TYPE_CHECKING:
    import numpy as np

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.widgets.confirm import Confirm
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.session.accepted import Accepted


class AcceptReject(QObject):
    """Stores and withdraws corrections, and takes that back.

    Signals
    -------
    accepted : Annotation
        A mask is on the disk.
    changed : Annotation
        Something else was decided about a mask, or taken back.
    """

    accepted = Signal(object)
    changed = Signal(object)

    def __init__(self, workspace: Workspace, confirm: Confirm, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._confirm = confirm
        # the last acceptance under way of each; one that was overtaken, or rejected meanwhile, is not shown
        self._storing: dict[tuple[Annotation, str], Answer] = {}

    def accept(self, annotation: Annotation, prompt: str, region: np.ndarray | None = None) -> None:
        """Store the mask as it is now, or the part of it in `region`, bool (H, W); an empty one if that is confirmed.

        Only when it is on the disk are its objects locked, and is the prompt called finished if that was all.
        An image of a project that was left is stored in the open one if that is confirmed.
        """
        project = self._workspace.project
        if project is None or annotation.image_id is not None or annotation.left in ("", project_name(project.root)):
            self._accept_if_any(annotation, prompt, region)
            return
        self._confirm.ask(
            "another project",
            f"{annotation.name} is an image of {annotation.left}. "
            f"Store {shortened(prompt)} on it in {project_name(project.root)} too?",
            "Store",
            lambda: self._accept_if_any(annotation, prompt, region),
        )

    def _accept_if_any(self, annotation: Annotation, prompt: str, region: np.ndarray | None) -> None:
        mask = annotation.mask(prompt)
        if (mask if region is None else mask & region).any():
            self._accept(annotation, prompt, region)
            return
        self._confirm.ask(
            "empty",
            f"The mask of {shortened(prompt)} is empty. Store that {annotation.name} has no {shortened(prompt)}?",
            "Store",
            lambda: self._accept(annotation, prompt, region),
        )

    def reject(self, annotation: Annotation, prompt: str) -> None:
        """Take the mask off the image; if that is confirmed, also out of the project where it was accepted."""
        if not self._is_accepted(annotation, prompt):
            self._reject(annotation, prompt)
            return
        self._confirm.ask(
            "accepted",
            f"{shortened(prompt)} is accepted on {annotation.name}. Take it out of the project?",
            "Reject",
            lambda: self._reject(annotation, prompt),
        )

    def undo(self, annotation: Annotation, prompt: str) -> None:
        """Take back what was done last with a mask: a change of its pixels, an Accept or a Reject."""
        layer, place = annotation.layer(prompt), annotation.place
        decisions = annotation.decisions.get(prompt, [])
        if decisions and decisions[-1].change is layer.newest_change(place):
            decision = decisions.pop()
            if decision.cleared:
                layer.undo_at(place)
            decision.around = layer.newest_change(place), layer.newest_change(place, undoing=False)
            annotation.undone.setdefault(prompt, []).append(decision)
            self._take_back(annotation, prompt, decision)
        elif not layer.undo_at(place):
            self._workspace.say("info", f"There is nothing to take back of {shortened(prompt)} here.", annotation)
        self.changed.emit(annotation)

    def redo(self, annotation: Annotation, prompt: str) -> None:
        """Do again what was taken back last."""
        layer, place = annotation.layer(prompt), annotation.place
        undone = annotation.undone.get(prompt, [])
        around = layer.newest_change(place), layer.newest_change(place, undoing=False)
        if undone and undone[-1].around[0] is around[0] and undone[-1].around[1] is around[1]:
            decision = undone.pop()
            if decision.accepts:
                self._accept(annotation, prompt, decision.region)
            else:
                self._reject(annotation, prompt)
        else:
            layer.undo_at(place, undoing=False)
        self.changed.emit(annotation)

    def restore(self, annotation: Annotation, prompt: str) -> None:
        """Show the mask that is in the project, as a step of undo."""
        if prompt in annotation.accepted:
            annotation.show_stored(prompt, edits=False)
            self.changed.emit(annotation)

    def is_storing(self, annotation: Annotation, prompt: str) -> bool:
        """Tell whether an acceptance is under way."""
        return (annotation, prompt) in self._storing

    # Inner workings

    def _is_accepted(self, annotation: Annotation, prompt: str) -> bool:
        return (annotation, prompt) in self._storing or prompt in annotation.accepted

    def _accept(self, annotation: Annotation, prompt: str, region: np.ndarray | None = None) -> None:
        if region is None:
            annotation.separate_cut_off(prompt)
        try:
            answer = answer_of(annotation, prompt, region)
            source = ImageSource.of(annotation.image, annotation.place, annotation.image_id)
        except InputError as error:
            self._workspace.say("error", str(error))
            return
        decision = Decision(True, annotation.layer(prompt).newest_change(annotation.place), region=region)
        annotation.decisions.setdefault(prompt, []).append(decision)
        key = (annotation, prompt)
        self._storing[key] = answer

        def end() -> bool:
            """Forget the acceptance; tell whether neither a later one nor a Reject has overtaken it."""
            if self._storing.get(key) is not answer:
                return False
            del self._storing[key]
            return True

        def failed(text: str) -> None:
            end()
            if decision in annotation.decisions.get(prompt, []):
                annotation.decisions[prompt].remove(decision)
            self._workspace.say("error", text)

        def done(stored: Stored) -> None:
            if not end():
                return
            annotation.image_id = stored.image.id
            annotation.keep_accepted(prompt, stored.accepted)
            count = int((stored.accepted.objects > 0).sum())
            part = "" if stored.accepted.is_whole() else f" in the {summary(stored.accepted)[0]:.0%} reviewed"
            text = f"Accepted {shortened(prompt)} on {stored.image.name}: {counted(count, 'pixel')}{part} on the disk."
            self._workspace.say("info", text, annotation)
            self.accepted.emit(annotation)

        self._workspace.say("info", f"Storing {shortened(prompt)} ...")
        if self._workspace.project is None:
            self._workspace.open_project(default_project(annotation.image))
        self._workspace.with_project(lambda project: store_correction(project, source, prompt, answer), done, failed)

    def _reject(self, annotation: Annotation, prompt: str) -> None:
        stored_soon = self._storing.pop((annotation, prompt), None) is not None
        in_project = stored_soon or (prompt in annotation.accepted and self._workspace.project is not None)
        result = annotation.results.get(prompt)
        annotation.finish(prompt, False)
        if isinstance(annotation, SlideAnnotation):
            annotation.clear(prompt)
        else:
            had_pixels = bool(annotation.mask(prompt).any())
            annotation.clear(prompt)
            change = annotation.layer(prompt).newest_change(annotation.place)
            decision = Decision(False, change, stored=in_project, cleared=had_pixels, result=result)
            annotation.decisions.setdefault(prompt, []).append(decision)
        annotation.forget(prompt)
        self.changed.emit(annotation)
        words = f"Rejected {shortened(prompt)}; Ctrl+Z takes that back."
        if not in_project:
            self._workspace.say("info", words)
            return
        source = ImageSource.of(annotation.image, annotation.place, annotation.image_id)
        self._workspace.with_project(
            lambda project: withdraw_correction(project, source, prompt),
            lambda _: self._workspace.say("info", words, annotation),
        )

    def _take_back(self, annotation: Annotation, prompt: str, decision: Decision) -> None:
        """Let the project be as it was before the decision."""
        self._storing.pop((annotation, prompt), None)
        what = "Accept" if decision.accepts else "Reject"
        if decision.result is not None:
            annotation.results.setdefault(prompt, decision.result)
        if not decision.stored:
            return
        annotation.accepted.pop(prompt, None)
        annotation.finished.discard(prompt)
        source = ImageSource.of(annotation.image, annotation.place, annotation.image_id)

        def done(known: Accepted | None) -> None:
            if known is not None:
                annotation.keep_accepted(prompt, known)
            words = f"{what} of {shortened(prompt)} is taken back, in the project too; Ctrl+Shift+Z does it again."
            self._workspace.say("info", words, annotation)
            self.changed.emit(annotation)

        self._workspace.with_project(lambda project: undo_decision(project, source, prompt), done)


def answer_of(annotation: Annotation, prompt: str, region: np.ndarray | None) -> Answer:
    """Return what Accept would store of a mask, or of the part of it in `region`, bool (H, W)."""
    label_layers.check_image(annotation.image)
    draft = annotation.drafts.get(prompt)
    if draft is not None and not annotation.has_run(prompt):  # painted another day, on what a model proposed then
        objects = annotation.objects(prompt) if region is None else None
        spent = draft.seconds_spent + annotation.seconds_spent()
        return replace(draft, mask=annotation.mask(prompt), objects=objects, region=region, seconds_spent=spent)
    stored = annotation.results.get(prompt)
    by_hand = stored is not None and stored.settings.scale != "auto"
    return Answer(
        annotation.mask(prompt),
        objects=annotation.objects(prompt) if region is None else None,
        region=region,
        before=annotation.proposed(prompt),
        model=stored.model if stored is not None else None,
        threshold=annotation.threshold(prompt),
        seconds_spent=annotation.seconds_spent(),
        scale=stored.prediction.scale.name if stored is not None and by_hand else None,
        magnification=stored.settings.magnification if stored is not None and by_hand else None,
    )
