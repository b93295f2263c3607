"""The queue in a real viewer: opening, stepping, filters, thumbnails, and what teaches most."""

import threading

import numpy as np
import PIL.Image
import pytest
import tifffile
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.queue.dock import QueueDock
from napari_amvlm.project import Answer, Project, Region, TileScores
from napari_amvlm.project.ranking import binary_entropy
from napari_amvlm.session.thumbnails import SIDE, thumbnail
from tests._qt.conftest import delete, picture


@pytest.fixture
def queue(bench, tmp_path):
    """Return a queue of four files in an open project, in an otherwise empty viewer."""
    bench.viewer.layers.clear()
    rng = np.random.default_rng(0)
    with Project.create(tmp_path / "p.amvlm") as project:
        for number in range(4):
            path = tmp_path / f"tile-{number}.png"
            PIL.Image.fromarray(rng.integers(0, 255, (80, 64, 3), dtype=np.uint8)).save(path)
            project.images.add_file(path)
    dock = QueueDock(bench.viewer, bench.workspace)
    bench.viewer.window.add_dock_widget(dock, name="Queue")
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()
    return dock


def _visible(bench):
    return [layer.name for layer in bench.viewer.layers if layer.visible]


def _statuses(bench):
    return [item.status for item in bench.workspace.view.queue]


def test_next_and_back_show_one_image_at_a_time(bench, queue):
    for _ in range(2):
        queue.panel.step.next.click()
        bench.idle()
    second = _visible(bench)
    queue.panel.step.previous.click()
    bench.idle()

    assert second == ["tile-1.png"]
    assert _visible(bench) == ["tile-0.png"]
    assert bench.annotate.annotation().image.name == "tile-0.png"
    assert queue.panel.step.value() == "1 of 4, new: tile-0.png"


def test_next_fits_a_plane_beside_a_stack(bench, queue):
    bench.annotate.next_item()
    bench.idle()
    fitted = np.array([*camera_of(bench.viewer).center[-2:], camera_of(bench.viewer).zoom])
    bench.viewer.add_image(np.zeros((5, 300, 400), np.uint8), name="stack")
    bench.idle()

    bench.annotate.previous_item()
    bench.idle()

    assert _visible(bench) == ["tile-3.png"]
    view = np.array([*camera_of(bench.viewer).center[-2:], camera_of(bench.viewer).zoom])
    np.testing.assert_allclose(view, fitted, rtol=0.05)


def test_back_returns_to_the_image_that_was_just_accepted(bench, queue):
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    bench.annotate.next_item()
    bench.idle()

    bench.annotate.previous_item()
    bench.idle()

    assert _visible(bench)[0] == "tile-0.png"


def test_next_wraps_around_from_the_last_to_the_first(bench, queue):
    queue.queue.go(bench.workspace.view.queue[-1].id)
    bench.idle()

    bench.annotate.next_item()
    bench.idle()
    first = _visible(bench)
    bench.annotate.previous_item()
    bench.idle()

    assert first == ["tile-0.png"]
    assert _visible(bench) == ["tile-3.png"]


def test_all_done_is_said_only_when_all_is_done(bench, queue):
    messages = []
    for item in bench.workspace.view.queue[:3]:
        bench.workspace.with_project(lambda project, item=item: project.queue.set_status(item.id, "skipped"))
    bench.idle()
    for _ in range(2):
        bench.annotate.next_item()
        bench.idle()
        messages.append(bench.status())
    shown = _visible(bench)

    queue.panel.skip_button.click()
    bench.idle()

    assert shown == ["tile-3.png"]
    assert messages[1] == "This is the only image left in the list."
    assert bench.status() == "All done: every image of the project is accepted or skipped."


def test_after_sorting_next_is_the_best_of_what_is_to_do(bench, queue):
    bench.workspace.prompts[:] = ["nuclei"]
    queue.queue.go(bench.workspace.view.queue[2].id)
    bench.idle()
    current = queue.queue.current.id
    queue.panel.sort_button.click()
    bench.idle()
    best = next(item for item in bench.workspace.view.queue if item.id != current)

    bench.annotate.next_item()
    bench.idle()

    assert queue.queue.current.id == best.id


