"""Write the pictures of the manual from the real interface: docs/pictures, for the tutorials and the README.

    .ci/display python -m tests._qt.manual_pictures docs/pictures [--model FILE] [--minutes 0.4]

`make pictures` does it. It works on the sample images, with their true masks in the place of what a person would paint.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from napari_amvlm._qt.widgets.budget import Budget
from tests._qt.day import Day, walk
from tests._qt.stage import close_desk, forget_settings, new_desk, sample_files, screenshot, wait

ACCEPTED = 8
LUNGS = {"right lung": 1, "left lung": 2}
"""Prompt, and its value in the masks of the sample."""

BLOOD = {
    "4193474b2f1c": [((60, 150), (150, 220)), ((20, 100), (40, 130))],
    "8f27ebc74164": [((60, 30), (180, 95)), ((200, 130), (240, 150))],
    "57bd029b19c1": [((190, 5), (235, 15))],
    "52a6b8ae4c8e": [],
    "87ea72894f65": [],
}
"""Tiles of the new word's tutorial, in order, and the strokes that a person paints on each: ends, row and column."""

LOOP = {
    "pathology-2-prompt": "1  Type what you look for: a mask comes at once",
    "pathology-3-accepted": "2  Correct it with napari's own tools, and accept",
    "pathology-5-learning": "3  It learns in the background from what you accepted, and from the rest",
    "pathology-6-compare": "4  Before and after, side by side, on images that it never learnt from",
    "pathology-4-queue": "5  Next: the image that teaches most",
}
LOOP_SIZE = (880, 550)
LOOP_BYTES = 950_000
LOOP_SECONDS = 2.8
_STEPS = {
    "1": "pathology-1-project",
    "2": "pathology-2-prompt",
    "3": "pathology-3-accepted",
    "4": "pathology-4-queue",
    "5b": "pathology-6-compare",
    "8": "pathology-7-export",
}
PICTURES = (
    *_STEPS.values(),
    "pathology-5-learning",
    "xray-1-prompts",
    "xray-2-accepted",
    "xray-3-question",
    "xray-4-compare",
    "xray-5-export",
    "new-word-1-strokes",
    "new-word-2-accepted",
    "new-word-3-learnt",
    "new-word-4-seen",
)
"""Every picture of the tutorials; the test of the manual compares them with its pages."""


def main():
    """Walk through both tutorials, write every picture, and then the moving one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--minutes", type=float, default=0.4)
    parser.add_argument("--only", choices=TUTORIALS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    album = Album(options.folder)
    with tempfile.TemporaryDirectory() as work:
        forget_settings(Path(work))
        for name in [options.only] if options.only else TUTORIALS:
            desk = new_desk("dark", options.model)
            TUTORIALS[name](desk, Path(work), album, options.minutes)
            close_desk(desk)
    if not options.only:
        album.write_loop()


@dataclass(frozen=True)
class Album:
    """Where the pictures go."""

    folder: Path

    def take(self, name, desk):
        """Write the window as `NAME.jpg`: a third of a PNG's size where tissue fills it, and letters stay sharp."""
        screenshot(desk).save(self.folder / f"{name}.jpg", quality=84, subsampling=0, optimize=True)

    def step(self, name, desk):
        """Write a step of the day, if the tutorial tells of it."""
        known = _STEPS.get(name.split()[0])
        if known is not None:
            self.take(known, desk)

    def write_loop(self):
        """Write `loop.gif`: the steps one after the other, each with its sentence."""
        frames = [_captioned(PIL.Image.open(self.folder / f"{name}.jpg"), words) for name, words in LOOP.items()]
        path = self.folder / "loop.gif"
        for colours in (256, 128, 64, 32):
            _write_gif(path, frames, colours)
            if path.stat().st_size <= LOOP_BYTES:
                return


def _pathology(desk, work, album, minutes):
    folder = work / "tiles"
    folder.mkdir()
    files, values = sample_files("nuclei", folder)
    truth = {name: mask > 0 for name, mask in values.items()}
    day = Day(desk, work / "breast.amvlm", truth, wait=wait, picture=album.step)
    walk(day, files, ACCEPTED)
    _hold_out_one_more(day)
    desk.learn.panel.budget.setValue(Budget("auto", minutes))
    _learn(day, album, "pathology-5-learning")
    day.compare()
    day.serve()
    day.export(work / "masks.json")


def _xray(desk, work, album, minutes):
    folder = work / "x-rays"
    folder.mkdir()
    files, values = sample_files("lungs", folder)
    day = Day(desk, work / "chest.amvlm", values, wait=wait, picture=lambda *_: None)
    day.new_project(files)
    desk.show("Annotate")
    desk.queue.panel.step.next.click()
    day.idle()
    desk.annotate.panel.prompt.setValue("; ".join(LUNGS))
    desk.annotate.run()
    wait(desk.annotate.prompts.is_running)
    day.idle()
    desk.annotate.panel.prompt.lineEdit().clear()
    album.take("xray-1-prompts", desk)
    _accept_lungs(day)
    desk.annotate.toggle_reviewed()
    day.idle()
    album.take("xray-2-accepted", desk)
    desk.annotate.toggle_reviewed()
    for _ in files[1:]:
        day.next_image()
        _accept_lungs(day)
    desk.learn.panel.budget.setValue(Budget("auto", max(0.1, minutes / 3)))
    _learn(day, album, None)
    album.take("xray-3-question", desk)
    desk.learn.panel.question.answer("Keep the current model")
    day.idle()
    day.picture = lambda _name, shown: album.take("xray-4-compare", shown)
    day.compare()
    day.picture = lambda *_: None
    desk.show("Queue")
    desk.queue.panel.list._status.setCurrentText("accepted")
    day.export(work / "lungs.json")
    album.take("xray-5-export", desk)


