"""How prompts are drawn: as the project says, or before there is one in order of first use."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_amvlm.project.prompts import next_style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import Project, PromptStyle


class Styles:
    """The value, colour and kind of mask of every prompt of a workspace, the same on every image."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._styles: dict[str, PromptStyle] = {}
        self._storing: Counter[str] = Counter()
        workspace.projectChanged.connect(self._on_project_changed)

    def of(self, prompt: str) -> PromptStyle:
        """Return how a prompt is drawn."""
        if prompt not in self._styles:
            self._styles[prompt] = next_style(self._styles.values())
        return self._styles[prompt]

    def set_colour(self, prompt: str, colour: str) -> None:
        """Draw a prompt in another colour, `#rrggbb`."""
        self._change(prompt, replace(self.of(prompt), colour=colour))
        self._store([prompt], lambda project: project.prompts.set_colour(prompt, colour))

    def set_separate(self, prompt: str, on: bool) -> None:
        """Tell the objects of a prompt apart, or do not."""
        self._change(prompt, replace(self.of(prompt), separate_objects=on))
        self._store([prompt], lambda project: project.prompts.set_separate_objects(prompt, on))

    def enter(self, prompts: Iterable[str]) -> None:
        """Enter prompts into the open project, so that they keep their style."""
        known = {record.text for record in self._workspace.view.prompts} if self._workspace.view is not None else set()
        new = [prompt for prompt in prompts if prompt not in known]

        def add(project: Project) -> None:
            for prompt in new:
                project.prompts.add(prompt)

        if new:
            self._store(new, add)

    def remove(self, prompt: str) -> None:
        """Take a prompt off the open project, unless masks of it are stored."""
        self._store([prompt], lambda project: project.prompts.remove(prompt))

    def forget(self) -> None:
        """Forget the styles of a project that is left."""
        self._styles = {}

    def _store(self, prompts: list[str], store: Callable[[Project], Any]) -> None:
        """Store a change of prompts, whose older styles are not shown meanwhile."""
        if self._workspace.project is None or self._workspace.is_read_only():
            return
        self._storing.update(prompts)

        def end(_result: object = None) -> None:
            self._storing.subtract(prompts)
            self._on_project_changed()

        def failed(text: str) -> None:
            self._workspace.say("error", text)
            end()

        self._workspace.with_project(store, end, failed)

    def _on_project_changed(self) -> None:
        view = self._workspace.view
        for record in view.prompts if view is not None else ():
            if not self._storing[record.text] and self._styles.get(record.text) != record.style:
                self._change(record.text, record.style)

    def _change(self, prompt: str, style: PromptStyle) -> None:
        before = self._styles.get(prompt)
        self._styles[prompt] = style
        for annotation in self._workspace.annotations.values():
            annotation.show_style(prompt)
            if before is not None and before.separate_objects != style.separate_objects:
                annotation.set_separate(prompt, style.separate_objects)


def enter_styles(project: Project, styles: Mapping[str, PromptStyle]) -> None:
    """Enter prompts that were used before the project was open, with the look that they have; others keep theirs."""
    known = {record.text for record in project.prompts.all()}
    for prompt, style in styles.items():
        if prompt in known:
            continue
        entered = project.prompts.add(prompt).style
        if style.colour != entered.colour and not known:
            project.prompts.set_colour(prompt, style.colour)
        if style.separate_objects:
            project.prompts.set_separate_objects(prompt, True)
