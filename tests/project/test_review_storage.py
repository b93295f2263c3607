"""Pixel states, objects, locks, prompts, the overlap rule, and where one was."""

import numpy as np
import pytest
import tifffile

from napari_amvlm.errors import InputError, LabelsError, ProjectError
from napari_amvlm.project import Answer, Project, ResumeState
from napari_amvlm.review import OverlapRule, PixelState, pixel_states

SHAPE = (40, 50)


@pytest.fixture
def image_id(project, pixels):
    return project.images.add_array(pixels(0)).id


def _rows(first, last):
    region = np.zeros(SHAPE, bool)
    region[first:last] = True
    return region


def _reopened(project):
    project.close()
    return Project.open(project.root)


def test_states_of_an_answer_follow_from_it(project, image_id, random_mask):
    mask, before, reviewed = random_mask(0), random_mask(1), random_mask(2)

    correction = project.corrections.accept(image_id, "nuclei", Answer(mask, before=before, reviewed=reviewed))

    assert correction.states_file is None
    assert np.array_equal(project.corrections.states(correction), pixel_states(mask, before, reviewed))


def test_what_was_corrected_once_stays_corrected(project, image_id, random_mask):
    mask, wrong = random_mask(0), random_mask(1)
    project.corrections.accept(image_id, "nuclei", Answer(mask, before=wrong))

    project.corrections.accept(image_id, "nuclei", Answer(mask, before=mask))

    with _reopened(project) as again:
        (current,) = again.corrections.select()
        assert current.states_file is not None
        assert np.array_equal(again.corrections.states(current) == PixelState.CORRECTED, mask != wrong)


def test_regions_add_up(project, image_id, random_mask):
    first, second, proposed = random_mask(0), random_mask(1), random_mask(2)
    project.corrections.accept(image_id, "nuclei", Answer(first, region=_rows(0, 20), before=proposed))
    project.corrections.accept(image_id, "nuclei", Answer(second, region=_rows(15, 30), before=proposed))

    with _reopened(project) as again:
        (current,) = again.corrections.select()
        mask, states = again.corrections.mask(current), again.corrections.states(current)

        assert np.array_equal(mask[:15], first[:15])
        assert np.array_equal(mask[15:30], second[15:30])
        assert not mask[30:].any()
        assert np.array_equal(again.corrections.reviewed(current), _rows(0, 30))
        assert np.array_equal(states > 0, _rows(0, 30))
        assert np.array_equal(states[:15] == 2, (first != proposed)[:15])
        assert (states[15:30][(second != proposed)[15:30]] == 2).all()
        assert len(again.corrections.select(history=True)) == 2


def test_objects_come_back_and_cover_their_mask(project, image_id):
    numbers = np.random.default_rng(0).integers(0, 70000, SHAPE)

    correction = project.corrections.accept(image_id, "nuclei", Answer(numbers > 0, objects=numbers))

    assert np.array_equal(project.corrections.objects(correction), numbers)
    with pytest.raises(LabelsError, match="cover"):
        project.corrections.accept(image_id, "nuclei", Answer(numbers > 35000, objects=numbers))
    with pytest.raises(LabelsError, match="renumber"):
        project.corrections.accept(image_id, "nuclei", Answer(numbers != 0, objects=-numbers))


def test_without_numbers_each_piece_is_an_object(project, image_id):
    correction = project.corrections.accept(image_id, "nuclei", Answer(_rows(0, 3) | _rows(7, 9)))

    assert project.corrections.objects(correction)[[0, 5, 8], 0].tolist() == [1, 0, 2]


def test_accepted_objects_are_locked_until_unlocked(project, image_id):
    mask = _rows(0, 3) | _rows(7, 9)
    correction = project.corrections.accept(image_id, "nuclei", Answer(mask))
    project.corrections.accept(image_id, "gland", Answer(_rows(20, 22)))
    image = project.images.get(image_id)
    assert np.array_equal(project.locks.pixels(image), mask | _rows(20, 22))

    project.locks.set(correction, [2], locked=False)

    with _reopened(project) as again:
        assert again.locks.unlocked(correction) == {2}
        assert np.array_equal(again.locks.pixels(image), _rows(0, 3) | _rows(20, 22))
        assert again.locks.set(correction, [1, 2], locked=True) == frozenset()
        newer = again.corrections.accept(image_id, "nuclei", Answer(mask))
        assert again.locks.unlocked(newer) == frozenset()
        with pytest.raises(LabelsError, match="no object"):
            again.locks.set(newer, [0], locked=False)


