"""Completion of a prompt by the words that the model was taught, in any of their wordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QModelIndex, QSize, Qt
from qtpy.QtGui import QIcon, QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QCompleter

from napari_amvlm._sample_data import word_pictures
from napari_amvlm.models.words.taught import learnt, taught
from napari_amvlm.models.words.word_list import wordings
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QObject

    from napari_amvlm._qt.theme import Colours
    from napari_amvlm.config import Concept, ModelConfig

_MATCHED = Qt.ItemDataRole.UserRole + 1
_INSERTED = Qt.ItemDataRole.UserRole + 2
_ICON = 32
"""Side of a word's picture, pixels."""
_WIDTH = 300
"""Least width of the list, which may be wider than the field, pixels."""


class WordCompleter(QCompleter):
    """Offers wordings that hold what was typed, each with the word that it stands for, and prompts typed before.

    A word is offered with its picture, and found by its part of the body and by its kind of image too.

    Of several prompts parted by `;` the last one is completed. What the model was not taught is offered as it was
    typed, and called so.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._config: ModelConfig | None = None
        self._before = ""
        self._pictures = word_pictures()
        self._rows = QStandardItemModel(self)
        self._typed = QStandardItem()
        self.setModel(self._rows)
        self.setCompletionRole(_MATCHED)
        self.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setFilterMode(Qt.MatchFlag.MatchContains)
        self.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        popup = self.popup()
        if popup is not None:
            popup.setIconSize(QSize(_ICON, _ICON))
            popup.setMinimumWidth(_WIDTH)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the list, which is wider than its field, on the screen."""
        if event is not None and event.type() in (QEvent.Type.Move, QEvent.Type.Show):
            popup = self.popup()
            field = self.widget()
            if popup is not None and watched is popup and field is not None and popup.font() != field.font():
                popup.setFont(field.font())
            if popup is not None and watched is popup and (screen := popup.screen()) is not None:
                beyond = popup.geometry().right() - screen.availableGeometry().right()
                if beyond > 0:
                    popup.move(popup.x() - beyond, popup.y())
        return super().eventFilter(watched, event)

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme, which the list does not get from the window."""
        popup = self.popup()
        if popup is not None:
            popup.setStyleSheet(
                f"QListView {{ background: {colours.foreground}; color: {colours.text}; }}"
                f"QListView::item:selected {{ background: {colours.accent}; color: {colours.background}; }}"
            )

    def setWords(self, config: ModelConfig | None, history: Sequence[str] = ()) -> None:
        """Offer the words of a model, after prompts that were typed before; None offers these alone."""
        self._config = config
        self._rows.clear()
        seen: set[str] = set()
        concepts = {concept.name: concept for concept in (config.concepts if config is not None else ())}
        for text in history:
            note = ": not taught" if config is not None and not self._is_taught(text) else ""
            if text in concepts:
                self._add_word(concepts[text], seen)
            else:
                self._add(text, f"{text}{note}", text, seen)
        for concept in concepts.values():
            self._add_word(concept, seen)
            note = "" if learnt(concept) else ": not taught"
            for text in wordings(config, concept) if config is not None else ():
                self._add(text, f"{text}: {concept.name}{note}", concept.name, seen, self._icon(concept))
        self._typed = QStandardItem()
        self._rows.appendRow(self._typed)

    def labels(self, typed: str) -> list[str]:
        """Return what is offered for a text, in order."""
        self.setCompletionPrefix(typed)
        model = self.completionModel()
        if model is None:
            return []
        return [str(model.index(row, 0).data()) for row in range(model.rowCount())]

    def splitPath(self, path: str | None) -> list[str]:
        """Return the prompt that is being typed, and offer it as it is if the model was not taught it."""
        before, mark, last = (path or "").rpartition(";")
        self._before, text = before + mark, tidied(last)
        untaught = self._config is not None and text and not self._is_taught(text)
        self._typed.setText(f"{text}: not taught" if untaught else "")
        self._typed.setData(text if untaught else None, _MATCHED)
        self._typed.setData(text, _INSERTED)
        return [text]

    def pathFromIndex(self, index: QModelIndex) -> str:
        """Return the whole text with the chosen word at its end."""
        return f"{self._before} {index.data(_INSERTED)}".strip()

    def _is_taught(self, text: str) -> bool:
        return self._config is not None and taught(self._config, text) is not None

    def _add_word(self, concept: Concept, seen: set[str]) -> None:
        """Offer a concept by its name; its part of the body and its kinds of image find it too."""
        where = ", ".join(filter(None, (concept.body, *concept.modalities)))
        label = f"{concept.name} ({where})" if where else concept.name
        note = "" if learnt(concept) else ": not taught"
        self._add(concept.name, label + note, concept.name, seen, self._icon(concept), f"{concept.name} {where}")

    def _icon(self, concept: Concept) -> QIcon:
        return QIcon(str(self._pictures[concept.name])) if concept.name in self._pictures else QIcon()

    def _add(
        self, text: str, label: str, inserted: str, seen: set[str], icon: QIcon | None = None, matched: str = ""
    ) -> None:
        if text.casefold() not in seen:
            seen.add(text.casefold())
            item = QStandardItem(label)
            item.setIcon(icon or QIcon())
            item.setData(matched or text, _MATCHED)
            item.setData(inserted, _INSERTED)
            self._rows.appendRow(item)
