"""What is done while another image or another project is being opened, and after, acts on what was asked for."""

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from napari_amvlm.project import Answer, Project
from tests._qt.conftest import picture


@pytest.fixture
def first(bench, tmp_path):
    """Return a bench at the first of two images of `first.amvlm`, with a mask; `second.amvlm` has two others."""
    bench.viewer.layers.clear()
    for name in ("first", "second"):
        with Project.create(tmp_path / f"{name}.amvlm") as project:
            for number in range(2):
                path = tmp_path / f"{name}-{number}.png"
                PIL.Image.fromarray(picture(number + 2 * (name == "second"), 64)).save(path)
                project.images.add_file(path)
    _open(bench, tmp_path / "first.amvlm")
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    return bench


def _open(bench, root, **options):
    bench.workspace.open_project(root, **options)
    bench.idle()


def _choose(bench, root):
    bench.annotate.panel.project.chosen.emit(root)


def _paint(bench):
    layer = bench.layer()
    layer.data_setitem(tuple(part.ravel() for part in np.mgrid[10:20, 30:50]), 1)
    return np.array(layer.data > 0)


def test_what_next_opened_of_one_project_is_neither_shown_nor_work_in_the_next(first, tmp_path):
    bench = first
    _paint(bench)
    bench.annotate.accept()
    bench.idle()

    _choose(bench, tmp_path / "second.amvlm")
    bench.idle()
    left = list(bench.viewer.layers)
    bench.annotate.drafts.keep_all()
    bench.idle()
    bench.annotate.next_item()
    bench.idle()

    assert left == []
    assert bench.annotate.annotation().image.name == "second-0.png"
    assert [each.name for each in bench.workspace.project.images.all()] == ["second-0.png", "second-1.png"]
    assert bench.workspace.project.drafts.all() == []


def test_an_image_that_a_person_opened_leaves_with_the_project_that_has_it(first, tmp_path):
    bench, path = first, tmp_path / "first-1.png"
    for name in (path.name, "of no project"):
        metadata = {"path": str(path)} if name == path.name else {}
        bench.viewer.add_image(np.asarray(PIL.Image.open(path)), name=name, metadata=metadata)
        bench.idle()
    bench.annotate.current_image.images.choose(bench.viewer.layers[path.name])
    bench.run("nuclei")
    _paint(bench)
    bench.annotate.accept()
    bench.idle()

    _choose(bench, tmp_path / "second.amvlm")
    bench.idle()

    assert [layer.name for layer in bench.viewer.layers] == ["of no project"]
    assert bench.workspace.project.images.counts().images == 2


def test_work_that_no_project_has_stays_open_and_goes_into_another_after_a_question(first, tmp_path):
    bench = first
    _open(bench, tmp_path / "second.amvlm")
    _open(bench, tmp_path / "first.amvlm", read_only=True)
    bench.annotate.queue.open_image(1)
    bench.idle()
    bench.run("nuclei")
    painted = _paint(bench)

    for root in ("second.amvlm", "first.amvlm", "second.amvlm"):
        _choose(bench, tmp_path / root)
        bench.idle()
    image = bench.viewer.layers["first-0.png"]
    kept = bench.workspace.annotation(image).mask("nuclei")
    bench.annotate.current_image.images.choose(image)
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    question = bench.annotate.panel.confirm.text()
    project = bench.workspace.project
    silently = [project.images.counts().images, *project.corrections.select(), *project.drafts.all()]
    bench.confirm()

    np.testing.assert_array_equal(kept, painted)
    assert question == "first-0.png is an image of first. Store nuclei on it in second too?"
    assert silently == [2]
    assert [each.prompt for each in project.corrections.select()] == ["nuclei"]


