"""The plots of a learning run; apart from their widget, for pyqtgraph takes a fifth of a second to load."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_amvlm._qt.theme import Colours
    from napari_amvlm._qt.widgets.curve import Curves

HEIGHT = 142
"""Of both plots together, pixels."""

_SYMBOLS = "ostd+x"


class CurvePlots(pg.GraphicsLayoutWidget):  # type: ignore[misc]
    """Two small plots over the same axis, the budget in per cent: Dice above, loss below."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(HEIGHT)
        self.setMinimumWidth(120)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Curves of Dice on held-out images and of the loss")
        self.setToolTip(
            "Dice on held-out images, and loss; from left to right the share of the budget that is used, in per cent"
        )
        self.ci.layout.setContentsMargins(0, 2, 6, 4)
        self.ci.layout.setSpacing(0)
        self.dice_plot, self.loss_plot = (self._new_plot(row) for row in range(2))
        # a curve that hardly moves is drawn flat, and its axis keeps its numbers
        self.dice_plot.setLimits(minYRange=0.02, yMin=-0.05, yMax=1.05)
        self.dice_plot.getAxis("bottom").setStyle(showValues=False)
        self.ci.layout.setRowStretchFactor(0, 3)
        self.ci.layout.setRowStretchFactor(1, 2)
        self._raw_line = self.loss_plot.plot()
        self._loss_line = self.loss_plot.plot()
        self.dice_line = self.dice_plot.plot(symbol="o", symbolSize=6)
        self.prompt_lines: dict[str, pg.PlotDataItem] = {}
        self._titles: dict[pg.PlotItem, str] = {}
        for line in (self._raw_line, self._loss_line):
            line.setDownsampling(auto=True, method="subsample")  # thousands of steps on some hundred pixels

    def _new_plot(self, row: int) -> pg.PlotItem:
        """Return a plot over the budget, which the mouse does not move."""
        plot = self.addPlot(row=row, col=0)
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.showGrid(x=True, y=True, alpha=0.2)
        plot.setXRange(0, 100, padding=0.02)
        plot.getAxis("left").setWidth(42)
        plot.getAxis("left").setTicks([[]])  # no numbers before there is a curve
        plot.sigYRangeChanged.connect(partial(_name_two_heights, plot.getAxis("left")))
        return plot

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self.setBackground(colours.background)
        for plot in (self.dice_plot, self.loss_plot):
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(pg.mkPen(colours.muted))
                axis.setTextPen(pg.mkPen(colours.text))
            plot.titleLabel.setAttr("color", colours.text)
        self._raw_line.setPen(pg.mkPen(_faint(colours.second), width=1))
        self._loss_line.setPen(pg.mkPen(colours.second, width=2))
        self.dice_line.setPen(pg.mkPen(colours.text, width=2))
        self.dice_line.setSymbolBrush(colours.text)
        self.dice_line.setSymbolPen(colours.text)
        for plot, title in self._titles.items():
            plot.setTitle(title, size="9pt")

    def drawDice(self, curves: Curves, prompts: Mapping[str, list[float]], colours: Mapping[str, str]) -> None:
        """Draw the mean, and a line for each of `prompts` in its colour."""
        self.dice_line.setData(curves.dice_at, curves.dice)
        for prompt in self.prompt_lines.keys() - prompts.keys():
            self.dice_plot.removeItem(self.prompt_lines.pop(prompt))
        for number, (prompt, values) in enumerate(prompts.items()):
            if prompt not in self.prompt_lines:
                colour = colours[prompt]
                style = {"symbol": _SYMBOLS[number % len(_SYMBOLS)], "symbolSize": 6}
                self.prompt_lines[prompt] = self.dice_plot.plot(
                    pen=pg.mkPen(colour, width=1), symbolBrush=colour, symbolPen=colour, **style
                )
            self.prompt_lines[prompt].setData(curves.dice_at[-len(values) :], values)
        last = f": {curves.dice[-1]:.3f}" if curves.dice else ""
        self._title(self.dice_plot, f"{'mean Dice' if prompts else 'Dice'}, held out{last}")

    def drawLoss(self, curves: Curves, smooth: Sequence[float]) -> None:
        """Draw the loss of each step, and its mean over time."""
        self._raw_line.setData(curves.loss_at, curves.loss)
        self._loss_line.setData(curves.loss_at, smooth)
        self._title(self.loss_plot, f"loss: {curves.loss[-1]:.3f}" if curves.loss else "loss")

    def _title(self, plot: pg.PlotItem, title: str) -> None:
        if self._titles.get(plot) != title:  # a title lays the plot out and paints it anew
            self._titles[plot] = title
            plot.setTitle(title, size="9pt")


def _name_two_heights(axis: pg.AxisItem, _view: object, span: tuple[float, float]) -> None:
    """Write numbers at two heights of a plot: it is too low for more."""
    low, high = span
    heights = (low + 0.25 * (high - low), high - 0.25 * (high - low))
    axis.setTicks([[(height, f"{height:.2f}") for height in heights]])


def _faint(colour: str) -> tuple[int, int, int, int]:
    shade = pg.mkColor(colour)
    return shade.red(), shade.green(), shade.blue(), 90
