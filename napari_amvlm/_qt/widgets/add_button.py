"""A button that asks which images to add: files, a folder, or the open ones."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".btf", ".svs", ".dcm", ".nii", ".nii.gz")
"""How the names of image files end that can be read; DICOM files without an ending can be read too."""

_FILTER = f"Images ({' '.join(f'*{ending}' for ending in ENDINGS)});;All files (*)"


class AddButton(QPushButton):
    """A button with a menu.

    Signals
    -------
    pathsPicked : list of Path
        Files, or one folder.
    openImagesRequested
        The images that are open in the viewer are to be added.
    """

    pathsPicked = Signal(object)
    openImagesRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Add images", parent)
        self.setToolTip("Add images to the project, by reference; or drop files and folders on this tab")
        menu = QMenu(self)
        for label, call in (
            ("Files ...", self.choose_files),
            ("A folder ...", self.choose_folder),
            ("Images that are open", self.openImagesRequested.emit),
        ):
            entry = menu.addAction(label)
            if entry is not None:
                entry.triggered.connect(lambda _checked, call=call: call())
        self.setMenu(menu)

    def choose_files(self) -> None:
        """Ask for files."""
        picked, _ = QFileDialog.getOpenFileNames(self, "Images to add to the project", "", _FILTER)
        if picked:
            self.pathsPicked.emit([Path(path) for path in picked])

    def choose_folder(self) -> None:
        """Ask for a folder."""
        picked = QFileDialog.getExistingDirectory(self, "Folder of images to add to the project")
        if picked:
            self.pathsPicked.emit([Path(picked)])
