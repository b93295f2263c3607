"""The whole day of an annotator in a real viewer, with real files, a real project and a tiny real model."""

import json

import numpy as np
import PIL.Image
import pytest

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm.config import LearningConfig
from napari_amvlm.project import Project
from napari_amvlm.session.learning_run import LearningRun
from tests._qt.conftest import TIMEOUT, picture
from tests._qt.day import PROMPT, Day, Desk, walk

SHORT = LearningConfig(minutes=None, steps=6, crop=64, labelled_batch=2, unlabelled_batch=1, validations=1, keep="last")
ACCEPTED = 8


@pytest.mark.slow
def test_an_annotators_day(make_napari_viewer, qtbot, tiny_checkpoint, tmp_path):
    files, truth = [], {}
    for seed in range(12):
        pixels = picture(seed)
        files.append(tmp_path / f"tile-{seed:02d}.png")
        PIL.Image.fromarray(pixels).save(files[-1])
        truth[files[-1].name] = pixels[..., 0] < 150
    root, steps = tmp_path / "day.amvlm", list[str]()
    day = Day(
        Desk(make_napari_viewer(), tiny_checkpoint),
        root,
        truth,
        wait=lambda condition: qtbot.waitUntil(condition, timeout=TIMEOUT),
        picture=lambda name, _desk: steps.append(name),
    )

    walk(day, files, ACCEPTED)
    project = day.desk.workspace.project
    for correction in project.corrections.select():
        name = project.images.get(correction.image_id).name
        np.testing.assert_array_equal(project.corrections.mask(correction), truth[name])
    # one in four is held out by itself; a third one is, by hand, so that there is a verdict
    learnt_from = next(image for image in project.images.accepted() if not image.held_out)
    project.images.set_held_out(learnt_from.id, True)
    day.desk.learn.make_run = lambda opened, predictor, _config, **options: LearningRun(
        opened, predictor, SHORT, **options
    )
    installed = day.desk.workspace.served_key()
    day.learn()
    judged = day.desk.learn.panel.scores.value()
    day.compare()
    compared = day.desk.learn.panel.scores.value()
    day.serve()
    served = day.desk.workspace.served_key()
    day.roll_back()
    rolled_back = day.desk.workspace.served_key()
    image, zoom = day.desk.annotate.annotation().image.name, camera_of(day.desk.viewer).zoom * 1.7
    closed = day.desk.viewer.window
    day.close()
    # the viewer's own clean-up after the test does not expect a window that was closed by hand
    del closed._qt_window
    day.reopen(Desk(make_napari_viewer(), tiny_checkpoint))
    reopened = (day.desk.annotate.annotation().image.name, camera_of(day.desk.viewer).zoom)
    day.export(tmp_path / "masks.json")

    assert len(judged) == 3
    assert [entry.after for entry in judged] == sorted(entry.after for entry in judged)
    assert {entry.key for entry in compared} == {entry.key for entry in judged}
    assert [entry.after for entry in compared] == sorted(entry.after for entry in compared)
    assert served != installed
    assert rolled_back == installed
    assert reopened == (image, pytest.approx(zoom))
    assert day.desk.annotate.panel.prompts.current() == PROMPT
    exported = json.loads((tmp_path / "masks.json").read_text(encoding="utf-8"))
    assert len(exported["images"]) == ACCEPTED
    assert steps == sorted(steps)
    assert len(steps) == 9
    day.desk.workspace.shut_down()
    with Project.open(root) as again:
        assert len(again.corrections.select()) == ACCEPTED
        assert again.runs.all()[0].state == "finished"
        assert [serving.model_id for serving in again.models.servings()] == [1, None]
