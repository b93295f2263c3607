"""Colours and icons of the napari theme in use, for what a style sheet does not reach."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from napari.resources import get_icon_path
from napari.utils.theme import get_theme
from qtpy.QtCore import QByteArray, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer

_SVG_TAG = re.compile(r"(<svg[^>]*>)")


@dataclass(frozen=True)
class Colours:
    """Theme colours as `#rrggbb`; `accent` and `second` stand out on `background` in light and dark."""

    background: str
    foreground: str
    text: str
    muted: str
    icon: str
    accent: str
    second: str
    warning: str
    error: str


def theme_colours(theme_id: str) -> Colours:
    """Return the colours of the napari theme called `theme_id`."""
    theme = get_theme(theme_id)
    dark = theme.type == "dark"
    return Colours(
        background=_hex(theme.background),
        foreground=_hex(theme.foreground),
        text=_hex(theme.text),
        muted="#9aa3ad" if dark else "#5c6066",
        icon=_hex(theme.icon),
        accent="#5fb4ff" if dark else "#1f5fbf",
        second="#ffb454" if dark else "#b35900",
        warning="#f0c040" if dark else "#8a6100",
        error="#ff7b72" if dark else "#b3121f",
    )


def theme_icon(name: str, colour: str, side: int = 32) -> QIcon:
    """Return napari's own icon called `name`, painted in `colour`."""
    svg = Path(get_icon_path(name)).read_text(encoding="utf-8")
    style = f'<style type="text/css">path, rect, circle, polygon {{fill: {colour};}}</style>'
    renderer = QSvgRenderer(QByteArray(_SVG_TAG.sub(rf"\1{style}", svg, count=1).encode()))
    pixmap = QPixmap(QSize(side, side))
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    renderer.render(painter)
    painter.end()
    return QIcon(pixmap)


def _hex(colour: object) -> str:
    as_rgb = getattr(colour, "as_rgb_tuple", None)
    if as_rgb is None:
        return QColor(str(colour)).name()
    red, green, blue, *_ = as_rgb()
    return QColor(int(red), int(green), int(blue)).name()
