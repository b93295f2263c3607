"""The prompts of an image: colour, name, presence, finished or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from napari_amvlm._qt.theme import Colours, theme_icon
from napari_amvlm._qt.widgets.eliding import ElidingLine
from napari_amvlm.prediction import PRESENT, answer_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QMouseEvent


@dataclass(frozen=True)
class PromptEntry:
    """One prompt as it is shown.

    `presence` is None until it ran on this image; `state` is said in its place where there is one, such as "draft";
    `advice` is what to do about it.
    """

    prompt: str
    value: int = 0
    colour: str = "#808080"
    presence: float | None = None
    finished: bool = False
    state: str = ""
    advice: str = ""

    def presence_text(self) -> str:
        """Return the state, or else the presence, in words."""
        if self.state or self.presence is None:
            return self.state or "not run"
        return answer_text(self.presence)


class PromptRow(QFrame):
    """One line of the list."""

    chosen = Signal(str)
    removed = Signal(str)
    recolourRequested = Signal(str)
    finishedToggled = Signal(str, bool)

    def __init__(self, entry: PromptEntry, colours: Colours | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._prompt = entry.prompt
        self.setObjectName("prompt_row")
        # widgets
        swatch = QToolButton()
        swatch.setFixedSize(14, 14)
        swatch.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        swatch.setStyleSheet(f"background: {entry.colour}; border: 1px solid #606060; border-radius: 2px;")
        swatch.setToolTip(f"Label value {entry.value}. Click to change the colour, in the whole project")
        swatch.setAccessibleName(f"Colour of {entry.prompt}")
        name = ElidingLine(entry.prompt)
        presence = QLabel(entry.presence_text())
        presence.setToolTip(entry.advice or "How sure the model is that this is in the image at all (0 to 1)")
        presence.setAccessibleName(f"Presence of {entry.prompt}: {entry.presence_text()}")
        if colours is not None:
            strong = not entry.state and entry.presence is not None and entry.presence >= PRESENT
            presence.setStyleSheet(f"color: {colours.text if strong else colours.muted};")
        lock = self._button("lock" if entry.finished else "lock_open", "finished", colours)
        lock.setCheckable(True)
        lock.setChecked(entry.finished)
        lock.setToolTip(
            "Finished: the model never paints over it. Click to let it."
            if entry.finished
            else "Click to call it finished: the model then never paints over it. Accept does so too."
        )
        lock.setAccessibleName(f"{entry.prompt} is finished")
        cross = self._button("delete_shape", "remove", colours)
        cross.setToolTip("Take this prompt off the list, and what the model drew for it off the image")
        cross.setAccessibleName(f"Remove {entry.prompt}")
        # layout
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 1, 2, 1)  # four rows fit at 1280 x 800
        row.setSpacing(6)
        row.addWidget(swatch)
        row.addWidget(name, 1)
        row.addWidget(presence)
        row.addWidget(lock)
        row.addWidget(cross)
        # signals
        swatch.clicked.connect(lambda: self.recolourRequested.emit(self._prompt))
        lock.toggled.connect(lambda on: self.finishedToggled.emit(self._prompt, on))
        cross.clicked.connect(lambda: self.removed.emit(self._prompt))

    @staticmethod
    def _button(icon: str, fallback: str, colours: Colours | None) -> QToolButton:
        button = QToolButton()
        button.setAutoRaise(True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setIconSize(QSize(14, 14))
        button.setFixedSize(22, 22)
        if colours is None:
            button.setText(fallback[:1])
        else:
            button.setIcon(theme_icon(icon, colours.icon))
        return button

    def setChosen(self, chosen: bool, colours: Colours | None) -> None:
        """Mark the row that threshold, Accept and Reject speak of."""
        shade = colours.foreground if colours is not None else "palette(midlight)"
        edge = colours.accent if colours is not None else "palette(highlight)"
        self.setStyleSheet(
            f"#prompt_row {{ background: {shade}; border-left: 3px solid {edge}; }}"
            if chosen
            else "#prompt_row { border-left: 3px solid transparent; }"
        )

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Choose this row."""
        self.chosen.emit(self._prompt)
        super().mousePressEvent(event)


class PromptList(QWidget):
    """The prompts of an image, one of them chosen.

    Signals
    -------
    currentChanged : str
        Another prompt is chosen, or a person chose the same one again.
    removed : str
    recolourRequested : str
        Another colour is wanted for a prompt.
    finishedToggled : str, bool
    rebuilt
        There are other buttons than before.
    """

    currentChanged = Signal(str)
    removed = Signal(str)
    recolourRequested = Signal(str)
    finishedToggled = Signal(str, bool)
    rebuilt = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: list[PromptEntry] = []
        self._rows: list[PromptRow] = []
        self._current: str | None = None
        self._colours: Colours | None = None
        self.setAccessibleName("Prompts of this image")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(1)
        self._empty = QLabel("No prompt yet: type one above and press Enter.")
        self._empty.setWordWrap(True)
        self._column.addWidget(self._empty)

    def value(self) -> list[PromptEntry]:
        """Return the entries in order."""
        return list(self._entries)

    def setValue(self, entries: Sequence[PromptEntry]) -> None:
        """Replace the entries; the chosen prompt stays chosen where it is still there."""
        if list(entries) == self._entries and self._rows:
            return
        self._entries = list(entries)
        names = [entry.prompt for entry in self._entries]
        if self._current not in names:
            self._current = names[-1] if names else None
        self._rebuild()

    def current(self) -> str | None:
        """Return the chosen prompt."""
        return self._current

    def setCurrent(self, prompt: str) -> None:
        """Choose a prompt."""
        if prompt != self._current and prompt in [entry.prompt for entry in self._entries]:
            self._choose(prompt)

    def step(self, by: int) -> None:
        """Choose the prompt `by` places further down, around the ends."""
        names = [entry.prompt for entry in self._entries]
        if self._current in names:
            self._choose(names[(names.index(self._current) + by) % len(names)])

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self._colours = colours
        self._rebuild()

    def _rebuild(self) -> None:
        for row in self._rows:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self._rows = [PromptRow(entry, self._colours) for entry in self._entries]
        for row in self._rows:
            self._column.addWidget(row)
            row.chosen.connect(self._choose)
            row.removed.connect(self.removed)
            row.recolourRequested.connect(self.recolourRequested)
            row.finishedToggled.connect(self.finishedToggled)
        self._empty.setVisible(not self._rows)
        self._mark()
        self.rebuilt.emit()

    def _choose(self, prompt: str) -> None:
        self._current = prompt
        self._mark()
        self.currentChanged.emit(prompt)

    def _mark(self) -> None:
        for row, entry in zip(self._rows, self._entries, strict=True):
            row.setChosen(entry.prompt == self._current, self._colours)
