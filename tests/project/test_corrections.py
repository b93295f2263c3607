import numpy as np
import pytest

from napari_amvlm.errors import LabelsError, ProjectError, PromptError
from napari_amvlm.project import Answer, Project


def _accept(project, image_id, mask, prompt="nuclei"):
    return project.corrections.accept(image_id, prompt, Answer(mask, model="amvlm-open", threshold=0.5)).id


def test_an_accepted_mask_survives_reopening_with_all_that_was_told(project, pixels, random_mask):
    image = project.images.add_array(pixels(0))
    project.corrections.accept(
        image.id,
        "  cell   nuclei ",
        Answer(
            random_mask(1),
            before=random_mask(2),
            reviewed=random_mask(3),
            model="amvlm-open",
            threshold=0.4,
            seconds_spent=12.5,
        ),
    )
    project.close()

    with Project.open(project.root) as again:
        (correction,) = again.corrections.select()
        mask, before, reviewed = (
            again.corrections.mask(correction),
            again.corrections.before(correction),
            again.corrections.reviewed(correction),
        )

    assert np.array_equal(mask, random_mask(1))
    assert before is not None
    assert np.array_equal(before, random_mask(2))
    assert np.array_equal(reviewed, random_mask(3))
    assert (correction.prompt, correction.model, correction.threshold) == ("cell nuclei", "amvlm-open", 0.4)
    assert (correction.seconds_spent, correction.state, correction.ended_at) == (12.5, "current", None)
    assert correction.author


@pytest.mark.parametrize("whole", [None, np.ones((40, 50), bool)])
def test_a_whole_review_is_all_pixels(project, pixels, random_mask, whole):
    image = project.images.add_array(pixels(0))

    correction = project.corrections.accept(image.id, "nuclei", Answer(random_mask(0), reviewed=whole))

    assert correction.reviewed_file is None
    assert project.corrections.reviewed(correction).all()
    assert project.corrections.before(correction) is None


def test_the_newest_wins_and_the_older_one_is_kept(project, pixels, random_mask):
    image = project.images.add_array(pixels(0))
    first, second = _accept(project, image.id, random_mask(1)), _accept(project, image.id, random_mask(2))

    (current,) = project.corrections.select(image.id, "nuclei")
    history = project.corrections.select(image.id, "nuclei", history=True)

    assert current.id == second
    assert np.array_equal(project.corrections.mask(current), random_mask(2))
    assert [(c.id, c.state) for c in history] == [(first, "superseded"), (second, "current")]
    assert history[0].ended_at is not None
    assert np.array_equal(project.corrections.mask(history[0]), random_mask(1))


def test_prompts_and_images_do_not_touch_each_other(project, pixels, random_mask):
    one, two = project.images.add_array(pixels(0)), project.images.add_array(pixels(1))
    _accept(project, one.id, random_mask(0), "nuclei")
    _accept(project, one.id, random_mask(1), "gland")
    _accept(project, two.id, random_mask(2), "nuclei")

    assert [(c.image_id, c.prompt) for c in project.corrections.select()] == [
        (1, "nuclei"),
        (1, "gland"),
        (2, "nuclei"),
    ]
    assert [c.image_id for c in project.corrections.select(prompt="nuclei")] == [1, 2]
    assert [c.prompt for c in project.corrections.select(one.id)] == ["nuclei", "gland"]


def test_reject_withdraws_and_keeps_the_history(project, pixels, random_mask):
    image = project.images.add_array(pixels(0))
    for number in range(2):
        _accept(project, image.id, random_mask(number))

    project.corrections.reject(image.id, "nuclei")

    assert project.corrections.select() == []
    history = project.corrections.select(history=True)
    assert [c.state for c in history] == ["superseded", "withdrawn"]
    assert np.array_equal(project.corrections.mask(history[1]), random_mask(1))
    assert project.images.counts().accepted == 0


def test_reject_of_nothing_does_nothing(project, pixels, random_mask):
    image = project.images.add_array(pixels(0))
    _accept(project, image.id, random_mask(0))

    project.corrections.reject(image.id, "gland")

    assert len(project.corrections.select()) == 1


