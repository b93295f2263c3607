"""The next images of the queue are predicted in the background, and give way to everything else."""

import threading

import numpy as np
import PIL.Image
import pytest

from napari_amvlm._qt.queue import ahead, open_image
from napari_amvlm._qt.queue.ahead import AheadThread, ReadyImage
from napari_amvlm._qt.queue.dock import QueueDock
from napari_amvlm._qt.settings import Preferences
from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
from napari_amvlm._qt.workers import CallThread
from napari_amvlm.project import Project
from tests._qt.conftest import TIMEOUT, picture


@pytest.fixture
def queue(bench, tmp_path, monkeypatch):
    """Return a queue of four files in an open project, the prompt "nuclei", and two images ahead."""
    monkeypatch.setattr(ahead, "COUNT", 2)
    bench.viewer.layers.clear()
    with Project.create(tmp_path / "p.amvlm") as project:
        for number in range(4):
            path = tmp_path / f"tile-{number}.png"
            PIL.Image.fromarray(picture(number)).save(path)
            project.images.add_file(path)
    dock = QueueDock(bench.viewer, bench.workspace)
    bench.viewer.window.add_dock_widget(dock, name="Queue")
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.wait(lambda: bench.workspace.view is not None)
    bench.workspace.prompts[:] = ["nuclei"]
    dock.queue.ahead.update()
    return dock


def _ready(queue):
    return [item.image_id for item in queue.queue.items() if item.image_id in queue.queue.ahead]


def _statuses(queue):
    return [entry.status for entry in queue.panel.list.value()]


def test_next_shows_the_mask_that_a_run_would_give(bench, queue):
    bench.wait(lambda: len(_ready(queue)) == 2)
    listed = _statuses(queue)
    bench.annotate.next_item()
    bench.idle()
    annotation = bench.annotate.annotation()
    shown = annotation.mask("nuclei").copy()
    annotation.forget("nuclei")
    bench.annotate.run()
    bench.idle()

    assert listed == ["predicted", "predicted", "new", "new"]
    assert shown.any()
    np.testing.assert_array_equal(shown, annotation.mask("nuclei"))


def test_the_images_that_come_next_follow_the_person(bench, queue):
    bench.wait(lambda: len(_ready(queue)) == 2)

    bench.annotate.next_item()
    bench.wait(lambda: "new" not in _statuses(queue)[:3])
    bench.idle()

    assert _statuses(queue) == ["predicted", "predicted", "predicted", "new"]


def test_another_prompt_makes_what_is_ready_out_of_date(bench, queue):
    bench.wait(lambda: len(_ready(queue)) == 2)

    bench.workspace.prompts.append("gland")
    image_id = queue.queue.items()[0].image_id
    out_of_date = queue.queue.ahead.get(image_id)
    queue.queue.ahead.update()
    bench.wait(lambda: len(_ready(queue)) == 2)

    assert out_of_date is None
    assert [each.prompt for each in queue.queue.ahead.get(image_id).predictions] == ["nuclei", "gland"]


def test_words_that_were_not_taught_count_as_no_mask(bench, queue):
    bench.workspace.prompts[:] = ["heart"]
    queue.queue.ahead.update()
    bench.wait(lambda: len(_ready(queue)) == 2)
    bench.annotate.next_item()
    bench.idle()

    assert set(_statuses(queue)) == {"new"}
    assert bench.annotate.annotation().has_run("heart")
    assert not bench.annotate.annotation().mask("heart").any()


def test_another_text_model_makes_what_is_ready_out_of_date(bench, queue, text_models):
    bench.workspace.prompts[:] = ["stroma"]
    queue.queue.ahead.update()
    bench.wait(lambda: len(_ready(queue)) == 2)

    bench.workspace.use_text_model(str(text_models["clipseg"]))
    bench.wait(lambda: bench.workspace.predictor.text_model is not None)
    bench.idle()
    bench.wait(lambda: len(_ready(queue)) == 2)
    bench.annotate.next_item()
    bench.idle()

    assert bench.annotate.annotation().results["stroma"].prediction.by == "tiny-clipseg"


