"""What both docks of one viewer share: the model that serves, the open project, and the threads at work."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotation.annotation import Annotation
from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.annotation.styles import Styles, enter_styles
from napari_amvlm._qt.layers.image import layer_kind
from napari_amvlm._qt.serving import Serving
from napari_amvlm._qt.settings import preferences
from napari_amvlm._qt.workers import LearnThread
from napari_amvlm.errors import AmvlmError, ProjectBusyError, ProjectError, StorageError
from napari_amvlm.models.catalog import installed_model
from napari_amvlm.project import Project, ResumeState
from napari_amvlm.project.ledger import LEDGER_NAME
from napari_amvlm.session.project_view import ProjectView, look_at
from napari_amvlm.wording import capitalised, project_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari.layers import Image

    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.project import PromptStyle

    _Opened = tuple[Project, ProjectView, ResumeState | None, ModelInfo | None]


class Workspace(Serving):
    """State shared by the docks, the model that serves among it; every slow thing it does is done in a thread.

    Signals
    -------
    projectChanged
        Another project, or other things in it.
    projectOpened : ResumeState or None
        Another project, and where the person left it.
    projectLocked : Path
        A project was not opened, for another program writes to it, or its disk lets nobody write; it can be opened for
        reading only.
    projectLeaving
        Another project takes the place of the open one now; what is done with the project still goes to that.
    leaving
        The person's position will be stored now; a comparison closes before.
    positionAsked
        The Annotate dock answers with `store_position`.
    ending
        Everything stops now; requests that wait are carried out first.
    """

    projectChanged = Signal()
    projectOpened = Signal(object)
    projectLocked = Signal(object)
    projectLeaving = Signal()
    leaving = Signal()
    positionAsked = Signal()
    ending = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.said.connect(_notify)
        self.project: Project | None = None
        self.view: ProjectView | None = None
        self.opening: list[str] = []  # names of projects that will take the place of the open one
        # of the Annotate dock, so that they outlive it when it is closed and opened again
        self.annotations: dict[Any, Annotation] = {}
        self.at_hand: Annotation | None = None
        self.prompts: list[str] = []
        self.styles = Styles(self)
        # the project as jobs find it: the window hears of one that was opened a moment later, or is closing by then
        self._opened: Project | None = None
        self._not_opened: AmvlmError = ProjectError("No project is open; open one, or accept a mask, which makes one.")
        self._temporary: Path | None = None

    # Threads

    def learning(self) -> LearnThread | None:
        """Return the learning run at work, if there is one."""
        return next((thread for thread in self._threads if isinstance(thread, LearnThread)), None)

    def stop_all(self) -> None:
        """Ask every thread to end; a learning run keeps nothing."""
        self.closing = True
        for thread in self._threads:
            if isinstance(thread, LearnThread):
                thread.abandon()
            else:
                thread.stop()

    def shut_down(self) -> None:
        """Stop everything, wait for it, do what was still to be written, and close the project."""
        self.ending.emit()
        self.stop_all()
        self.finish_jobs()
        for project in (self.project, self._opened):
            if project is not None:
                project.close()
        self.project = self._opened = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def remember_position(self) -> None:
        """Store in the project where the person is; when the window closes, before it is gone."""
        self.leaving.emit()
        if self.project is not None:
            self.positionAsked.emit()

    def store_position(self, state: ResumeState) -> None:
        """Store where the person is, in a thread."""
        project = self.project
        if project is not None and not self.is_read_only():
            self.submit(lambda: project.store_resume_state(state))

    # Project

    def says_opening(self, images: Sequence[str] = ()) -> bool:
        """Say which of `images`, or else which project, is about to replace the one at hand; tell whether one is."""
        opening = images or self.opening
        if opening:
            self.said.emit("info", f"Opening {opening[-1]} ...")
        return bool(opening)

    def is_read_only(self) -> bool:
        """Tell whether a project is open, and for reading only."""
        return self.project is not None and self.project.read_only

    def open_project(self, path: Path, done: Callable[[], None] | None = None, *, read_only: bool = False) -> None:
        """Open a project folder, made first if it is not there; the one open before is closed, but not under work.

        Where none was open, whatever is done `with_project` afterwards finds it, also when the window closes in
        between. Else what is asked for until it is there still goes to the one before.
        """
        project, under_way = self.project, self._under_way()
        if project is not None and under_way and project.root.resolve() != path.resolve():
            self.said.emit("warning", f"Project {project_name(project.root)} {under_way}, then open another project.")
            self.projectChanged.emit()  # lists of projects show the one that is open again
            return

        # prompts that were typed before a project was open belong to it; those of another project do not
        typed = {prompt: self.styles.of(prompt) for prompt in self.prompts} if project is None else {}

        def finish(opened: _Opened, *, last: bool = False) -> None:
            before, another = self.project, self.project is not opened[0]
            if before is not None and another and not last:
                self.projectLeaving.emit()
                # after all that was asked for meanwhile
                self.submit(lambda: opened, lambda _: finish(opened, last=True))
                return
            if is_open:
                self.opening.remove(project_name(path))
            self._show_project(opened, typed)
            if done is not None:
                done()

        def failed(text: str) -> None:
            if is_open:
                self.opening.remove(project_name(path))
            self.said.emit("error", text)
            self.projectChanged.emit()  # lists of projects show the one that is open still
            locked = isinstance(self._not_opened, (ProjectBusyError, StorageError))
            if locked and not read_only and (path / LEDGER_NAME).is_file():
                self.projectLocked.emit(path)

        is_open = project is not None
        if is_open:
            self.opening.append(project_name(path))
        self.remember_position()
        self.submit(lambda: self._read_project(path, typed, read_only=read_only), finish, failed)

    def _read_project(self, path: Path, typed: Mapping[str, PromptStyle], *, read_only: bool) -> _Opened:
        """Open a project, in the thread of jobs, and enter the prompts that were typed before."""
        known = self._opened
        if known is not None and known.root.resolve() == path.resolve() and (read_only or not known.read_only):
            return known, look_at(known), None, installed_model(known.models.installed())
        try:
            project = Project.open(path, read_only=True) if read_only else Project.open_or_create(path)
            if not project.read_only:
                enter_styles(project, typed)
            installed = installed_model(project.models.installed())
            opened = project, look_at(project), project.resume_state(), installed
        except AmvlmError as error:
            self._not_opened = error
            raise
        self._opened = project
        return opened

    def _show_project(self, opened: _Opened, typed: Iterable[str]) -> None:
        """Leave the project before for one that was opened, and serve its model."""
        before, another = self.project, self.project is not opened[0]
        self.project, self.view, state, installed = opened
        if before is not None and another:
            self.submit(before.close, long=self.is_at_long_job())  # after what still writes to it
            for annotation in self.annotations.values():
                annotation.leave_project(project_name(before.root))
            self.styles.forget()
        if another:
            self.prompts[:] = dict.fromkeys([*typed, *(record.text for record in self.view.prompts)])
        self.projectChanged.emit()
        if another:
            self.projectOpened.emit(state)
        # a project in which nothing was learnt or chosen yet goes on from the model that was loaded first
        wanted = self.view.served or installed or self.base
        if before is None and wanted is self.base and self.is_base_chosen and not self.project.read_only:
            self.with_project(lambda project: project.models.serve(None, self.base.sha256 if self.base else None))
        if wanted is not None and wanted.sha256 != self.served_key():
            own = self.view.served.sha256 if self.view.served else None
            self.serve(wanted.path, failed=self._serve_base, sha256=own)
        elif wanted is None:
            self.forget_wanted()

    def _serve_base(self, text: str) -> None:
        """Say why the model of a project does not serve; that of the project before does not either."""
        self.said.emit("error", text)
        if self.base is not None and self.base.sha256 != self.served_key():
            self.serve(self.base.path)

    def _under_way(self) -> str:
        """Return what another project has to wait for, as a text; empty where there is nothing."""
        if self.learning() is not None:
            return "is learning; stop the run or wait for it"
        return "is being added to or exported; wait until that is done" if self.is_at_long_job() else ""

    def annotation(self, image: Image, place: tuple[int, ...] = ()) -> Annotation:
        """Return what is known of an image layer, of a stack of one slice, noted from now on where nothing was."""
        key = (image, place) if place else image
        if key not in self.annotations:
            if layer_kind(image) == "slide":
                self.annotations[key] = SlideAnnotation(image, self.usual_threshold, self.styles.of)
            else:
                sibling = next((known for known in self.annotations.values() if known.image is image), None)
                self.annotations[key] = Annotation(
                    image, self.usual_threshold, self.styles.of, place=place, sibling=sibling
                )
        return self.annotations[key]

    def annotations_of(self, image: Any) -> list[Annotation]:
        """Return what is known of an image layer, of a stack of each slice that was looked at."""
        return [known for known in self.annotations.values() if known.image is image]

    def forget_image(self, image: Any) -> None:
        """Drop what is known of an image layer that was removed."""
        self.annotations = {key: known for key, known in self.annotations.items() if known.image is not image}

    def results_folder(self) -> Path:
        """Return where results of slides lie: in the project, or without one in a folder that goes with the window."""
        if self.project is not None and not self.is_read_only():
            return self.project.root / "slides"
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="napari-amvlm-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return self._temporary

    def usual_threshold(self, prompt: str) -> float:
        """Return the threshold that a prompt has in the project, or else by preference."""
        records = self.view.prompts if self.view is not None else ()
        set_by_hand = next((record.threshold for record in records if record.text == prompt), None)
        return preferences().threshold if set_by_hand is None else set_by_hand

    def say(self, level: str, text: str, about: Annotation | None = None) -> None:
        """Tell the person something; what only informs about an image is left out once that is not at hand."""
        if level != "info" or about is None or about is self.at_hand:
            self.said.emit(level, text)

    def with_project(
        self,
        function: Callable[[Project], Any],
        done: Callable[[Any], None] | None = None,
        failed: Callable[[str], None] | None = None,
        *,
        long: bool = False,
    ) -> None:
        """Call `function(project)` off the GUI thread, then look at the project anew; see `submit`.

        The project is the one that is open now; `done` is not called if another is open by then.
        """
        asked = self.project

        def find() -> Project:
            if asked is not None:
                return asked
            if self._opened is None:
                raise self._not_opened
            return self._opened

        def work() -> tuple[Any, ProjectView]:
            project = find()
            return function(project), look_at(project)

        def finish(both: tuple[Any, ProjectView]) -> None:
            if asked is not None and asked is not self.project:
                return
            result, self.view = both
            self.projectChanged.emit()
            if done is not None:
                done(result)

        if long:  # looked at afterwards, in turn with the others, whose view is newer than one from before them

            def look(result: Any) -> None:
                self.with_project(lambda _: result, done, failed)

            self.submit(lambda: function(find()), look, failed, long=True)
        else:
            self.submit(work, finish, failed)


_workspaces: weakref.WeakKeyDictionary[Any, Workspace] = weakref.WeakKeyDictionary()


def workspace_for(viewer: Any) -> Workspace:
    """Return the one workspace of `viewer`, made at the first call."""
    viewer = unwrapped(viewer)
    if viewer not in _workspaces:
        _workspaces[viewer] = Workspace()
    return _workspaces[viewer]


def unwrapped(viewer: Any) -> Any:
    """Return the viewer itself where napari hands over a proxy: layers are compared by identity."""
    return getattr(viewer, "__wrapped__", viewer)


def _notify(level: str, text: str) -> None:
    """Show a warning or an error over the canvas; anything else is left to the status lines."""
    if level == "warning":
        show_warning(capitalised(text))
    elif level == "error":
        show_error(capitalised(text))