def test_masks_of_an_image_that_was_replaced_on_the_disk_are_not_shown_over_another(first, tmp_path):
    bench, path, said = first, tmp_path / "first-0.png", list[str]()
    painted = _paint(bench)
    bench.annotate.accept()
    bench.idle()
    PIL.Image.fromarray(picture(7, 64)).save(path)
    bench.workspace.said.connect(lambda _level, text: said.append(text))

    def show():
        bench.viewer.layers.clear()
        bench.viewer.add_image(np.asarray(PIL.Image.open(path)), name=path.name, metadata={"path": str(path)})
        bench.idle()
        annotation = bench.annotate.annotation()
        return annotation.image_id, list(annotation.accepted)

    replaced = show()
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    again = show()

    assert (replaced, again) == ((None, []), (3, ["nuclei"]))
    assert ["was changed since it was added" in text for text in said].count(True) == 1
    project = bench.workspace.project
    assert [each.image_id for each in project.corrections.select()] == [1, 3]
    np.testing.assert_array_equal(project.corrections.mask(project.corrections.select()[0]), painted)


@pytest.mark.parametrize("height", [64, 48])
def test_masks_are_not_shown_over_pixels_that_another_reader_left_on_their_side(first, tmp_path, height):
    bench, path, said = first, tmp_path / "camera.png", list[str]()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(picture(9, 64)[:height]).save(path, exif=exif)
    record = bench.workspace.project.images.add_file(path)
    mask = np.zeros(record.shape, np.bool_)
    mask[5:20, 10:40] = True
    bench.workspace.project.corrections.accept(record.id, "nuclei", Answer(mask))
    bench.workspace.said.connect(lambda _level, text: said.append(text))

    def show(pixels):
        bench.viewer.layers.clear()
        bench.viewer.add_image(pixels, name=path.name, metadata={"path": str(path)})
        bench.idle()
        annotation = bench.annotate.annotation()
        return annotation.image_id, list(annotation.accepted)

    with PIL.Image.open(path) as file:
        on_its_side, upright = np.asarray(file), np.asarray(PIL.ImageOps.exif_transpose(file))

    assert show(on_its_side) == (None, [])
    assert ["shown without the orientation" in text for text in said].count(True) == 1
    assert show(upright) == (record.id, ["nuclei"])


@pytest.mark.parametrize("opening", ["first-1.png", "second"])
def test_nothing_acts_on_an_image_while_another_is_asked_for(first, tmp_path, opening):
    bench, project, annotation = first, first.workspace.project, first.annotate.annotation()
    painted = _paint(bench)
    bench.idle()
    bench.annotate.panel.prompt.setValue("stroma")
    actions, said = ["run", "accept", "accept_region", "reject", "undo"], list[str]()

    if opening == "first-1.png":
        bench.annotate.next_item()
    else:
        bench.workspace.open_project(tmp_path / f"{opening}.amvlm")
        actions.append("next_item")
    for action in actions:
        getattr(bench.annotate, action)()
        said.append(bench.status())
    stored = project.corrections.select()
    bench.idle()

    assert set(said) == {f"Opening {opening} ..."}
    np.testing.assert_array_equal(annotation.mask("nuclei"), painted)
    assert not annotation.has_run("stroma")
    assert stored == bench.workspace.project.corrections.select() == []
    assert [layer.name for layer in bench.viewer.layers if layer.visible] == [opening] * opening.endswith(".png")


def test_what_is_done_while_another_project_is_being_opened_is_in_the_one_before(first, tmp_path):
    bench, names = first, list[str]()

    bench.workspace.open_project(tmp_path / "second.amvlm")
    bench.workspace.with_project(lambda project: names.append(project.name))
    painted = _paint(bench)
    bench.idle()
    elsewhere = bench.workspace.project.drafts.all()
    _open(bench, tmp_path / "first.amvlm")

    [draft] = bench.workspace.project.drafts.all()
    assert names == ["first"]
    assert elsewhere == []
    assert (draft.image_id, draft.prompt) == (1, "nuclei")
    np.testing.assert_array_equal(bench.workspace.project.drafts.load(draft).mask, painted)
