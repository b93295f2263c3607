"""Live curves of a learning run: Dice of each prompt on held-out images, and loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_amvlm._qt.layout import wrapped_label
from napari_amvlm._qt.timers import single_shot
from napari_amvlm.project.prompts import PALETTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtGui import QShowEvent

    from napari_amvlm._qt.theme import Colours
    from napari_amvlm._qt.widgets.curve_plots import CurvePlots

SMOOTH = 0.9
"""Share of the past in the smoothed loss."""

REDRAW = 250
"""Milliseconds from one drawing of the loss to the next at least: a fast device makes many steps a second."""


@dataclass
class Curves:
    """What is drawn: per cent of the budget against loss, and against Dice: the mean, and that of each prompt."""

    loss_at: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    dice_at: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    prompts: dict[str, list[float]] = field(default_factory=dict)


class CurveWidget(QWidget):
    """Two small plots and their key; the plots are made when they are first shown."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._curves = Curves()
        self._smooth = _Smooth()
        self._colours: Colours | None = None
        self._prompt_colours: dict[str, str] = {}
        # widgets
        self.plots: CurvePlots | None = None
        self._key = wrapped_label("Dice of each prompt on held-out images")
        self._key.setTextFormat(Qt.TextFormat.RichText)
        self._key.hide()
        self._redraw = single_shot(self, REDRAW, self._draw_loss)
        # layout
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.addWidget(self._key)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Make the plots."""
        super().showEvent(event)
        if self.plots is None:
            from napari_amvlm._qt.widgets.curve_plots import CurvePlots

            self.plots = CurvePlots()
            self._column.insertWidget(0, self.plots)
            if self._colours is not None:
                self.plots.setColours(self._colours)
            self._draw_dice()
            self._draw_loss()

    def value(self) -> Curves:
        """Return what is drawn."""
        return self._curves

    def clear(self) -> None:
        """Begin anew."""
        self._curves, self._smooth = Curves(), _Smooth()
        self._draw_dice()
        self._draw_loss()

    def addLoss(self, fraction: float, loss: float) -> None:
        """Add the loss of one step at this share of the budget."""
        self._curves.loss_at.append(100 * fraction)
        self._curves.loss.append(loss)
        self._smooth.add(loss)
        if not self._redraw.isActive():
            self._redraw.start()

    def addDice(
        self,
        fraction: float,
        dice: float,
        prompts: Mapping[str, float] | None = None,
        colours: Mapping[str, str] | None = None,
    ) -> None:
        """Add Dice on held-out images at this share of the budget: the mean, and that of each prompt, in its colour."""
        self._prompt_colours.update(colours or {})
        self._curves.dice_at.append(100 * fraction)
        self._curves.dice.append(dice)
        for prompt, value in (prompts or {}).items():
            self._curves.prompts.setdefault(prompt, []).append(value)
        self._draw_dice()

    def key(self) -> str:
        """Return the legend of the prompts as plain text; empty with a single one, whose line is the mean."""
        return " ".join(f"{prompt} {values[-1]:.3f}" for prompt, values in self._shown_prompts().items())

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self._colours = colours
        if self.plots is not None:
            self.plots.setColours(colours)

    def _shown_prompts(self) -> dict[str, list[float]]:
        return self._curves.prompts if len(self._curves.prompts) > 1 else {}

    def _draw_dice(self) -> None:
        shown = self._shown_prompts()
        colours = {p: self._prompt_colours.get(p, PALETTE[n % len(PALETTE)]) for n, p in enumerate(shown)}
        self._key.setText(
            " ".join(
                f'<span style="color: {colours[prompt]};">\N{BLACK SQUARE}</span>&nbsp;{escape(prompt)}&nbsp;'
                f"{values[-1]:.3f}"
                for prompt, values in shown.items()
            )
        )
        self._key.setVisible(bool(shown))
        if self.plots is not None:
            self.plots.drawDice(self._curves, shown, colours)

    def _draw_loss(self) -> None:
        if self.plots is not None:
            self.plots.drawLoss(self._curves, self._smooth.values)


class _Smooth:
    """An exponential mean without the pull towards its start."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._total = self._weight = 0.0

    def add(self, value: float) -> None:
        self._total = SMOOTH * self._total + value
        self._weight = SMOOTH * self._weight + 1.0
        self.values.append(self._total / self._weight)
