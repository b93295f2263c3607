"""Live curves of a learning run: Dice of each prompt on held-out images, and loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_amvlm._qt.layout import wrapped_label
from napari_amvlm._qt.timers import single_shot
from napari_amvlm.project.prompts import PALETTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_amvlm._qt.theme import Colours

SMOOTH = 0.9
"""Share of the past in the smoothed loss."""

REDRAW = 250
"""Milliseconds from one drawing of the loss to the next at least: a fast device makes many steps a second."""

HEIGHT = 142
"""Of both plots together, pixels."""

_SYMBOLS = "ostd+x"


@dataclass
class Curves:
    """What is drawn: per cent of the budget against loss, and against Dice: the mean, and that of each prompt."""

    loss_at: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    dice_at: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    prompts: dict[str, list[float]] = field(default_factory=dict)


class CurveWidget(QWidget):
    """Two small plots over the same axis, the budget in per cent."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._curves = Curves()
        self._smooth = _Smooth()
        self._titles: dict[str, str] = {}
        # widgets
        self._view = pg.GraphicsLayoutWidget()
        self._view.setFixedHeight(HEIGHT)
        self._view.setMinimumWidth(120)
        self._view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._view.setAccessibleName("Curves of Dice on held-out images and of the loss")
        self._view.ci.layout.setContentsMargins(0, 2, 6, 4)
        self._view.ci.layout.setSpacing(0)
        self._dice_plot, self._loss_plot = (self._new_plot(row) for row in range(2))
        # a curve that hardly moves is drawn flat, and its axis keeps its numbers
        self._dice_plot.setLimits(minYRange=0.02, yMin=-0.05, yMax=1.05)
        self._dice_plot.getAxis("bottom").setStyle(showValues=False)
        self._view.setToolTip(
            "Dice on held-out images, and loss; from left to right the share of the budget that is used, in per cent"
        )
        self._view.ci.layout.setRowStretchFactor(0, 3)
        self._view.ci.layout.setRowStretchFactor(1, 2)
        self._raw_line = self._loss_plot.plot()
        self._loss_line = self._loss_plot.plot()
        self._dice_line = self._dice_plot.plot(symbol="o", symbolSize=6)
        self._prompt_lines: dict[str, pg.PlotDataItem] = {}
        self._prompt_colours: dict[str, str] = {}
        self._key = wrapped_label("Dice of each prompt on held-out images")
        self._key.setTextFormat(Qt.TextFormat.RichText)
        for line in (self._raw_line, self._loss_line):
            line.setDownsampling(auto=True, method="subsample")  # thousands of steps on some hundred pixels
        self._redraw = single_shot(self, REDRAW, self._draw_loss)
        self._lay_out()
        self._title()

    def _new_plot(self, row: int) -> pg.PlotItem:
        """Return a plot over the budget, which the mouse does not move."""
        plot = self._view.addPlot(row=row, col=0)
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.showGrid(x=True, y=True, alpha=0.2)
        plot.setXRange(0, 100, padding=0.02)
        plot.getAxis("left").setWidth(42)
        plot.getAxis("left").setTicks([[]])  # no numbers before there is a curve
        plot.sigYRangeChanged.connect(partial(_name_two_heights, plot.getAxis("left")))
        return plot

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._view)
        column.addWidget(self._key)
        self._key.hide()

    def value(self) -> Curves:
        """Return what is drawn."""
        return self._curves

    def clear(self) -> None:
        """Begin anew."""
        self._curves, self._smooth = Curves(), _Smooth()
        for line in self._prompt_lines.values():
            self._dice_plot.removeItem(line)
        self._prompt_lines.clear()
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
        self._view.setBackground(colours.background)
        for plot in (self._dice_plot, self._loss_plot):
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(pg.mkPen(colours.muted))
                axis.setTextPen(pg.mkPen(colours.text))
            plot.titleLabel.setAttr("color", colours.text)
        self._raw_line.setPen(pg.mkPen(_faint(colours.second), width=1))
        self._loss_line.setPen(pg.mkPen(colours.second, width=2))
        self._dice_line.setPen(pg.mkPen(colours.text, width=2))
        self._dice_line.setSymbolBrush(colours.text)
        self._dice_line.setSymbolPen(colours.text)
        self._titles.clear()
        self._title()

    def _title(self) -> None:
        best = f": {self._curves.dice[-1]:.3f}" if self._curves.dice else ""
        last = f": {self._curves.loss[-1]:.3f}" if self._curves.loss else ""
        # one plot alone is laid out and painted anew where only one has changed: this is done while work goes on
        for name, plot, title in (
            ("dice", self._dice_plot, f"{'mean Dice' if self._shown_prompts() else 'Dice'}, held out{best}"),
            ("loss", self._loss_plot, f"loss{last}"),
        ):
            if self._titles.get(name) != title:
                self._titles[name] = title
                plot.setTitle(title, size="9pt")

    def _shown_prompts(self) -> dict[str, list[float]]:
        return self._curves.prompts if len(self._curves.prompts) > 1 else {}

    def _draw_dice(self) -> None:
        self._dice_line.setData(self._curves.dice_at, self._curves.dice)
        legend = []
        for number, (prompt, values) in enumerate(self._shown_prompts().items()):
            symbol = _SYMBOLS[number % len(_SYMBOLS)]
            colour = self._prompt_colours.get(prompt, PALETTE[number % len(PALETTE)])
            if prompt not in self._prompt_lines:
                style = {"symbol": symbol, "symbolSize": 6, "symbolBrush": colour, "symbolPen": colour}
                self._prompt_lines[prompt] = self._dice_plot.plot(pen=pg.mkPen(colour, width=1), **style)
            self._prompt_lines[prompt].setData(self._curves.dice_at[-len(values) :], values)
            square = f'<span style="color: {colour};">\N{BLACK SQUARE}</span>'
            legend.append(f"{square}&nbsp;{escape(prompt)}&nbsp;{values[-1]:.3f}")
        self._key.setText(" ".join(legend))
        self._key.setVisible(bool(legend))
        self._title()

    def _draw_loss(self) -> None:
        self._raw_line.setData(self._curves.loss_at, self._curves.loss)
        self._loss_line.setData(self._curves.loss_at, self._smooth.values)
        self._title()


class _Smooth:
    """An exponential mean without the pull towards its start."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._total = self._weight = 0.0

    def add(self, value: float) -> None:
        self._total = SMOOTH * self._total + value
        self._weight = SMOOTH * self._weight + 1.0
        self.values.append(self._total / self._weight)


def _name_two_heights(axis: pg.AxisItem, _view: object, span: tuple[float, float]) -> None:
    """Write numbers at two heights of a plot: it is too low for more."""
    low, high = span
    heights = (low + 0.25 * (high - low), high - 0.25 * (high - low))
    axis.setTicks([[(height, f"{height:.2f}") for height in heights]])


def _faint(colour: str) -> tuple[int, int, int, int]:
    shade = pg.mkColor(colour)
    return shade.red(), shade.green(), shade.blue(), 90