def _new_word(desk, work, album, minutes):
    folder = work / "blood"
    folder.mkdir()
    files, _ = sample_files("nuclei", folder)
    day = Day(desk, work / "blood.amvlm", {}, wait=wait, picture=lambda *_: None)
    day.new_project([folder / f"{stem}{files[0].suffix}" for stem in BLOOD])
    desk.show("Annotate")
    annotate = desk.annotate
    annotate.panel.brush.spread.setCurrentIndex(2)
    annotate.panel.prompt.setValue("blood")
    for number, strokes in enumerate(BLOOD.values()):
        desk.queue.panel.step.next.click()
        day.idle()
        annotate.run()
        day.idle()
        if number == len(BLOOD) - 1:
            break
        for ends in strokes:
            _stroke(day, "blood", *ends)
        if number == 0:
            album.take("new-word-1-strokes", desk)
        annotate.accept()
        day.idle()
        if annotate.panel.confirm.text():
            annotate.panel.confirm.yes.click()
            day.idle()
        if number == 1:
            album.take("new-word-2-accepted", desk)
    desk.learn.panel.budget.setValue(Budget("auto", 2 * minutes))
    _learn(day, album, "new-word-3-learnt")
    if "Serve anyway" in desk.learn.panel.question.answers():
        desk.learn.panel.question.answer("Serve anyway")
        day.idle()
    else:
        day.serve()
    desk.show("Annotate")
    annotate.run()
    day.idle()
    album.take("new-word-4-seen", desk)


def _stroke(day, prompt, first, last):
    """Paint one stroke with the brush, and wait for what follows it."""
    layer = day.desk.annotate.annotation().layers[prompt]
    layer.brush_size = 7
    layer.mode = "paint"
    with layer.block_history():
        for share in np.linspace(0, 1, 40):
            layer.paint(tuple(np.array(first) * (1 - share) + np.array(last) * share), layer.selected_label)
    day.idle()


def _accept_lungs(day):
    """Paint what is wrong of each lung, and accept both."""
    annotate = day.desk.annotate
    annotation = annotate.annotation()
    values = day.truth[annotation.image.name]
    for prompt, value in LUNGS.items():
        annotate.panel.prompts.setCurrent(prompt)
        day.idle()
        true = values == value
        wrong = np.nonzero(annotation.mask(prompt) != true)
        label = day.desk.workspace.styles.of(prompt).value
        annotation.layer(prompt).data_setitem(wrong, true[wrong].astype(np.int32) * label)
        annotate.panel.accept_button.click()
        day.idle()


def _hold_out_one_more(day):
    """Hold a third image out, so that there is a verdict; one in four is by itself."""

    def hold_out(project):
        learnt_from = next(image for image in project.images.accepted() if not image.held_out)
        project.images.set_held_out(learnt_from.id, True)

    day.desk.workspace.with_project(hold_out)
    day.idle()


def _learn(day, album, name):
    """Let a run go to its end, pictured when half of it is over."""
    learn = day.desk.learn
    day.desk.show("Learn")
    learn.panel.start_button.click()
    if name is not None:
        wait(lambda: (learn.panel.progress.value() or 0) > 0.5 or day.desk.workspace.learning() is None)
        album.take(name, day.desk)
    wait(lambda: day.desk.workspace.learning() is None)
    day.idle()


def _captioned(picture, words):
    small = picture.convert("RGB").resize(LOOP_SIZE, PIL.Image.Resampling.LANCZOS)
    band = 44
    frame = PIL.Image.new("RGB", (LOOP_SIZE[0], LOOP_SIZE[1] + band), "#14181d")
    frame.paste(small, (0, band))
    font = PIL.ImageFont.load_default(size=20)
    PIL.ImageDraw.Draw(frame).text((14, band // 2), words, fill="white", font=font, anchor="lm")
    return frame


def _write_gif(path, frames, colours):
    # the method that keeps the few bright colours of masks and curves
    method, dither = PIL.Image.Quantize.FASTOCTREE, PIL.Image.Dither.NONE
    few = [frame.quantize(colours, method=method, dither=dither) for frame in frames]
    few[0].save(path, save_all=True, append_images=few[1:], duration=round(1000 * LOOP_SECONDS), loop=0, optimize=True)


TUTORIALS = {"pathology": _pathology, "xray": _xray, "new-word": _new_word}

if __name__ == "__main__":
    main()
