"""A real napari window with all docks, for the scripts that write pictures."""

import shutil
from pathlib import Path

import PIL.Image
from qtpy.QtCore import QElapsedTimer, QSettings

from napari_amvlm._qt.demo.event_loop import wait_until
from napari_amvlm._sample_data import sample_folder
from napari_amvlm.imaging import read_folder, read_mask
from tests._qt.day import Desk

SIZE = (1280, 800)
PATIENCE = 900.0
_LAST_FRAME = 700
"""Milliseconds after which the canvas shows what it was told."""


def forget_settings(folder):
    """Read and write nothing of the person's own settings."""
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))


def sample_files(name, folder):
    """Copy the images of a sample into `folder`; return them, and the true mask or class values of each by name."""
    files, truth = [], {}
    for pair in read_folder(sample_folder(name)).pairs:
        if pair.mask is not None:
            files.append(Path(shutil.copy(pair.image, folder)))
            truth[files[-1].name] = read_mask(pair.mask)
    return files, truth


def new_desk(theme, model):
    """Open a window with the docks."""
    import napari

    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.theme = theme
    viewer.window.resize(*SIZE)
    return Desk(viewer, model)


def close_desk(desk):
    """Stop all work, and close the window."""
    desk.workspace.shut_down()
    desk.viewer.close()


def wait(condition):
    """Wait until `condition` has held once."""
    wait_until(condition, seconds=PATIENCE, what="a step of the day")


def settle():
    """Wait until the last frame is drawn."""
    clock = QElapsedTimer()
    clock.start()
    wait_until(lambda: clock.elapsed() > _LAST_FRAME, seconds=30, what="the last frame")


def screenshot(desk):
    """Return the whole window as it looks."""
    settle()
    pixels = desk.viewer.window.screenshot(flash=False, canvas_only=False)
    return PIL.Image.fromarray(pixels[..., :3])