@pytest.mark.parametrize("from_file", [True, False])
def test_an_image_that_is_open_already_is_not_opened_again(bench, queue, tmp_path, from_file):
    path = tmp_path / "tile-0.png"
    pixels = np.asarray(PIL.Image.open(path))
    if not from_file:
        pixels = pixels + np.uint8(1)
        bench.workspace.with_project(lambda project: project.images.add_array(pixels, name="an array"))
    bench.viewer.add_image(pixels, name="mine", rgb=True, metadata={"path": str(path)} if from_file else {})
    bench.idle()

    queue.queue.go(bench.workspace.view.queue[0 if from_file else -1].id)
    bench.idle()

    assert [layer.name for layer in bench.viewer.layers] == ["mine"]
    assert bench.annotate.annotation().image_id == queue.queue.current.image_id


def test_statuses_follow_the_work(bench, queue):
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    predicted = _statuses(bench)
    bench.annotate.accept()
    bench.idle()
    bench.annotate.next_item()
    bench.idle()
    queue.panel.skip_button.click()
    bench.idle()

    assert predicted[0] == "predicted"
    assert _statuses(bench) == ["accepted", "skipped", "new", "new"]
    assert _visible(bench) == ["tile-2.png"]


def test_an_image_with_pixels_that_are_no_numbers_is_accepted_as_itself(bench, queue, tmp_path):
    pixels = picture(9)[..., 0].astype(np.float32)
    pixels[:3] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", pixels)
    queue.workspace.with_project(lambda project: project.images.add_file(tmp_path / "nan.tif"))
    bench.idle()
    images = bench.workspace.project.images.all()
    queue.queue.open_image(images[-1].id)
    bench.idle()
    bench.run("nuclei")

    bench.annotate.accept()
    bench.idle()

    assert bench.workspace.project.images.all() == images
    assert [c.image_id for c in bench.workspace.project.corrections.select()] == [images[-1].id]


def test_filters_list_what_they_say(bench, queue):
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()

    bench.wait(lambda: set(queue.panel.list._pictures) == {item.image_id for item in bench.workspace.view.queue})
    to_do = [entry.name for entry in queue.panel.list.value()]
    queue.panel.list.setStatuses("accepted")
    accepted = [entry.name for entry in queue.panel.list.value()]
    queue.panel.list.setStatuses("all")
    queue.panel.list._name.setText("TILE-3")

    assert to_do == ["tile-1.png", "tile-2.png", "tile-3.png"]
    assert accepted == ["tile-0.png"]
    assert [entry.name for entry in queue.panel.list.value()] == ["tile-3.png"]
    assert queue.queue.statuses == queue.panel.list.statuses()


@pytest.mark.parametrize("shape", [(300, 200), (40, 30, 3), (1000, 20), (64, 64)])
def test_a_thumbnail_is_small_and_keeps_its_shape(shape):
    picture = thumbnail(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))

    assert max(picture.shape[:2]) <= SIDE
    assert picture.shape[2] == 3
    assert picture.shape[0] / picture.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.35) or 1 in picture.shape[:2]


def test_what_teaches_most_comes_first_and_is_told_why(bench, queue):
    bench.workspace.prompts[:] = ["nuclei"]

    queue.panel.sort_button.click()
    bench.idle()

    project, items = bench.workspace.project, bench.workspace.view.queue
    units = project.queue.units()
    scores = [project.queue.summaries()[item.id]["nuclei"] for item in items]
    shares = [d / units[0] + e / units[1] for d, e in scores]
    assert shares[0] == max(shares)
    assert all(project.queue.feature(item.id) is not None for item in items)
    assert {item.status for item in items} == {"predicted"}
    assert "disagreement of mask and text evidence" in queue.panel.status.value()[1]
    [first, *_] = queue.panel.list.value()
    assert first.tip().splitlines()[-1] == f"nuclei: disagreement {scores[0][0]:.1%}, doubt {scores[0][1]:.1%}"


def test_regions_of_one_image_are_ordered_too(bench, queue):
    project, image_id = bench.workspace.project, bench.workspace.view.queue[0].image_id
    project.queue.add_regions(image_id, [Region(0, 0, 40, 64), Region(40, 0, 40, 64)])
    bench.workspace.with_project(lambda _project: None)
    bench.idle()
    bench.workspace.prompts[:] = ["nuclei"]

    queue.panel.sort_button.click()
    bench.idle()

    items = bench.workspace.view.queue
    tops = {item.region.y: project.queue.scores(item.id)["nuclei"].tiles[:, 0].min() for item in items if item.region}
    assert [item.position for item in items] == [0, 1, 2, 3, 4]
    assert tops == {0: 0, 40: 40}


