"""Where a prompt is typed: with what was typed before, and what the model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QComboBox, QLineEdit, QSizePolicy, QWidget

from napari_amvlm._qt.timers import single_shot
from napari_amvlm._qt.widgets.word_completer import WordCompleter
from napari_amvlm.prediction import split_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_amvlm._qt.theme import Colours
    from napari_amvlm.config import ModelConfig

HISTORY = 20
"""How many prompts are remembered."""


class PromptEdit(QComboBox):
    """An editable list: history first, then presets; Enter submits.

    Signals
    -------
    submitted : list of str
        Enter was pressed; several prompts are parted by `;`.
    """

    submitted = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._history: list[str] = []
        self._presets: list[str] = []
        self._config: ModelConfig | None = None
        # widgets
        self._line = QLineEdit()
        self.setEditable(True)
        self.setLineEdit(self._line)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(8)
        self.setMaxVisibleItems(16)
        self.setAccessibleName("Prompt")
        self.setToolTip(
            "What to find, in your own words: nuclei, left lung, ...\n"
            "Enter runs. Part several prompts by ; and each gets a label value of its own.\n"
            "The list holds what you typed before and what the model was taught."
        )
        self._line.setPlaceholderText("what to find, then Enter")
        self._words = WordCompleter(self)
        self.setCompleter(self._words)
        self._submission = single_shot(self, 0, self._submit)
        # a combo box hands the event on to its line edit, so both must let it pass
        self._line.installEventFilter(self)
        self.installEventFilter(self)
        # signals
        self._line.returnPressed.connect(self._on_return)

    def value(self) -> str:
        """Return the text as it stands."""
        return self.currentText()

    def setValue(self, text: str) -> None:
        """Replace the text."""
        self.setEditText(text)

    def prompts(self) -> list[str]:
        """Return the prompts in the text: parted by `;`, blanks squeezed, each once."""
        return split_prompts(self.currentText())

    def history(self) -> list[str]:
        """Return the prompts typed before, newest first."""
        return list(self._history)

    def setHistory(self, history: Sequence[str]) -> None:
        """Replace the prompts typed before."""
        self._history = list(dict.fromkeys(history))[:HISTORY]
        self._refill()

    def remember(self, prompts: Sequence[str]) -> None:
        """Put `prompts` on top of the history."""
        self.setHistory([*prompts, *self._history])

    def presets(self) -> list[str]:
        """Return the prompts that the model was taught."""
        return list(self._presets)

    def setPresets(self, presets: Sequence[str]) -> None:
        """Replace the prompts that the model was taught."""
        self._presets = list(dict.fromkeys(presets))
        self._refill()

    def setConfig(self, config: ModelConfig | None) -> None:
        """Complete by the words and wordings of a model, and mark what it was not taught."""
        self._config = config
        self._refill()

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self._words.setColours(colours)

    def _refill(self) -> None:
        text = self.currentText()
        blocked = self.blockSignals(True)
        self.clear()
        self.addItems(self._history)
        if self._history and self._presets:
            self.insertSeparator(self.count())
        self.addItems([preset for preset in self._presets if preset not in self._history])
        self.setCurrentIndex(-1)
        self.setEditText(text)
        self.blockSignals(blocked)
        self._words.setWords(self._config, (*self._history, *self._presets))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Let Ctrl+Z pass to the labels layer while there is no typing to take back."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and event.matches(QKeySequence.StandardKey.Undo)
            and not self._line.isUndoAvailable()
        ):
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def _on_return(self) -> None:
        # with its list of completions open, Enter comes twice, first with the text not yet completed
        self._submission.start()

    def _submit(self) -> None:
        completer = self.completer()
        popup = completer.popup() if completer is not None else None
        if popup is not None:
            popup.hide()
        self._line.setText(self._line.text())  # typing that was submitted is not taken back by Ctrl+Z
        self.submitted.emit(self.prompts())
