"""Undo and redo of Accept and Reject: the answer before is back, and nothing that was accepted is lost."""

import numpy as np
import pytest

from napari_amvlm.errors import ProjectError
from napari_amvlm.project import Answer, Project, Region
from napari_amvlm.session.learning_data import present_entries


@pytest.fixture
def image_id(project, pixels):
    return project.images.add_array(pixels(0)).id


def _current(project, image_id, prompt="nuclei"):
    found = project.corrections.select(image_id, prompt)
    return project.corrections.mask(found[0]) if found else None


def test_undo_of_an_accept_brings_the_answer_before(project, image_id, random_mask):
    first = project.corrections.accept(image_id, "nuclei", Answer(random_mask(1)))
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(2)))

    restored = project.corrections.undo(image_id, "nuclei")

    assert restored is not None
    assert (restored.id, restored.state, restored.ended_at) == (first.id, "current", None)
    assert np.array_equal(_current(project, image_id), random_mask(1))
    assert [c.state for c in project.corrections.select(history=True)] == ["current", "withdrawn"]


def test_undo_of_the_first_accept_leaves_no_answer(project, image_id, random_mask):
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(1)))

    assert project.corrections.undo(image_id, "nuclei") is None

    assert _current(project, image_id) is None
    (kept,) = project.corrections.select(history=True)
    assert np.array_equal(project.corrections.mask(kept), random_mask(1))


def test_undo_of_a_reject_brings_the_answer_and_its_locks(project, image_id, random_mask):
    accepted = project.corrections.accept(image_id, "nuclei", Answer(random_mask(1)))
    project.locks.set(accepted, [1], False)
    project.corrections.reject(image_id, "nuclei")

    restored = project.corrections.undo(image_id, "nuclei")

    assert restored is not None
    assert restored.id == accepted.id
    assert project.locks.unlocked(restored) == {1}


def test_steps_go_back_and_forward_over_reopening(project, image_id, random_mask):
    for number in (1, 2):
        project.corrections.accept(image_id, "nuclei", Answer(random_mask(number)))
    project.corrections.reject(image_id, "nuclei")
    project.corrections.accept(image_id, "other", Answer(random_mask(9)))
    project.close()

    with Project.open(project.root) as again:
        corrections = again.corrections
        shown = [_current(again, image_id)]
        for _ in range(3):
            corrections.undo(image_id, "nuclei")
            shown.append(_current(again, image_id))
        assert corrections.undo_steps(image_id, "nuclei") == (0, 3)
        for _ in range(3):
            corrections.redo(image_id, "nuclei")
            shown.append(_current(again, image_id))
        assert corrections.undo_steps(image_id, "nuclei") == (3, 0)
        assert np.array_equal(_current(again, image_id, "other"), random_mask(9))

    numbers = [None, 2, 1, None, 1, 2, None]
    assert [mask is None for mask in shown] == [number is None for number in numbers]
    pairs = [(mask, number) for mask, number in zip(shown, numbers, strict=True) if number is not None]
    assert all(np.array_equal(mask, random_mask(number)) for mask, number in pairs)


def test_a_new_answer_ends_what_can_be_redone(project, image_id, random_mask):
    for number in (1, 2):
        project.corrections.accept(image_id, "nuclei", Answer(random_mask(number)))
    project.corrections.undo(image_id, "nuclei")
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(3)))

    assert project.corrections.undo_steps(image_id, "nuclei") == (2, 0)
    with pytest.raises(ProjectError, match="nothing to redo"):
        project.corrections.redo(image_id, "nuclei")
    project.corrections.undo(image_id, "nuclei")

    assert np.array_equal(_current(project, image_id), random_mask(1))
    assert len(project.corrections.select(history=True)) == 3


def test_a_reject_of_nothing_is_no_step(project, image_id, random_mask):
    project.corrections.reject(image_id, "nuclei")
    project.corrections.accept(image_id, "gland", Answer(random_mask(1)))
    project.corrections.reject(image_id, "nuclei")

    assert project.corrections.undo_steps(image_id, "nuclei") == (0, 0)
    with pytest.raises(ProjectError, match="nothing can be undone"):
        project.corrections.undo(image_id, "nuclei")
    project.corrections.undo(image_id, "gland")
    with pytest.raises(ProjectError, match="nothing to undo"):
        project.corrections.undo(image_id, "gland")


