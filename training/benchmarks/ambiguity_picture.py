"""The similarity of one image of each kind with all wordings, drawn as points, as in the publication's figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from training.pretraining.paraphrases import Compared

_COLOURS = {
    "right captions": (0, 114, 178),
    "wrong captions": (213, 94, 0),
    "saying nothing": (120, 120, 120),
}
"""Colours that people with colour blindness tell apart."""
_WIDTH, _LEFT, _LINE, _TOP = 820, 210, 22, 44
_INK, _GRID = (60, 60, 60), (225, 225, 225)


def draw_similarities(states: Mapping[str, Sequence[Compared]], path: Path) -> None:
    """Draw a line for each state, kind of image and group of wordings: a point for each wording, a bar of ± one SD.

    Parameters
    ----------
    states
        Images beside their wordings, by state; the first image of each kind is drawn.
    path
        PNG file to write.
    """
    lines = [
        (f"{name}, {row.kind}", group, [value for values in row.similar[group] for value in values])
        for name, rows in states.items()
        for row in {r.kind: r for r in reversed(rows)}.values()
        for group in _COLOURS
    ]
    canvas = Image.new("RGB", (_WIDTH, _TOP + _LINE * len(lines) + 30), "white")
    draw = ImageDraw.Draw(canvas)
    for place, (group, colour) in enumerate(_COLOURS.items()):
        draw.text((_LEFT + 190 * place, 8), group, fill=colour)
    for tick in np.linspace(-1, 1, 5).tolist():
        draw.line([(_across(tick), _TOP - 8), (_across(tick), canvas.height - 26)], fill=_GRID)
        draw.text((_across(tick) - 10, canvas.height - 20), f"{tick:.1f}", fill=_INK)
    for number, (name, group, values) in enumerate(lines):
        y = _TOP + _LINE * number + _LINE // 2
        if number % len(_COLOURS) == 0:
            draw.text((8, y - 6), name[:32], fill=_INK)
        mean, spread = float(np.mean(values)), float(np.std(values))
        draw.line([(_across(mean - spread), y), (_across(mean + spread), y)], fill=_COLOURS[group], width=1)
        for value in values:
            x = _across(value)
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], outline=_COLOURS[group])
    canvas.save(path)


def _across(value: float) -> float:
    """Return where a cosine in [-1, 1] lies on the canvas."""
    return _LEFT + (_WIDTH - _LEFT - 30) * (min(max(value, -1.0), 1.0) + 1) / 2
