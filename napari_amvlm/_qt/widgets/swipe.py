"""The border between two masks that are shown side by side: slider, prompt and legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QLabel, QSlider, QVBoxLayout, QWidget

from napari_amvlm._qt.layout import list_box, row_of, wrapped_label

if TYPE_CHECKING:
    from collections.abc import Sequence

BEFORE_COLOUR = "#ffa31a"
AFTER_COLOUR = "#2f9bff"
ACCEPTED_COLOUR = "#3fe08a"

STEPS = 200


class SwipeRow(QWidget):
    """A slider from one model to the other, a choice of prompt where there are several, and a legend.

    Signals
    -------
    borderChanged : float
        The share of the width that the model before takes, while the slider is dragged as well.
    promptChanged : str
    """

    borderChanged = Signal(float)
    promptChanged = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self._caption = wrapped_label("The image that is compared, and its Dice")
        self._prompt = list_box("Prompt that is compared", "The prompt whose masks are shown")
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, STEPS)
        self._slider.setPageStep(STEPS // 10)
        self._slider.setMinimumWidth(60)
        self._slider.setAccessibleName("Border between before and after")
        self._slider.setToolTip(
            "Left of the white line the model before the run, right of it the model after.\n"
            "The line can be dragged in the image too."
        )
        before, after = _patch("before", BEFORE_COLOUR), _patch("after", AFTER_COLOUR)
        accepted = _patch("outline: the accepted mask", ACCEPTED_COLOUR)
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self._caption)
        column.addWidget(self._prompt)
        column.addLayout(row_of(before, self._slider, after, wide=self._slider, spacing=6))
        column.addWidget(accepted)
        # signals
        self._slider.valueChanged.connect(lambda step: self.borderChanged.emit(step / STEPS))
        self._prompt.currentTextChanged.connect(self.promptChanged)
        self.setBorder(0.5)
        self.setPrompts((), "")

    def border(self) -> float:
        """Return the share of the width that the model before takes."""
        return self._slider.value() / STEPS

    def setBorder(self, border: float) -> None:
        """Show the border, without a signal."""
        with QSignalBlocker(self._slider):
            self._slider.setValue(round(STEPS * border))

    def prompt(self) -> str:
        """Return the chosen prompt."""
        return self._prompt.currentText()

    def setPrompts(self, prompts: Sequence[str], chosen: str) -> None:
        """Offer prompts, without a signal; a single one needs no choice."""
        with QSignalBlocker(self._prompt):
            self._prompt.clear()
            self._prompt.addItems(list(prompts))
            self._prompt.setCurrentText(chosen)
        self._prompt.setVisible(len(prompts) > 1)

    def caption(self) -> str:
        """Return the line about the image."""
        return self._caption.text()

    def setCaption(self, caption: str) -> None:
        """Show which image it is, and its scores."""
        self._caption.setText(caption)


def _patch(text: str, colour: str) -> QLabel:
    """Return text after a square in its colour."""
    label = QLabel(f'<span style="color: {colour};">\N{BLACK SQUARE}</span> {text}')
    label.setTextFormat(Qt.TextFormat.RichText)
    return label
