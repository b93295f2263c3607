"""The queue items of a project: a picture, a name and a status each, and filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_amvlm._qt.layout import row_of
from napari_amvlm._qt.timers import single_shot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PICTURE = 40
"""Side of a picture in the list, pixels."""

NO_ENTRIES = "No images yet: press Add images, or drop files or folders here."
NONE_LISTED = "No image is listed with this status and name."

_KEY = Qt.ItemDataRole.UserRole
FILTERS: dict[str, tuple[str, ...]] = {
    "to do": ("new", "predicted", "in work"),
    "all": ("new", "predicted", "in work", "accepted", "skipped"),
    "new": ("new",),
    "predicted": ("predicted",),
    "in work": ("in work",),
    "accepted": ("accepted",),
    "skipped": ("skipped",),
}


@dataclass(frozen=True)
class QueueEntry:
    """One queue item as it is shown.

    `picture` is the id of the image that its thumbnail is made of, `why` says for each prompt how it was scored.
    """

    key: int
    name: str
    status: str
    picture: int
    held_out: bool = False
    why: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the line of text."""
        return f"{self.name}\n{self.status}{', judges models' if self.held_out else ''}"

    def tip(self) -> str:
        """Return the text of the tooltip."""
        return "\n".join([self.text(), *self.why])


class QueueList(QWidget):
    """A list with filters by status and by name.

    Signals
    -------
    chosen : int
        The key of an item to open.
    filtered : tuple of str
        The statuses that are listed from now on.
    picturesWanted : list of int
        Ids of images in view that have no thumbnail yet.
    """

    chosen = Signal(int)
    filtered = Signal(object)
    picturesWanted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: list[QueueEntry] = []
        self._current: int | None = None
        self._pictures: dict[int, QIcon] = {}
        self._requested: set[int] = set()
        # widgets
        self._status = QComboBox()
        self._status.addItems(list(FILTERS))
        self._status.setAccessibleName("Status to list")
        self._status.setToolTip("Which images are listed; Next and Back stop at these")
        self._name = QLineEdit()
        self._name.setPlaceholderText("name contains")
        self._name.setClearButtonEnabled(True)
        self._name.setAccessibleName("Part of a name to list")
        self._name.setToolTip("Only images whose name contains this are listed")
        self._list = QListWidget()
        self._list.setIconSize(QSize(PICTURE, PICTURE))
        self._list.setUniformItemSizes(True)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self._list.setMinimumHeight(160)
        self._list.setAccessibleName("Images of the project")
        self._list.setToolTip("Double-click, or Enter, opens an image")
        self._hint = QLabel()
        self._hint.setWordWrap(True)
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._hint.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)  # it lies on the entries
        self._empty = QIcon(_pixmap(np.full((PICTURE, PICTURE, 3), 110, np.uint8)))
        # a moment after the last movement, so that scrolling asks once
        self._settle = single_shot(self, 60, self._ask_for_pictures)
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row_of(self._status, self._name, wide=self._name))
        column.addWidget(self._list, 1)
        QVBoxLayout(self._list).addWidget(self._hint)
        self._refill()
        # signals
        self._status.currentIndexChanged.connect(self._on_filter)
        self._name.textChanged.connect(self._refill)
        self._list.itemActivated.connect(lambda item: self.chosen.emit(int(item.data(_KEY))))
        bar = self._list.verticalScrollBar()
        if bar is not None:
            bar.valueChanged.connect(lambda _value: self._settle.start())

    def value(self) -> list[QueueEntry]:
        """Return the entries that are listed, in order."""
        part = self._name.text().casefold()
        return [e for e in self._entries if e.status in self.statuses() and part in e.name.casefold()]

    def setValue(self, entries: Sequence[QueueEntry], current: int | None) -> None:
        """Replace the entries, and mark the current one."""
        if list(entries) == self._entries and current == self._current:
            return
        self._entries, self._current = list(entries), current
        self._refill()

    def hint(self) -> str:
        """Return what is said in place of the entries; empty where there are some."""
        return self._hint.text()

    def statuses(self) -> tuple[str, ...]:
        """Return the statuses that are listed."""
        return FILTERS[self._status.currentText()]

    def setStatuses(self, name: str) -> None:
        """Choose a filter by its name, a key of `FILTERS`."""
        self._status.setCurrentText(name)

    def addPictures(self, pictures: Mapping[int, np.ndarray]) -> None:
        """Show thumbnails, uint8 (h, w, 3), by image id."""
        self._pictures.update({key: QIcon(_pixmap(picture)) for key, picture in pictures.items()})
        for entry, row in zip(self.value(), range(self._list.count()), strict=True):
            item = self._list.item(row)
            if item is not None and entry.picture in pictures:
                item.setIcon(self._pictures[entry.picture])

    def forgetPictures(self) -> None:
        """Forget the thumbnails: another project has other images."""
        self._pictures.clear()
        self._requested.clear()
        self._refill()

    def _refill(self) -> None:
        with QSignalBlocker(self._list):
            self._list.clear()
            for entry in self.value():
                item = QListWidgetItem(self._pictures.get(entry.picture, self._empty), entry.text())
                item.setData(_KEY, entry.key)
                item.setToolTip(entry.tip())
                font = item.font()
                font.setBold(entry.key == self._current)
                item.setFont(font)
                self._list.addItem(item)
                if entry.key == self._current:
                    self._list.setCurrentItem(item)
        none = NONE_LISTED if self._entries else NO_ENTRIES
        self._hint.setText("" if self._list.count() else none)
        self._settle.start()

    def _on_filter(self) -> None:
        self._refill()
        self.filtered.emit(self.statuses())

    def _ask_for_pictures(self) -> None:
        listed = self.value()
        area = self._list.viewport()
        if not listed or area is None:
            return
        first = max(0, self._list.indexAt(area.rect().topLeft()).row())
        last = self._list.indexAt(area.rect().bottomLeft()).row()
        seen = listed[first : (len(listed) if last < 0 else last + 1)][:64]
        wanted = list(dict.fromkeys(e.picture for e in seen if e.picture not in self._requested))[:8]
        if wanted:
            self._requested.update(wanted)
            self.picturesWanted.emit(wanted)
            self._settle.start()


def _pixmap(picture: np.ndarray) -> QPixmap:
    """Return a square pixmap with the picture, uint8 (h, w, 3), in its middle."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 4), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width, :3] = picture
    square[top : top + height, left : left + width, 3] = 255
    image = QImage(square.tobytes(), side, side, 4 * side, QImage.Format.Format_RGBA8888)
    return QPixmap.fromImage(image.copy())