def test_after_a_prompt_ran_the_heat_map_is_what_the_order_says(bench, queue):
    bench.workspace.prompts[:] = ["nuclei"]
    queue.panel.sort_button.click()
    bench.idle()
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    first = bench.workspace.view.queue[0]

    bench.annotate.toggle_uncertainty()
    bench.idle()

    shown = bench.viewer.layers[f"{first.name} unsure"].data
    entropy = binary_entropy(bench.annotate.annotation().results["nuclei"].prediction.probability)
    np.testing.assert_array_equal(shown, bench.workspace.project.queue.heat([first.id], "nuclei", (80, 64), entropy))
    assert not np.allclose(shown, entropy)


def test_scores_of_the_served_model_are_kept(bench, queue):
    bench.workspace.prompts[:] = ["nuclei"]
    project, last = bench.workspace.project, bench.workspace.view.queue[-1]
    disagreement = TileScores(np.array([[0, 0, 80, 64]]), np.array([1.0]), np.array([1.0]))
    project.queue.store_scores(last.id, "nuclei", disagreement, model=bench.workspace.served_key())

    queue.panel.sort_button.click()
    bench.idle()

    assert bench.workspace.view.queue[0].id == last.id
    assert project.queue.scores(last.id)["nuclei"].disagreement.tolist() == [1.0]


def test_cancelled_scoring_and_sorting_without_a_prompt_leave_the_order(bench, queue):
    queue.panel.sort_button.click()
    without = queue.panel.status.value()[1]
    bench.workspace.prompts[:] = ["nuclei"]
    before = [item.id for item in bench.workspace.view.queue]

    queue.panel.sort_button.click()
    queue.panel.progress.cancelled.emit()
    bench.idle()

    assert [item.id for item in bench.workspace.view.queue] == before
    assert queue.panel.status.value()[1] == "Cancelled; the order did not change."
    assert without.endswith("sorting needs a prompt that the model knows.")


def test_stored_scores_are_a_heat_map_where_no_prompt_ran(bench, queue):
    item = bench.workspace.view.queue[0]
    tiles = np.array([[0, 0, 40, 64], [40, 0, 40, 64]])
    scores = TileScores(tiles, np.array([0.0, 0.4]), np.array([0.2, 0.8]))
    bench.workspace.project.queue.store_scores(item.id, "nuclei", scores)
    bench.workspace.prompts[:] = ["nuclei"]
    bench.annotate.next_item()
    bench.idle()

    bench.annotate.toggle_uncertainty()
    bench.idle()

    shown = bench.viewer.layers["tile-0.png unsure"].data
    assert shown[0, 0] == pytest.approx(0.125)
    assert shown[79, 63] == pytest.approx(1.0)


def test_an_image_that_is_gone_is_told_of_and_next_goes_on(bench, queue, tmp_path):
    (tmp_path / "tile-0.png").unlink()

    bench.annotate.next_item()
    bench.idle()
    said = bench.annotate.panel.status.value()
    bench.annotate.next_item()
    bench.idle()

    assert said[0] == "error"
    assert "tile-0.png was not found" in said[1]
    assert _visible(bench) == ["tile-1.png"]


def test_an_image_comes_with_its_accepted_masks_and_they_are_locked(bench, queue):
    project, item = bench.workspace.project, bench.workspace.view.queue[0]
    mask = np.zeros((80, 64), bool)
    mask[5:20, 5:20] = True
    project.corrections.accept(item.image_id, "nuclei", Answer(mask, model=None, threshold=0.3))
    project.prompts.set_up("nuclei", threshold=0.3)
    bench.workspace.with_project(lambda _project: None)
    bench.idle()
    queue.panel.list.setStatuses("all")

    bench.annotate.next_item()
    bench.idle()
    labels = bench.viewer.layers["tile-0.png · nuclei"]
    restored = labels.data > 0
    bench.run("nuclei")

    np.testing.assert_array_equal(restored, mask)
    np.testing.assert_array_equal(labels.data > 0, mask)
    assert bench.annotate.annotation().threshold("nuclei") == 0.3