def test_a_lost_mask_is_not_brought_back(project, image_id, random_mask):
    first = project.corrections.accept(image_id, "nuclei", Answer(random_mask(1)))
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(2)))
    (project.root / first.mask_file).unlink()

    with pytest.raises(ProjectError, match="cannot be read"):
        project.corrections.undo(image_id, "nuclei")

    assert np.array_equal(_current(project, image_id), random_mask(2))
    assert project.corrections.undo_steps(image_id, "nuclei") == (2, 0)


def test_the_draw_of_held_out_images_follows(project, pixels, random_mask):
    images = [project.images.add_array(pixels(number)).id for number in range(5)]
    for image in images[:4]:
        project.corrections.accept(image, "nuclei", Answer(random_mask(image)))
    assert [record.id for record in project.images.held_out()] == [images[3]]

    project.corrections.undo(images[3], "nuclei")

    # It is undecided again, and the next image that is accepted is the fourth.
    assert [record.id for record in project.images.unlabelled()] == [images[3], images[4]]
    project.corrections.accept(images[4], "nuclei", Answer(random_mask(4)))
    assert [record.id for record in project.images.held_out()] == [images[4]]
    project.corrections.redo(images[3], "nuclei")
    assert [record.id for record in project.images.held_out()] == [images[4]]


def test_what_a_run_learnt_from_is_not_drawn_anew(project, image_id, random_mask):
    accepted = project.corrections.accept(image_id, "nuclei", Answer(random_mask(1)))
    project.runs.start({}, train=[accepted.id])

    project.corrections.undo(image_id, "nuclei")
    for _ in range(5):
        project.corrections.accept(image_id, "nuclei", Answer(random_mask(2)))
        project.corrections.undo(image_id, "nuclei")

    assert not project.images.get(image_id).held_out


def test_a_person_s_decision_stays(project, image_id, random_mask):
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(1)))
    project.images.set_held_out(image_id, True)

    project.corrections.undo(image_id, "nuclei")

    assert project.images.get(image_id).held_out


def test_the_queue_follows(project, image_id, random_mask):
    def status():
        (item,) = project.queue.items()
        return item.status

    half = np.zeros((40, 50), np.bool_)
    half[:20] = True
    found = []
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(1), region=half))
    found.append(status())
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(2)))
    found.append(status())
    project.corrections.undo(image_id, "nuclei")
    found.append(status())
    project.corrections.redo(image_id, "nuclei")
    found.append(status())
    project.corrections.accept(image_id, "gland", Answer(random_mask(3)))
    project.corrections.undo(image_id, "nuclei")
    found.append(status())

    assert found == ["in work", "accepted", "in work", "accepted", "accepted"]


def test_regions_of_the_queue_follow(project, image_id, random_mask):
    project.queue.add_regions(image_id, [Region(0, 0, 20, 50), Region(20, 0, 20, 50)])
    top = np.zeros((40, 50), np.bool_)
    top[:20] = True
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(1), region=top))
    project.corrections.accept(image_id, "nuclei", Answer(random_mask(1), region=~top))
    assert project.queue.counts()["accepted"] == 2

    project.corrections.undo(image_id, "nuclei")

    assert [item.status for item in project.queue.items()] == ["accepted", "in work"]


def test_learning_follows(project, image_id, random_mask):
    first = project.corrections.accept(image_id, "nuclei", Answer(random_mask(1)))
    second = project.corrections.accept(image_id, "nuclei", Answer(random_mask(2)))
    assert present_entries(project).train == (second.id,)

    project.corrections.undo(image_id, "nuclei")
    assert present_entries(project).train == (first.id,)
    project.corrections.undo(image_id, "nuclei")

    entries = present_entries(project)
    assert (entries.train, entries.unlabelled) == ((), (image_id,))
