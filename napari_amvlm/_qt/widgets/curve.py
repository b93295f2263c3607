"""Live curves of a learning run: Dice on held-out images, and loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_amvlm._qt.theme import Colours

SMOOTH = 0.9
"""Share of the past in the smoothed loss."""

HEIGHT = 236
"""Of both plots together, pixels."""


@dataclass
class Curves:
    """What is drawn: per cent of the budget against loss and against Dice."""

    loss_at: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    dice_at: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)


class CurveWidget(QWidget):
    """Two small plots over the same axis, the budget in per cent."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._curves = Curves()
        # widgets
        self._view = pg.GraphicsLayoutWidget()
        self._view.setFixedHeight(HEIGHT)
        self._view.setMinimumWidth(120)
        self._view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._view.setAccessibleName("Curves of Dice on held-out images and of the loss")
        self._view.ci.layout.setContentsMargins(0, 2, 6, 4)
        self._view.ci.layout.setSpacing(0)
        self._dice_plot = self._view.addPlot(row=0, col=0)
        self._loss_plot = self._view.addPlot(row=1, col=0)
        for plot in (self._dice_plot, self._loss_plot):
            plot.setMenuEnabled(False)
            plot.setMouseEnabled(x=False, y=False)
            plot.hideButtons()
            plot.showGrid(x=True, y=True, alpha=0.2)
            plot.setXRange(0, 100, padding=0.02)
            plot.getAxis("left").setWidth(42)
        # a curve that hardly moves is drawn flat, and its axis keeps its numbers
        self._dice_plot.setLimits(minYRange=0.02)
        self._dice_plot.getAxis("bottom").setStyle(showValues=False)
        self._loss_plot.setLabel("bottom", "budget used, %")
        self._raw_line = self._loss_plot.plot()
        self._loss_line = self._loss_plot.plot()
        self._dice_line = self._dice_plot.plot(symbol="o", symbolSize=6)
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._view)
        self._title()

    def value(self) -> Curves:
        """Return what is drawn."""
        return self._curves

    def clear(self) -> None:
        """Begin anew."""
        self._curves = Curves()
        self._draw()

    def addLoss(self, fraction: float, loss: float) -> None:
        """Add the loss of one step at this share of the budget."""
        self._curves.loss_at.append(100 * fraction)
        self._curves.loss.append(loss)
        self._draw()

    def addDice(self, fraction: float, dice: float) -> None:
        """Add the mean Dice on held-out images at this share of the budget."""
        self._curves.dice_at.append(100 * fraction)
        self._curves.dice.append(dice)
        self._draw()

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self._view.setBackground(colours.background)
        for plot in (self._dice_plot, self._loss_plot):
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(pg.mkPen(colours.muted))
                axis.setTextPen(pg.mkPen(colours.text))
            plot.titleLabel.setAttr("color", colours.text)
        self._raw_line.setPen(pg.mkPen(_faint(colours.second), width=1))
        self._loss_line.setPen(pg.mkPen(colours.second, width=2))
        self._dice_line.setPen(pg.mkPen(colours.accent, width=2))
        self._dice_line.setSymbolBrush(colours.accent)
        self._dice_line.setSymbolPen(colours.accent)
        self._title()

    def _title(self) -> None:
        best = f": {self._curves.dice[-1]:.3f}" if self._curves.dice else ""
        last = f": {self._curves.loss[-1]:.3f}" if self._curves.loss else ""
        self._dice_plot.setTitle(f"Dice on held-out images{best}", size="9pt")
        self._loss_plot.setTitle(f"loss{last}", size="9pt")

    def _draw(self) -> None:
        curves = self._curves
        self._raw_line.setData(curves.loss_at, curves.loss)
        self._loss_line.setData(curves.loss_at, _smoothed(curves.loss))
        self._dice_line.setData(curves.dice_at, curves.dice)
        self._title()


def _smoothed(values: list[float]) -> list[float]:
    # an exponential mean without the pull towards its start
    smooth: list[float] = []
    total = weight = 0.0
    for value in values:
        total = SMOOTH * total + value
        weight = SMOOTH * weight + 1.0
        smooth.append(total / weight)
    return smooth


def _faint(colour: str) -> tuple[int, int, int, int]:
    shade = pg.mkColor(colour)
    return shade.red(), shade.green(), shade.blue(), 90