def test_a_region_of_an_image_is_a_queue_item(bench, queue):
    project, image_id = bench.workspace.project, bench.workspace.view.queue[0].image_id
    upper, _ = project.queue.add_regions(image_id, [Region(0, 0, 40, 64), Region(40, 0, 40, 64)])
    bench.workspace.with_project(lambda _project: None)
    bench.idle()

    queue.panel.list.chosen.emit(upper.id)
    bench.idle()
    bench.run("nuclei")
    bench.annotate.accept_region()
    bench.idle()

    [correction] = project.corrections.select()
    assert project.corrections.reviewed(correction)[:40].all()
    assert not project.corrections.reviewed(correction)[40:].any()
    statuses = {item.region.y: item.status for item in bench.workspace.view.queue if item.image_id == image_id}
    assert statuses == {0: "accepted", 40: "predicted"}


def test_images_that_are_done_make_room(bench, queue, monkeypatch):
    from napari_amvlm._qt.queue import open_image
    from napari_amvlm._qt.settings import Preferences

    monkeypatch.setattr(open_image, "preferences", lambda: Preferences(kept_images=2))
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    for _ in range(3):
        bench.annotate.next_item()
        bench.idle()

    names = [layer.name for layer in bench.viewer.layers]
    assert names == ["tile-2.png", "tile-3.png"]


def test_accepted_masks_are_exported(bench, queue, tmp_path, monkeypatch):
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    (tmp_path / "png").mkdir()

    for kind, name in {"coco": "a.json", "png": "png", "measurements": "a.csv", "report": "a.html"}.items():
        target = tmp_path / name
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, target=target: (str(target), ""))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, target=target: str(target))
        queue.panel.export_button.choose(kind)
        bench.idle()

        assert (target / "labelcol" if kind == "png" else target).exists()
        assert f"{target}." in queue.panel.status.value()[1]


def _png(path, seed):
    path.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 40), dtype=np.uint8)).save(path)
    return path


def test_files_and_folders_are_added_with_progress(bench, queue, tmp_path, monkeypatch):
    _png(tmp_path / "folder" / "b.png", 1)
    _png(tmp_path / "folder" / "a.png", 2)
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    shares = []
    queue.adder.progressed.connect(lambda share, _text: shares.append(share))
    picked = [str(_png(tmp_path / "c.png", 3))]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (picked, ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "folder"))

    queue.panel.add_button.choose_files()
    bench.idle()
    queue.panel.add_button.choose_folder()
    bench.idle()

    assert [item.name for item in bench.workspace.view.queue][4:] == ["c.png", "a.png", "b.png"]
    assert queue.panel.status.value()[1] == "Added to the project: 2 images."
    assert shares == [0.0, 1.0, 0.0, 0.5, 1.0]


def test_folders_in_a_folder_that_is_added_are_named(bench, queue, tmp_path):
    _png(tmp_path / "a.png", 2)
    _png(tmp_path / "more" / "b.png", 1)

    queue.adder.add_files([tmp_path])
    bench.idle()

    said = "There already, by their content: 4 images. Images in these folders were left out: more; add them too."
    assert queue.panel.status.value() == ("warning", f"Added to the project: 1 image. {said}")


def test_copies_that_are_added_are_counted(bench, queue, tmp_path):
    queue.adder.add_files([_png(tmp_path / "a.png", 2), _png(tmp_path / "copy.png", 2)])
    bench.idle()

    assert queue.panel.status.value()[1] == "Added to the project: 1 image. There already, by their content: 1 image."


