"""What comes first in the queue: real predictions of a tiny model, a real run's student, and how unlike things look."""

import shutil

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.errors import Cancelled, ModelFileError, ProjectError
from napari_amvlm.generators import drain
from napari_amvlm.imaging import Tile
from napari_amvlm.learning import fine_tune
from napari_amvlm.predictor import Predictor
from napari_amvlm.project import Answer, Project, Region, TileScores, score_tiles
from napari_amvlm.session import QueueScorer, keep_model, learning_data, order_queue, start_run
from napari_amvlm.session.student_weights import keep_student, load_student

SHAPE = (80, 64)


def _slide(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def _xray(seed):
    ramp = np.linspace(20, 180, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    return (ramp + np.random.default_rng(seed).integers(0, 20, SHAPE)).astype(np.uint8)


@pytest.fixture
def predictor(tiny_checkpoint):
    return Predictor.from_file(tiny_checkpoint, device="cpu")


def _add(project, *images):
    for number, image in enumerate(images):
        project.images.add_array(image, name=f"image {number}")
    return project.queue.items()


def _flat(value):
    return TileScores(np.array([[0, 0, *SHAPE]]), np.array([value]), np.array([value]))


def _names(project):
    return [item.name for item in project.queue.items()]


def test_without_a_run_mask_and_text_evidence_are_compared(project, predictor):
    (item,) = _add(project, _slide(0))

    order = order_queue(project, predictor, [item], ["nuclei"])

    predictor.set_image(_slide(0))
    found = predictor.predict("nuclei")
    wanted = score_tiles(found.text_probability, found.probability, [Tile(0, 0, *SHAPE)])
    scores = project.queue.scores(item.id)["nuclei"]
    assert (order.problems, order.with_student) == ((), False)
    assert scores.disagreement == pytest.approx(wanted.disagreement, abs=1e-6)
    assert scores.entropy == pytest.approx(wanted.entropy, abs=1e-6)
    assert scores.disagreement[0] > 0
    assert project.queue.get(item.id).status == "predicted"


def test_a_project_for_reading_only_is_not_scored_in_vain(project, predictor):
    items = _add(project, _slide(0), _slide(1))
    seen = []

    with Project.open(project.root, read_only=True) as reader, pytest.raises(ProjectError, match="reading only"):
        order_queue(reader, predictor, items, ["nuclei"], on_item=lambda index, _item: seen.append(index))

    assert seen == []


def test_a_model_without_a_file_is_asked_anew(project, predictor):
    (item,) = _add(project, _slide(0))
    project.queue.store_scores(item.id, "cell nuclei", _flat(0.0))

    order_queue(project, Predictor(predictor.model, device="cpu"), [item], [" cell  nuclei "])

    assert project.queue.scores(item.id)["cell nuclei"].entropy[0] > 0


def test_the_image_that_a_person_looks_at_stays(project, predictor):
    items = _add(project, _slide(0), _slide(1))
    predictor.set_image(_slide(7))
    before = predictor.predict("nuclei").probability

    order_queue(project, predictor, items, ["nuclei"])

    np.testing.assert_array_equal(predictor.predict("nuclei").probability, before)


def test_a_folder_of_xrays_is_scored_whole_and_ordered(project, predictor):
    items = _add(project, *(_xray(seed) for seed in range(4)))

    order_queue(project, predictor, items, ["left lung"])

    ranked = project.queue.items()
    assert sorted(item.id for item in ranked) == [item.id for item in items]
    assert [item.position for item in ranked] == [0, 1, 2, 3]
    assert {len(project.queue.feature(item.id)) for item in items} == {predictor.model.config.embedding}
    units = project.queue.units()
    share = {i: d / units[0] + e / units[1] for i, each in project.queue.summaries().items() for d, e in each.values()}
    assert share[ranked[0].id] == max(share.values())


def test_regions_of_one_slide_are_scored_where_they_lie(project, predictor):
    record = project.images.add_array(_slide(0, (300, 200)), name="slide")
    regions = (Region(0, 0, 150, 200), Region(150, 0, 150, 200))
    items = project.queue.add_regions(record.id, regions)

    order_queue(project, predictor, items, ["nuclei", "left lung"])

    predictor.set_image(_slide(0, (300, 200)))
    seen_whole = predictor.predict("left lung")
    for item, region in zip(items, regions, strict=True):
        scores = project.queue.scores(item.id)
        tiles = [Tile(*box) for box in scores["nuclei"].tiles.tolist()]
        wanted = score_tiles(seen_whole.text_probability, seen_whole.probability, tiles)
        covered = np.zeros((300, 200), np.bool_)
        for tile in tiles:
            covered[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = True
        assert covered[region.y : region.y + 150].all()
        assert covered.sum() == 150 * 200
        assert scores["left lung"].disagreement == pytest.approx(wanted.disagreement, abs=1e-6)
    assert not np.array_equal(project.queue.feature(items[0].id), project.queue.feature(items[1].id))


def test_the_scale_that_a_person_chose_holds(project, predictor):
    (item,) = _add(project, _slide(0))
    project.prompts.set_up("nuclei", scale="whole")

    order_queue(project, predictor, [item], ["nuclei"])

    predictor.set_image(_slide(0))
    found = predictor.predict("nuclei", scale="whole")
    wanted = score_tiles(found.text_probability, found.probability, [Tile(0, 0, *SHAPE)])
    assert project.queue.scores(item.id)["nuclei"].entropy == pytest.approx(wanted.entropy, abs=1e-6)


def test_two_alike_hard_images_are_parted_by_another_kind(project, predictor):
    items = _add(project, _slide(0), _slide(0) // 2 * 2, _xray(0), _xray(1))
    model = predictor.info.sha256 if predictor.info else None
    for item, value in zip(items, (0.9, 0.89, 0.7, 0.1), strict=True):
        project.queue.store_scores(item.id, "nuclei", _flat(value), model=model)

    order_queue(project, predictor, items, ["nuclei"])

    assert _names(project) == ["image 0", "image 2", "image 1", "image 3"]
    assert [project.queue.scores(item.id)["nuclei"].entropy[0] for item in items] == pytest.approx(
        [0.9, 0.89, 0.7, 0.1]
    ), "scores of the served model are kept"


def test_what_looks_like_an_accepted_image_waits(project, predictor):
    items = _add(project, _slide(0), _slide(0) // 2 * 2, _xray(0), _xray(1))
    model = predictor.info.sha256 if predictor.info else None
    for item, value in zip(items, (0.9, 0.89, 0.7, 0.1), strict=True):
        project.queue.store_scores(item.id, "nuclei", _flat(value), model=model)
    order_queue(project, predictor, items, ["nuclei"])

    project.corrections.accept(items[0].image_id, "nuclei", Answer(np.ones(SHAPE, bool)))
    order_queue(project, predictor, items[1:], ["nuclei"])

    assert _names(project) == ["image 2", "image 1", "image 3", "image 0"]


def test_stopping_leaves_the_order_and_what_was_scored(project, predictor):
    items = _add(project, _slide(0), _slide(1))
    asked = []

    with pytest.raises(Cancelled):
        order_queue(
            project, predictor, items, ["nuclei"], on_item=lambda n, _: asked.append(n), should_stop=lambda: 1 in asked
        )

    assert [item.position for item in project.queue.items()] == [None, None]
    assert [bool(project.queue.scores(item.id)) for item in items] == [True, False]


def test_an_image_that_is_gone_is_told_and_comes_last(project, predictor, tmp_path):
    import PIL.Image

    PIL.Image.fromarray(_slide(0)).save(tmp_path / "lost.png")
    project.images.add_file(tmp_path / "lost.png")
    items = _add(project, _slide(1))
    (tmp_path / "lost.png").unlink()

    order = order_queue(project, predictor, items, ["nuclei"])

    assert _names(project) == ["image 0", "lost.png"]
    assert len(order.problems) == 1
    assert "lost.png was not found" in order.problems[0]


@pytest.fixture(scope="module")
def _learnt_root(_tiny_checkpoint, text_encoder_once, tmp_path_factory):
    predictor = Predictor.from_file(_tiny_checkpoint, device="cpu")
    with Project.create(tmp_path_factory.mktemp("learnt") / "breast.amvlm") as project:
        items = _add(project, *(_slide(seed) for seed in range(4)))
        mask = np.zeros(SHAPE, bool)
        mask[5:40, 5:40] = True
        for item in items[:2]:
            project.corrections.accept(item.image_id, "nuclei", Answer(mask))
        config = LearningConfig(minutes=None, steps=3, learning_rate=0.01, ema_decay=0.9, ema_window=0.0)
        data = learning_data(project, predictor_scales=lambda *_: "tiles")
        run = start_run(project, config, predictor.info, data)
        steps = fine_tune(predictor.model, data, config, device=predictor.device)
        keep_model(project, drain(steps, lambda report: None), predictor.info, data.prompts, run)
    return project.root


@pytest.fixture
def learnt_project(_learnt_root, tmp_path):
    """Return a project, for this test alone, with a real run of three steps on two of four images."""
    with Project.open(shutil.copytree(_learnt_root, tmp_path / "learnt.amvlm")) as opened:
        yield opened


@pytest.fixture
def learnt(learnt_project):
    """Return the model of that run."""
    return learnt_project.models.all()[0]


def test_after_a_run_teacher_and_student_are_compared(learnt_project, learnt):
    served = Predictor.from_file(learnt.path, device="cpu")
    item = learnt_project.queue.items(["new"])[0]

    order = order_queue(learnt_project, served, [item], ["nuclei"])

    student = load_student(learnt_project, served.model, learnt.sha256)
    assert student is not None
    assert student.image_encoder is served.model.image_encoder
    answers = []
    for predictor in (Predictor(student, device="cpu"), served):
        predictor.set_image(_slide(item.image_id - 1))
        answers.append(predictor.predict("nuclei").probability)
    wanted = score_tiles(answers[0], answers[1], [Tile(0, 0, *SHAPE)])
    assert (order.with_student, order.problems) == (True, ())
    assert wanted.disagreement[0] > 0
    assert learnt_project.queue.scores(item.id)["nuclei"].disagreement == pytest.approx(wanted.disagreement, abs=1e-6)


def test_a_model_from_elsewhere_has_no_student(learnt_project, learnt, predictor):
    assert QueueScorer(learnt_project, Predictor.from_file(learnt.path, device="cpu"), ["nuclei"]).has_student
    assert not QueueScorer(learnt_project, predictor, ["nuclei"]).has_student


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_a_damaged_student_is_told_and_the_queue_is_ordered_without(learnt_project, learnt, content):
    served = Predictor.from_file(learnt.path, device="cpu")
    path = learnt_project.runs.student_path(learnt_project.runs.that_made(learnt.sha256).id)
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    items = learnt_project.queue.items(["new"])

    order = order_queue(learnt_project, served, items, ["nuclei"])

    assert not order.with_student
    assert "student of run 1" in order.problems[0]
    assert all(learnt_project.queue.scores(item.id)["nuclei"].disagreement[0] > 0 for item in items)


def test_a_student_of_another_shape_is_refused(learnt_project, learnt):
    served = Predictor.from_file(learnt.path, device="cpu")
    keep_student(learnt_project, 1, {"unet.head.weight": torch.ones(1)})

    with pytest.raises(ModelFileError, match="student of run 1, cannot be used"):
        load_student(learnt_project, served.model, learnt.sha256)


def test_weights_that_are_not_finite_are_not_kept(project):
    run = project.runs.start({})

    assert not keep_student(project, run.id, {"unet.x": torch.tensor([float("inf")])})
    assert not keep_student(project, run.id, {})
    assert not project.runs.student_path(run.id).exists()
    with pytest.raises(ProjectError, match="no run 99"):
        project.runs.student_path(99)
