"""Pictures of a run: its curves, and outlines of what was found over what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.imaging import binary_mask, read_image, read_mask, to_rgb01

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.evaluation import PromptPredictor
    from napari_amvlm.imaging import ImagePair

_SIZE = (720, 360)
_MARGIN = 44
_LOSS, _DICE, _INK, _GRID = (0, 114, 178), (213, 94, 0), (60, 60, 60), (225, 225, 225)
_RIGHT, _FOUND = (0, 220, 90), (255, 0, 200)
_LONG_SIDE, _WINDOW = 640, 400
_SMOOTHING = 25


def draw_curves(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the loss of every step (smoothed, scaled to its own range) and the Dice of every validation.

    Parameters
    ----------
    records
        Lines of the run's log.
    path
        PNG file to write.
    """
    steps = [(r["step"], r["loss"]) for r in records if r.get("event") == "step" and np.isfinite(r["loss"])]
    scores = [(r["step"], r["dice"]) for r in records if r.get("event") == "validation"]
    canvas = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(canvas)
    last = max([x for x, _ in (*steps, *scores)], default=1) or 1
    for tenth in range(0, 11, 2):
        y = _point(0, tenth / 10, 1)[1]
        draw.line([(_MARGIN, y), (_SIZE[0] - _MARGIN, y)], fill=_GRID)
        draw.text((10, y - 6), f"{tenth / 10:.1f}", fill=_DICE)
    draw.text((_MARGIN, _SIZE[1] - 24), "step 0", fill=_INK)
    draw.text((_SIZE[0] - 2 * _MARGIN, _SIZE[1] - 24), f"step {last}", fill=_INK)
    if steps:
        values = np.array([loss for _, loss in steps])
        smooth = ndimage.uniform_filter1d(values, min(_SMOOTHING, len(values)), mode="nearest")
        low, high = float(smooth.min()), float(smooth.max())
        spread = high - low or 1.0
        line = [_point(x, (y - low) / spread, last) for (x, _), y in zip(steps, smooth.tolist(), strict=True)]
        _line(draw, line, _LOSS)
        draw.text((_MARGIN, 8), f"loss, {low:.3f} to {high:.3f}", fill=_LOSS)
    _line(draw, [_point(x, y, last) for x, y in scores], _DICE)
    for x, y in (_point(x, y, last) for x, y in scores):
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=_DICE)
    draw.text((_SIZE[0] // 2, 8), "Dice on validation images, 0 to 1", fill=_DICE)
    canvas.save(path)


def spread_by_score(per_image: Mapping[str, Mapping[str, float]], count: int) -> list[str]:
    """Return up to `count` names from the worst Dice to the best, evenly spread between them."""
    ranked = sorted(per_image, key=lambda name: (per_image[name]["dice"], name))
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[i] for i in dict.fromkeys(places.tolist())]


def draw_overlay(
    predictor: PromptPredictor,
    pair: ImagePair,
    asked: Mapping[str, int | None],
    texts: Mapping[str, str],
    scale: ScaleName,
    path: Path,
) -> None:
    """Draw an image, of small objects its middle, with outlines of the masks (green) and of what was found (magenta).

    Parameters
    ----------
    predictor
        Finds the masks.
    pair
        Image and mask file.
    asked, texts
        What is asked with its mask value, and the text to ask it with.
    scale
        Working scale.
    path
        PNG file to write.
    """
    image = read_image(pair.image).data
    labels = read_mask(pair.required_mask(), image.shape[:2])
    pixels = (to_rgb01(image, name=pair.name) * 255).astype(np.uint8)
    predictor.set_image(image)
    width = max(1, round(max(labels.shape) / _LONG_SIDE)) if scale == "whole" else 1
    for thing, value in asked.items():
        found = predictor.predict(texts[thing], scale=scale).probability >= THRESHOLD
        pixels[_outline(binary_mask(labels, value), width)] = _RIGHT
        pixels[_outline(found, width)] = _FOUND
    if scale == "tiles":
        top, left = (max(0, (side - _WINDOW) // 2) for side in labels.shape)
        pixels = pixels[top : top + _WINDOW, left : left + _WINDOW]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((_LONG_SIDE, _LONG_SIDE))
    picture.save(path)


def _outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    return np.asarray(mask & ~ndimage.binary_erosion(mask, iterations=width))


def _point(x: float, y: float, last: float) -> tuple[float, float]:
    """Return where step `x` of `last` and height `y` in [0, 1] lie on the canvas."""
    across, up = _SIZE[0] - 2 * _MARGIN, _SIZE[1] - 2 * _MARGIN
    return _MARGIN + across * x / last, _SIZE[1] - _MARGIN - up * min(max(y, 0.0), 1.0)


def _line(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    if len(points) > 1:
        draw.line(points, fill=colour, width=2)