def test_files_that_cannot_be_read_are_counted_and_the_others_are_added(bench, queue, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")

    queue.adder.add_files([tmp_path / "a.png", tmp_path / "b.png", _png(tmp_path / "c.png", 3)])
    bench.idle()

    level, said = queue.panel.status.value()
    assert (level, bench.workspace.view.queue[-1].name) == ("warning", "c.png")
    assert said.startswith("Added to the project: 1 image. Not added: 2 images. ")
    assert "a.png" in said


def test_files_are_added_though_the_dock_is_closed_meanwhile(bench, queue, tmp_path):
    files, closed = [_png(tmp_path / f"{number}.png", number) for number in range(3)], threading.Event()
    bench.workspace.submit(closed.wait, long=True)

    queue.adder.add_files(files)
    bench.viewer.window.remove_dock_widget(queue)
    delete(queue)
    closed.set()
    bench.idle()

    assert len(bench.workspace.project.images.all()) == 4 + 3
    assert bench.status() == "Added to the project: 3 images."


def test_images_are_dropped_on_the_queue(bench, queue, tmp_path):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(_png(tmp_path / "dropped.png", 1)))])
    where, buttons = QPointF(20, 20), Qt.MouseButton.LeftButton
    either = Qt.DropAction.MoveAction | Qt.DropAction.CopyAction
    event = QDropEvent(where, either, mime, buttons, Qt.KeyboardModifier.ShiftModifier)

    queue.panel.dropEvent(event)
    bench.idle()

    # a file manager may delete what was moved, and the project refers to the file
    assert event.dropAction() == Qt.DropAction.CopyAction
    assert bench.workspace.view.queue[-1].name == "dropped.png"


def test_a_stack_is_opened_instead_of_added(bench, queue, tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 40, 48), np.uint8), metadata={"axes": "ZYX"}, ome=False)

    queue.adder.add_files([tmp_path / "stack.tif"])
    bench.idle()

    assert len(bench.workspace.view.queue) == 4
    assert [layer.name for layer in bench.viewer.layers] == ["stack"]
    said = "Stacks and slides are open in the viewer; accept slices or regions to add these."
    assert queue.panel.status.value()[1] == said


def test_no_button_moves_when_a_message_appears(bench, queue):
    buttons = [queue.panel.step.next, queue.panel.export_button, queue.panel.skip_button]
    queue.panel.resize(300, 600)
    before = [button.mapTo(queue.panel, button.rect().topLeft()) for button in buttons]

    bench.workspace.said.emit("warning", "something that takes several lines to say " * 9)
    queue.panel.progress.setProgress(0.5, "adding an image")
    QApplication.processEvents()

    assert [button.mapTo(queue.panel, button.rect().topLeft()) for button in buttons] == before


def test_an_image_that_is_opened_again_has_its_mask_alone_in_hand(bench, queue):
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    first = bench.layer()
    bench.annotate.next_item()
    bench.idle()

    bench.annotate.previous_item()
    bench.idle()

    listed = bench.viewer.window._qt_viewer.layers
    bench.wait(lambda: set(bench.viewer.layers.selection) == {first})
    bench.wait(lambda: [index.data() for index in listed.selectedIndexes()] == [first.name])
    assert bench.viewer.layers.selection.active is first


def test_an_image_that_is_chosen_has_its_mask_alone_selected_in_the_list(bench):
    bench.run("nuclei")
    bench.viewer.add_image(255 - bench.viewer.layers["slide"].data, name="other")
    bench.run("nuclei")

    bench.viewer.layers.selection.active = bench.viewer.layers["slide"]
    bench.idle()

    listed = bench.viewer.window._qt_viewer.layers
    bench.wait(lambda: [index.data() for index in listed.selectedIndexes()] == [bench.layer().name])
    assert set(bench.viewer.layers.selection) == {bench.layer()}


def test_a_hidden_image_that_is_chosen_comes_into_view_alone(bench, queue):
    bench.annotate.next_item()
    bench.idle()
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    first, second = (bench.viewer.layers[f"tile-{number}.png"] for number in range(2))

    bench.viewer.layers.selection.active = first
    bench.idle()

    assert bench.annotate.annotation().image is first
    assert (first.visible, second.visible) == (True, False)


def test_open_images_that_are_added_are_known_at_once_and_the_one_at_hand_stays(bench, queue, tmp_path):
    bench.viewer.layers.clear()
    for number in (7, 8):
        path = tmp_path / f"{number}.png"
        PIL.Image.fromarray(picture(number)).save(path)
        bench.viewer.open(path, plugin="napari")
        bench.idle()
    first, second = bench.viewer.layers
    bench.viewer.layers.selection.active = first

    queue.adder.add_open_images()
    bench.idle()

    assert bench.annotate.annotation().image is first
    assert bench.annotate.queue.current.name == "7.png"
    bench.viewer.layers.selection.active = second
    assert bench.annotate.queue.current.name == "8.png"
