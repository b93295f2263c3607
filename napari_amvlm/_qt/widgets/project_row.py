"""The project folder that corrections are stored in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton, QWidget

from napari_amvlm._qt.layout import list_box, row_of
from napari_amvlm.wording import SUFFIX, project_name

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEW = "new"
_TIP = Qt.ItemDataRole.ToolTipRole


class ProjectRow(QWidget):
    """A list of projects used before, with "New project..." at its end, and a button to open any other.

    Signals
    -------
    chosen : Path
        A project folder to open, or to make if it is not there.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value: Path | None = None
        self._read_only = False
        self._default: Path | None = None
        self._recent: list[Path] = []
        # widgets
        self._list = list_box("Project")
        self._open = QPushButton("Open...")
        self._open.setToolTip(f"Open a project folder (NAME{SUFFIX})")
        # layout
        row_of(self._list, self._open, wide=self._list, within=self)
        # signals
        self._list.activated.connect(self._on_activated)
        self._open.clicked.connect(self._on_open)
        self._refill()

    def value(self) -> Path | None:
        """Return the open project's folder."""
        return self._value

    def setValue(self, path: Path | None, *, read_only: bool = False) -> None:
        """Show `path` as the open project, and whether it is open for reading only."""
        self._value = path
        self._read_only = read_only
        if path is not None:
            self._recent = [path, *(other for other in self._recent if other != path)][:8]
        self._refill()

    def isReadOnly(self) -> bool:
        """Return whether the open project is shown as open for reading only."""
        return self._read_only

    def setDefault(self, path: Path | None) -> None:
        """Tell where a project is made at the first Accept while none is open."""
        self._default = path
        self._refill()

    def setRecent(self, paths: Sequence[Path]) -> None:
        """Replace the projects used before."""
        self._recent = list(dict.fromkeys(paths))[:8]
        self._refill()

    def recent(self) -> list[Path]:
        """Return the projects used before, newest first."""
        return list(self._recent)

    def _refill(self) -> None:
        names = telling_names(self._recent)
        with QSignalBlocker(self._list):
            self._list.clear()
            if self._value is None:
                name = project_name(self._default) if self._default is not None else "corrections"
                self._list.addItem(f"{name} (new)", None)
            for path in self._recent:
                reading = "read-only: " if self._read_only and path == self._value else ""
                self._list.addItem(f"{reading}{names[path]}", path)
                self._list.setItemData(self._list.count() - 1, str(path), _TIP)
            self._list.insertSeparator(self._list.count())
            self._list.addItem("New project...", _NEW)
            self._list.setItemData(self._list.count() - 1, f"Make a project folder (NAME{SUFFIX}) where you like", _TIP)
            self._list.setCurrentIndex(0)
        shown = self._value or self._default
        use = "Accepted corrections are written here, at once"
        if self._read_only:
            use = "Open for reading only; nothing can be accepted"
        self._list.setToolTip(f"{use}:\n{shown or 'a folder beside the image'}")

    def _on_activated(self, index: int) -> None:
        path = self._list.itemData(index)
        if path == _NEW:
            self._refill()
            self._on_new()
        elif path is not None and path != self._value:
            self._refill()  # the open one is shown until the other one is open
            self.chosen.emit(Path(path))

    def _on_open(self) -> None:
        picked = QFileDialog.getExistingDirectory(self, f"Open a project folder (NAME{SUFFIX})")
        if picked:
            self.chosen.emit(Path(picked))

    def _on_new(self) -> None:
        picked, _ = QFileDialog.getSaveFileName(
            self, "Name the new project", f"corrections{SUFFIX}", options=QFileDialog.Option.DontConfirmOverwrite
        )
        if picked:
            path = Path(picked)
            self.chosen.emit(path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX))


def telling_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return short names of projects, with as many parent folders as tell them apart.

    Examples
    --------
    >>> list(telling_names([Path("a/x.amvlm"), Path("b/x.amvlm"), Path("a/y.amvlm")]).values())
    ['x (a)', 'x (b)', 'y']
    """
    names = {}
    for path in paths:
        others = [other for other in paths if other != path and other.name == path.name]
        parents = path.parent.parts
        deepest = max((len(parents), *(len(other.parent.parts) for other in others)))
        depth = next(
            (n for n in range(1, deepest + 1) if all(other.parent.parts[-n:] != parents[-n:] for other in others)),
            deepest,
        )
        names[path] = f"{project_name(path)} ({Path(*parents[-depth:])})" if others else project_name(path)
    return names


def ask_read_only(parent: QWidget, path: Path) -> bool:
    """Ask whether to open a project for reading only that another program has open, or whose disk is read-only."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("The project cannot be written to")
    box.setText(f"{project_name(path)} is open in another program, or its disk is read-only. Open it for reading only?")
    box.setInformativeText("You can look at its images and masks here, but nothing can be accepted.")
    reading = box.addButton("Open for reading only", QMessageBox.ButtonRole.AcceptRole)
    box.setDefaultButton(box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole))
    box.exec()
    return box.clickedButton() is reading