def test_a_request_of_the_person_stops_the_background(bench, queue, monkeypatch):
    monkeypatch.setattr(ahead, "COUNT", 4)
    bench.wait(lambda: any(isinstance(thread, AheadThread) for thread in bench.workspace.threads()))
    thread = next(thread for thread in bench.workspace.threads() if isinstance(thread, AheadThread))

    done = threading.Event()
    request = CallThread(lambda: done.wait(TIMEOUT / 1000))
    bench.workspace.start(request)
    bench.wait(lambda: thread not in bench.workspace.threads())
    beside = [each for each in bench.workspace.threads() if each is not request]
    done.set()
    bench.wait(lambda: len(_ready(queue)) == 4)

    assert beside == []


def test_an_image_that_is_gone_is_passed_by(bench, queue, tmp_path):
    (tmp_path / "tile-0.png").unlink()
    queue.queue.ahead._ready.clear()
    queue.queue.ahead.update()

    bench.wait(lambda: len(queue.queue.ahead._failed) + len(_ready(queue)) == 2)
    bench.idle()

    assert bench.status() == "" or "tile-0" not in bench.status()


def test_what_is_ready_is_bounded():
    image = ReadyImage(np.zeros((64, 64), np.uint8), (), ScaleSettings())

    assert image.nbytes == 64 * 64
    assert ahead.KEPT_BYTES <= 1 << 30


def test_a_prompt_that_is_taken_off_the_list_makes_what_is_ready_out_of_date_at_once(bench, queue):
    bench.workspace.prompts.append("gland")
    queue.queue.ahead.update()
    bench.wait(lambda: len(_ready(queue)) == 2)
    bench.annotate.refresh()

    bench.annotate.panel.prompts.removed.emit("gland")
    after = _statuses(queue)
    bench.wait(lambda: len(_ready(queue)) == 2)
    bench.annotate.next_item()
    bench.idle()

    assert after == ["new"] * 4
    assert bench.annotate.annotation().mask("nuclei").any()


def test_next_puts_each_mask_into_the_viewer_once_also_when_an_older_image_makes_room(bench, queue, monkeypatch):
    monkeypatch.setattr(open_image, "preferences", lambda: Preferences(kept_images=2))
    bench.workspace.prompts[:] = ["nuclei", "gland"]
    queue.queue.ahead.update()
    added = []
    bench.viewer.layers.events.inserted.connect(lambda event: added.append(event.value.name))
    for _ in range(3):
        item = next(queue.queue._ahead_of_current(1))
        bench.wait(lambda item=item: item.image_id in queue.queue.ahead)
        added.clear()
        bench.annotate.next_item()
        bench.idle()

    assert sorted(added) == sorted(layer.name for layer in bench.viewer.layers if item.name in layer.name)
    assert len(added) == 3


def test_a_project_for_reading_only_says_nothing_when_images_are_opened(bench, queue, tmp_path):
    bench.wait(lambda: len(_ready(queue)) == 2)
    with Project.create(tmp_path / "other.amvlm"):
        pass
    bench.workspace.open_project(tmp_path / "other.amvlm")
    bench.idle()
    bench.workspace.open_project(tmp_path / "p.amvlm", read_only=True)
    bench.idle()
    said = []
    bench.workspace.said.connect(lambda level, text: said.append(text) if level == "error" else None)
    bench.workspace.prompts[:] = ["nuclei"]
    queue.queue.ahead.update()
    bench.wait(lambda: len(_ready(queue)) == 2)

    bench.annotate.next_item()
    bench.idle()

    assert bench.workspace.project.read_only
    assert bench.annotate.annotation().mask("nuclei").any()
    assert said == []


def test_the_queue_says_nothing_of_another_image(bench, queue):
    bench.workspace.said.emit("error", "the image tile-9.png was not found: put it back.")
    bench.annotate.next_item()
    bench.idle()

    assert queue.panel.status.value() == ("info", "")