def test_a_scale_chosen_by_hand_is_kept(project, image_id, random_mask):
    correction = project.corrections.accept(image_id, "a", Answer(random_mask(0), scale="tiles", magnification=0.5))

    assert (correction.scale, correction.magnification, correction.origin) == ("tiles", 0.5, None)
    with pytest.raises(LabelsError, match="magnification"):
        project.corrections.accept(image_id, "a", Answer(random_mask(0), magnification=0))


def test_prompts_keep_how_they_are_set(project):
    project.prompts.add("  left   lung ")
    project.prompts.set_up("nuclei", threshold=0.4, scale="tiles", magnification=2)

    with _reopened(project) as again:
        assert [(p.text, p.threshold, p.scale, p.magnification) for p in again.prompts.all()] == [
            ("left lung", None, None, None),
            ("nuclei", 0.4, "tiles", 2.0),
        ]
        for wrong in ({"threshold": 1.5}, {"magnification": 0}, {"scale": "half"}):
            with pytest.raises(InputError, match="'nuclei' must"):
                again.prompts.set_up("nuclei", **wrong)
        with pytest.raises(ProjectError, match="no prompt"):
            again.prompts.get("bone")


def test_the_rule_for_overlaps_is_kept_and_can_be_changed(project):
    assert project.prompts.overlap_rule() is OverlapRule.SMALLEST
    for prompt in ("a", "b", "c"):
        project.prompts.add(prompt)

    project.prompts.set_overlap_rule(OverlapRule.PRIORITY, ["c", "a"])

    with _reopened(project) as again:
        assert again.prompts.overlap_rule() is OverlapRule.PRIORITY
        assert again.prompts.overlap_order() == ["c", "a"]
        assert [p.text for p in again.prompts.all()] == ["c", "a", "b"]
        with pytest.raises(InputError, match="twice"):
            again.prompts.set_overlap_rule(OverlapRule.PRIORITY, ["a", " a"])
        again.prompts.set_overlap_rule(OverlapRule.SMALLEST)
        assert again.prompts.overlap_order() == []


def test_work_goes_on_where_it_was_left(project):
    assert project.resume_state() is None
    state = ResumeState(
        image_id=3, camera_centre=(0.0, 12.5, 7.0), camera_zoom=2.25, step=(4, 0), prompt="nuclei", threshold=0.4
    )

    project.store_resume_state(ResumeState(image_id=1))
    project.store_resume_state(state)

    with _reopened(project) as again:
        assert again.resume_state() == state


def test_a_strange_resume_state_is_only_forgotten(project):
    project.store_resume_state(ResumeState(image_id=1))
    with project._ledger.transaction() as connection:
        connection.execute("UPDATE facts SET value = '{\"colour\": 1}' WHERE key = 'resume'")

    assert project.resume_state() is None


def test_moved_images_are_found_in_a_folder_given_once(project, tmp_path, pixels):
    here, far = tmp_path / "here", tmp_path / "far" / "away" / "deep"
    here.mkdir()
    records = []
    for number in range(3):
        tifffile.imwrite(here / f"{number}.tif", pixels(number), photometric="rgb")
        records.append(project.images.add_file(here / f"{number}.tif"))
    far.mkdir(parents=True)
    for number in (1, 2):
        (here / f"{number}.tif").rename(far / f"renamed {number}.tif")
    assert project.images.missing() == records[1:]

    found = project.images.find(tmp_path / "far")

    assert [record.path for record in found] == [far / "renamed 1.tif", far / "renamed 2.tif"]
    assert project.images.missing() == []
    assert np.array_equal(project.images.load(project.images.get(records[2].id)), pixels(2))
    assert project.images.find(tmp_path / "far") == []
    with pytest.raises(ProjectError, match="no folder"):
        project.images.find(tmp_path / "nowhere")


def test_objects_that_were_told_apart_stay_so_when_a_region_elsewhere_is_accepted(project, image_id):
    objects = np.zeros((40, 50), np.int32)
    objects[5:10, 5:10], objects[5:10, 10:15] = 1, 2
    project.corrections.accept(
        image_id, "nuclei", Answer(objects > 0, objects=objects, scale="tiles", magnification=2.0)
    )
    mask = objects > 0
    mask[30:35, 30:35] = True

    correction = project.corrections.accept(image_id, "nuclei", Answer(mask, region=_rows(20, 40)))

    stored = project.corrections.objects(correction)
    assert np.array_equal(stored[:20], objects[:20])
    assert sorted(np.unique(stored).tolist()) == [0, 1, 2, 3]
    assert (correction.scale, correction.magnification) == ("tiles", 2.0)
