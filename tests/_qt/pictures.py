"""Write screenshots of an annotator's day at 1280 x 800, and of each dock at 320 pixels, to be looked at.

    .ci/display python -m tests._qt.pictures FOLDER [--model FILE] [--theme light] [--minutes 0.2] [--docks]

It works on the stained tissue of the sample data, with the installed model or the one that is given. With --docks only
the docks are pictured, each as tall as it wants to be; QT_SCALE_FACTOR=2 shows them at 200 %.
"""

import argparse
import tempfile
from pathlib import Path

from qtpy.QtWidgets import QScrollArea
from superqt import QCollapsible

from napari_amvlm._qt.widgets.budget import Budget
from tests._qt.day import Day, walk
from tests._qt.stage import close_desk, forget_settings, new_desk, sample_files, screenshot, settle, wait

NARROW = 320


def main():
    """Walk through the day and write a picture of every step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--minutes", type=float, default=0.2)
    parser.add_argument("--docks", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        forget_settings(Path(work))
        files, values = sample_files("nuclei", Path(work))
        truth = {name: mask > 0 for name, mask in values.items()}
        desk = new_desk(options.theme, options.model)
        written = (lambda *_: None) if options.docks else _writer(options.folder)
        day = Day(desk, Path(work) / "breast.amvlm", truth, wait=wait, picture=written)
        walk(day, files, accepted=4)
        day.desk.learn.panel.budget.setValue(Budget("auto", options.minutes))
        day.learn()
        if not options.docks:
            _rest_of_the_day(day, options)
        _docks(day.desk, options.folder)
        if not options.docks:
            day.export(Path(work) / "masks.json")
        close_desk(day.desk)


def _rest_of_the_day(day, options):
    day.compare()
    day.serve()
    day.roll_back()
    day.close()
    day.reopen(new_desk(options.theme, options.model))


def _writer(folder):
    def write(name, desk):
        screenshot(desk).save(folder / f"{name.replace(',', '').replace(' ', '-')}.png")

    return write


def _docks(desk, folder):
    """Picture each tab in a dock of 320 pixels, with everything open and nothing scrolled away."""
    if not desk.learn.comparison.is_open() and desk.learn.panel.compare_button.isEnabled():
        desk.learn.panel.compare_button.click()
        wait(desk.is_idle)
    desk.holder.setFloating(True)
    for name in ("Annotate", "Learn", "Queue"):
        desk.show(name)
        shown = desk.dock.tabs.currentWidget()
        for section in shown.findChildren(QCollapsible):
            section.expand(animate=False)
        settle()
        desk.holder.resize(NARROW, _whole_height(shown))
        settle()
        desk.holder.grab().save(str(folder / f"dock-{name.lower()}-{desk.holder.width()}.png"))
    desk.holder.setFloating(False)
    desk.learn.comparison.close()


def _whole_height(dock):
    areas = [area for area in dock.findChildren(QScrollArea) if area.widget() is not None]
    tallest = max((area.widget().heightForWidth(NARROW - 8) for area in areas), default=0)
    wanted = max((area.widget().sizeHint().height() for area in areas), default=560)
    return max(tallest, wanted) + 60


if __name__ == "__main__":
    main()
