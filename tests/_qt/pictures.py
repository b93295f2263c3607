"""Write screenshots of an annotator's day at 1280 x 800, and of each dock at 320 pixels, to be looked at.

    .ci/display python -m tests._qt.pictures FOLDER [--model FILE] [--theme light] [--minutes 0.2]

It works on the stained tissue of the sample data, with the installed model or the one that is given.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSettings

from napari_amvlm._qt.event_loop import wait_until
from napari_amvlm._qt.widgets.budget import Budget
from napari_amvlm._sample_data import sample_folder
from napari_amvlm.imaging import read_folder, read_mask
from tests._qt.day import Day, Desk, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

SIZE = (1280, 800)
NARROW = 320
PATIENCE = 900.0


def main() -> None:
    """Walk through the day and write a picture of every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--minutes", type=float, default=0.2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        # nothing of the person's own settings
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, work)
        files, truth = _tissue(Path(work))
        day = Day(_desk(options), Path(work) / "breast.amvlm", truth, wait=_wait, picture=_writer(options.folder))
        walk(day, files, accepted=4)
        day.desk.learn.panel.budget.setValue(Budget("auto", options.minutes))
        day.learn()
        day.promote()
        day.roll_back()
        day.close()
        day.reopen(_desk(options))
        _narrow(day, options.folder)
        day.export(Path(work) / "masks.json")
        day.desk.workspace.shut_down()
        day.desk.viewer.close()


def _tissue(work: Path) -> tuple[list[Path], dict[str, np.ndarray]]:
    files, truth = [], {}
    for pair in read_folder(sample_folder("nuclei")).pairs:
        if pair.mask is not None:
            files.append(Path(shutil.copy(pair.image, work)))
            truth[files[-1].name] = read_mask(pair.mask) > 0
    return files, truth


def _desk(options: argparse.Namespace) -> Desk:
    import napari

    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.theme = options.theme
    viewer.window.resize(*SIZE)
    return Desk(viewer, options.model)


def _wait(condition: Callable[[], bool]) -> None:
    came: list[bool] = []

    def has_come() -> bool:
        # once is enough: the queue may begin to load more thumbnails right after it was idle
        if not came and condition():
            came.append(True)
        return bool(came)

    wait_until(has_come, seconds=PATIENCE, what="a step of the day")


def _writer(folder: Path) -> Callable[[str, Desk], None]:
    def write(name: str, desk: Desk) -> None:
        _settle()
        path = folder / f"{name.replace(',', '').replace(' ', '-')}.png"
        desk.viewer.window.screenshot(str(path), flash=False, canvas_only=False)

    return write


def _narrow(day: Day, folder: Path) -> None:
    for name, dock in day.desk.docks.items():
        day.desk.show(name, NARROW)
        _settle()
        dock.grab().save(str(folder / f"dock-{name.lower()}-{dock.width()}.png"))
    for section in (day.desk.annotate.panel.keys._section, day.desk.annotate.panel.objects_section):
        section.expand(animate=False)
    day.desk.annotate.resize(NARROW, 1300)
    day.desk.docks["Annotate"].setFloating(True)
    day.desk.docks["Annotate"].resize(NARROW, 1150)
    _settle()
    day.desk.docks["Annotate"].grab().save(str(folder / "dock-annotate-open.png"))
    day.desk.docks["Annotate"].setFloating(False)


def _settle() -> None:
    from qtpy.QtCore import QElapsedTimer

    clock = QElapsedTimer()
    clock.start()
    wait_until(lambda: clock.elapsed() > 700, seconds=30, what="the last frame")


if __name__ == "__main__":
    main()
