"""Who wins a pixel that several prompts claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from napari_amvlm.review import OverlapRule

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = {OverlapRule.SMALLEST: "smaller wins", OverlapRule.PRIORITY: "first wins"}


class OverlapChoice(QWidget):
    """The rule, and a button that puts the chosen prompt first.

    Signals
    -------
    valueChanged : OverlapRule
    firstRequested
        The chosen prompt is to win over all others.
    """

    valueChanged = Signal(object)
    firstRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self._rule = QComboBox()
        for rule, words in _WORDS.items():
            self._rule.addItem(words, rule)
        self._rule.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._rule.setAccessibleName("Overlaps")
        self._first = QPushButton("Put first")
        self._first.setToolTip("Let the chosen prompt win over all others")
        # layout
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self._rule, 1)
        row.addWidget(self._first)
        # signals
        self._rule.currentIndexChanged.connect(self._on_changed)
        self._first.clicked.connect(self.firstRequested)
        self.setValue(OverlapRule.SMALLEST, ())

    def value(self) -> OverlapRule:
        """Return the rule."""
        return OverlapRule(self._rule.currentData())

    def setValue(self, rule: OverlapRule, order: Sequence[str]) -> None:
        """Show the rule and the order of prompts, the one that wins first, without telling anybody."""
        with QSignalBlocker(self._rule):
            self._rule.setCurrentIndex(self._rule.findData(rule))
        self._first.setEnabled(rule == OverlapRule.PRIORITY)
        listed = f"\nThe order now: {', '.join(order)}" if order else ""
        self._rule.setToolTip(
            "Who gets a pixel that several prompts claim; it holds for the whole project and for exports.\n"
            f"smaller: a part is not lost in its whole. first: the project's own order of prompts.{listed}"
        )

    def _on_changed(self) -> None:
        self._first.setEnabled(self.value() == OverlapRule.PRIORITY)
        self.valueChanged.emit(self.value())
