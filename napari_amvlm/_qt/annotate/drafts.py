"""Work that was painted and not accepted: kept in the project, and shown again on return."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotate.accept_reject import answer_of
from napari_amvlm._qt.corrections import ImageSource, default_project, image_id_of
from napari_amvlm._qt.timers import single_shot
from napari_amvlm.errors import InputError, ProjectError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm._qt.annotate.accept_reject import AcceptReject
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import Answer, Project

_PAUSE_MS = 5000
"""After a pause of so long in painting, the work on the image at hand is kept, in case the computer fails."""


class Drafts(QObject):
    """Keeps drafts when an image, a project or the window is left, and brings them back.

    Signals
    -------
    changed : Annotation
        Drafts of an image are shown again.
    """

    changed = Signal(object)

    def __init__(self, workspace: Workspace, review: AcceptReject, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._review = review
        self._recalled: weakref.WeakKeyDictionary[Annotation, Path] = weakref.WeakKeyDictionary()
        self._pause = single_shot(self, _PAUSE_MS, lambda: self.keep(workspace.at_hand))
        workspace.projectLeaving.connect(lambda: self.keep_all(last_chance=True))
        workspace.ending.connect(lambda: self.keep_all(last_chance=True))

    def keep_soon(self) -> None:
        """Keep the work on the image at hand once nothing is painted for a while."""
        self._pause.start()

    def keep_all(self, *, last_chance: bool = False) -> None:
        """Keep the work on every image."""
        for annotation in list(self._workspace.annotations.values()):
            self.keep(annotation, last_chance=last_chance)

    def keep(self, annotation: Annotation | None, *, last_chance: bool = False) -> None:
        """Keep what a person painted on an image and did not accept, in a thread.

        At the `last_chance` a project is made for it where none is open, and polygons are finished; until then the
        window holds the work.
        """
        no_project_yet = self._workspace.project is None and not last_chance
        if annotation is None or no_project_yet or self._workspace.is_read_only():
            return
        if last_chance:
            for layer in annotation.layers.values():
                layer.finish_polygon()
        waiting = [prompt for prompt in annotation.layers if not self._review.is_storing(annotation, prompt)]
        unsaved = [prompt for prompt in waiting if annotation.is_unsaved(prompt)]
        stale = [prompt for prompt in waiting if annotation.is_draft_stale(prompt)]
        if not unsaved and not stale:
            return
        try:
            source = ImageSource.of(annotation.image, annotation.place, annotation.image_id)
            answers = {prompt: answer_of(annotation, prompt, None) for prompt in unsaved}
        except InputError as error:
            self._workspace.say("error", str(error))
            return
        bases = {prompt: annotation.accepted[prompt].correction for prompt in unsaved if prompt in annotation.accepted}
        for prompt in unsaved:
            annotation.note_draft(prompt, answers[prompt])
        for prompt in stale:
            annotation.drop_draft(prompt)

        def store(project: Project) -> int:
            image_id = image_id_of(project, source)
            for prompt, answer in answers.items():
                project.drafts.keep(image_id, prompt, answer, bases.get(prompt))
            for prompt in stale:
                project.drafts.drop(image_id, prompt)
            return image_id

        def done(image_id: int) -> None:
            annotation.image_id = image_id

        def failed(text: str) -> None:
            for prompt in unsaved:
                annotation.drop_draft(prompt)
            self._workspace.say("error", text)

        if self._workspace.project is None:
            self._workspace.open_project(default_project(annotation.image))
        self._workspace.with_project(store, done, failed)

    def recall(self, annotation: Annotation | None) -> None:
        """Show the drafts that the open project has of an image, once."""
        project = self._workspace.project
        if annotation is None or project is None or annotation.image_id is None:
            return
        if self._recalled.get(annotation) == project.root:
            return
        self._recalled[annotation] = project.root
        image_id = annotation.image_id

        def read() -> tuple[dict[str, Answer], list[str]]:
            answers, problems = dict[str, "Answer"](), list[str]()
            for draft in project.drafts.of(image_id):
                try:
                    answers[draft.prompt] = project.drafts.load(draft)
                except ProjectError as error:
                    problems.append(str(error))
            return answers, problems

        def done(found: tuple[dict[str, Answer], list[str]]) -> None:
            answers, problems = found
            for prompt, answer in answers.items():
                if prompt not in annotation.drafts and not annotation.is_unsaved(prompt):
                    annotation.show_draft(prompt, answer)
            if problems:
                self._workspace.say("warning", problems[0])
            if answers:
                self.changed.emit(annotation)

        self._workspace.submit(read, done)