def test_every_fourth_accepted_image_is_held_out_for_good(project, pixels, random_mask):
    ids = [project.images.add_array(pixels(n)).id for n in range(10)]
    for image_id in reversed(ids[1:]):
        _accept(project, image_id, random_mask(image_id))
        _accept(project, image_id, random_mask(image_id), "gland")

    held_out = [r.id for r in project.images.held_out()]

    assert held_out == sorted([ids[6], ids[2]])
    project.corrections.reject(ids[6], "nuclei")
    project.corrections.reject(ids[6], "gland")
    assert [r.id for r in project.images.held_out()] == [ids[2]]
    assert ids[6] not in [r.id for r in project.images.unlabelled()]
    _accept(project, ids[6], random_mask(0))
    _accept(project, ids[0], random_mask(0))
    assert [r.id for r in project.images.held_out()] == held_out


def test_a_person_may_decide_what_is_held_out(project, pixels, random_mask):
    ids = [project.images.add_array(pixels(n)).id for n in range(4)]
    project.images.set_held_out(ids[0], True)
    for image_id in ids:
        _accept(project, image_id, random_mask(image_id))
    project.images.set_held_out(ids[3], False)

    assert [r.id for r in project.images.held_out()] == [ids[0]]
    assert project.images.get(ids[0]).held_out


def test_counts(project, pixels, random_mask):
    ids = [project.images.add_array(pixels(n)).id for n in range(7)]
    for image_id in ids[:5]:
        _accept(project, image_id, random_mask(image_id))

    counts = project.images.counts()

    assert (counts.images, counts.accepted, counts.held_out, counts.unlabelled) == (7, 5, 1, 2)
    assert [r.id for r in project.images.accepted()] == ids[:5]
    assert [r.id for r in project.images.unlabelled()] == ids[5:]


def test_an_empty_project_counts_nothing(project):
    counts = project.images.counts()

    assert (counts.images, counts.accepted, counts.held_out, counts.unlabelled) == (0, 0, 0, 0)


def test_bad_input_changes_nothing(project, pixels, random_mask):
    image = project.images.add_array(pixels(0))
    good, bad = random_mask(0), np.zeros((4, 4), bool)

    with pytest.raises(LabelsError, match=r"\(40, 50\).*\(4, 4\)"):
        project.corrections.accept(image.id, "nuclei", Answer(bad))
    with pytest.raises(LabelsError, match="reviewed"):
        project.corrections.accept(image.id, "nuclei", Answer(good, reviewed=bad))
    with pytest.raises(PromptError, match="empty"):
        project.corrections.accept(image.id, " \n", Answer(good))
    with pytest.raises(ProjectError, match="no image 77"):
        project.corrections.accept(77, "nuclei", Answer(good))

    assert project.corrections.select(history=True) == []
    assert not list((project.root / "masks").iterdir())


def test_one_lost_mask_leaves_the_others_usable(project, pixels, random_mask):
    image = project.images.add_array(pixels(0))
    _accept(project, image.id, random_mask(0), "nuclei")
    _accept(project, image.id, random_mask(1), "gland")
    lost, kept = project.corrections.select()
    (project.root / lost.mask_file).unlink()

    with pytest.raises(ProjectError, match="cannot be read"):
        project.corrections.mask(lost)

    assert np.array_equal(project.corrections.mask(kept), random_mask(1))


def test_a_ledger_that_points_out_of_its_folder_is_refused(project, pixels, random_mask):
    import sqlite3

    image = project.images.add_array(pixels(0))
    _accept(project, image.id, random_mask(0))
    project.close()
    connection = sqlite3.connect(project.root / "project.sqlite", isolation_level=None)
    connection.execute("UPDATE corrections SET mask_file = '../../secret.tif'")
    connection.close()

    with Project.open(project.root) as again, pytest.raises(ProjectError, match="outside the project"):
        again.corrections.mask(again.corrections.select()[0])
