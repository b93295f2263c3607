"""Charts of runs, drawn by matplotlib (extra `training`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#787878")
"""Colours that people with colour blindness tell apart (Okabe & Ito)."""

_SMOOTHING = 25


def draw_curves(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the smoothed loss of every step, and the Dice of every validation."""
    losses = [(r["step"], r["loss"]) for r in records if r.get("event") == "step" and np.isfinite(r["loss"])]
    scores = [(r["step"], r["dice"]) for r in records if r.get("event") == "validation"]
    figure = Figure(figsize=(7.2, 3.6), layout="tight")
    axes = figure.subplots()
    axes.set(xlabel="step", ylabel="loss")
    axes.yaxis.label.set_color(COLOURS[0])
    if losses:
        axes.plot(*_smoothed(losses), c=COLOURS[0])
    right = axes.twinx()
    right.set(ylabel="Dice on validation images", ylim=(0, 1))
    right.yaxis.label.set_color(COLOURS[1])
    right.plot([step for step, _ in scores], [dice for _, dice in scores], "o-", c=COLOURS[1])
    figure.savefig(path)


def draw_losses(logs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw the smoothed loss on labelled crops over the steps, a line for each row of `logs`, as a PNG file."""
    figure = Figure(figsize=(8, 5), layout="tight")
    axes = figure.subplots()
    for number, (name, records) in enumerate(logs.items()):
        losses = [(r["step"], r["supervised"]) for r in records if r.get("event") == "step"]
        if losses:
            style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
            axes.plot(*_smoothed(losses), style, c=COLOURS[number % len(COLOURS)], label=name)
    axes.set(xlabel="step", ylabel="loss on labelled crops")
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(path)


def _smoothed(points: Sequence[tuple[int, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    steps, values = np.array(points, float).T
    return steps, ndimage.uniform_filter1d(values, min(_SMOOTHING, len(values)), mode="nearest")


def draw_ambiguity(records: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw r, w and sigma of PDT over the steps of a pretraining run as a PNG file; False where none was logged."""
    names = [n for n in ("r V2T", "r T2V", "w V2T", "w T2V", "sigma V2T", "sigma T2V") if any(n in r for r in records)]
    if not names:
        return False
    figure = Figure(figsize=(9, 3), layout="tight")
    for axes, kind in zip(figure.subplots(1, 3), ("r", "w", "sigma"), strict=True):
        for number, name in enumerate(n for n in names if n.startswith(f"{kind} ")):
            points = [(r["step"], r[name]) for r in records if name in r]
            axes.plot(*np.array(points, float).T, c=COLOURS[number], label=name)
        axes.set(xlabel="step", ylabel=kind)
        axes.legend(fontsize="small")
    figure.savefig(path)
    return True


def draw_answers(bins: Sequence[tuple[float, float, int]], counts: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """Draw calibration and confusion side by side as a PNG file.

    Parameters
    ----------
    bins
        Mean presence that was said, share that was there, and number of answers, for each bin.
    counts
        Answers by what is so.
    """
    figure = Figure(figsize=(9, 4), layout="tight")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], "--", c=COLOURS[4])
    if bins:
        said, share, number = np.array(bins, float).T
        left.plot(said, share, c=COLOURS[0])
        left.scatter(said, share, s=20 + 200 * number / number.max(), c=COLOURS[0])
        for x, y, n in zip(said, share, number, strict=True):
            left.annotate(f"{n:.0f}", (x, y), textcoords="offset points", xytext=(8, -12), fontsize="small")
    left.set(xlabel="presence that was said", ylabel="share that was there", xlim=(0, 1), ylim=(-0.02, 1.02))
    names = list(counts)
    table = np.array([[counts[truth][answer] for answer in names] for truth in names])
    share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    right.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(table.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        right.text(column, row, str(table[row, column]), ha="center", va="center", c=colour)
    right.set(xlabel="answer", ylabel="what is so", xticks=range(len(names)), yticks=range(len(names)))
    right.set_xticklabels(names)
    right.set_yticklabels(names)
    figure.savefig(path, dpi=110)
