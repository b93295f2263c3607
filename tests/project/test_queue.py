import numpy as np
import pytest

from napari_amvlm.errors import InputError, ProjectError
from napari_amvlm.project import Answer, Project, Region, TileScores, rank

HALVES = (Region(0, 0, 20, 50), Region(20, 0, 20, 50))


@pytest.fixture
def filled(project, pixels):
    """Return a project of five images, called a to e."""
    for number, name in enumerate("abcde"):
        project.images.add_array(pixels(number), name=name)
    return project


def _names(project):
    return "".join(item.name for item in project.queue.items())


def _half(rows):
    region = np.zeros((40, 50), bool)
    region[rows] = True
    return region


def _scores(value):
    return TileScores(np.array([[0, 0, 20, 50], [20, 0, 20, 50]]), np.full(2, value), np.full(2, value / 2))


def test_every_image_is_in_the_queue_once(filled, pixels):
    filled.images.add_array(pixels(0))

    assert _names(filled) == "abcde"
    assert {item.status for item in filled.queue.items()} == {"new"}
    assert filled.queue.counts() == {"new": 5, "predicted": 0, "in work": 0, "accepted": 0, "skipped": 0}


def test_the_status_follows_what_is_done(filled, random_mask):
    first, second, third = filled.queue.items()[:3]
    for item in (first, second, third):
        filled.queue.note_predicted(item.id)
    filled.corrections.accept(first.image_id, "nuclei", Answer(random_mask(0)))
    filled.corrections.accept(second.image_id, "nuclei", Answer(random_mask(0), reviewed=_half(slice(20))))
    filled.queue.set_status(third.id, "skipped")
    filled.queue.note_predicted(third.id)

    assert [item.status for item in filled.queue.items()] == ["accepted", "in work", "skipped", "new", "new"]
    assert [item.name for item in filled.queue.items(["accepted", "skipped"])] == ["a", "c"]
    assert filled.queue.items([]) == []
    filled.corrections.accept(first.image_id, "gland", Answer(random_mask(0), reviewed=_half(slice(20))))
    assert filled.queue.get(first.id).status == "accepted"
    filled.corrections.reject(first.image_id, "nuclei")
    assert filled.queue.get(first.id).status == "in work"  # of the other prompt a half was reviewed
    filled.corrections.reject(first.image_id, "gland")
    assert filled.queue.get(first.id).status == "in work"


def test_regions_stand_for_their_image(filled, random_mask):
    top, bottom = filled.queue.add_regions(2, HALVES)
    again = filled.queue.add_regions(2, HALVES)

    assert [again[0].id, again[1].id] == [top.id, bottom.id]
    assert (top.region, bottom.region) == HALVES
    assert _names(filled) == "acdebb"
    filled.corrections.accept(2, "nuclei", Answer(random_mask(0), region=_half(slice(25))))
    assert [filled.queue.get(i.id).status for i in (top, bottom)] == ["accepted", "in work"]
    filled.corrections.accept(2, "nuclei", Answer(random_mask(0), region=_half(slice(20, 40))))
    assert [filled.queue.get(i.id).status for i in (top, bottom)] == ["accepted", "accepted"]


@pytest.mark.parametrize("region", [Region(0, 0, 41, 50), Region(-1, 0, 5, 5), Region(0, 0, 0, 5)])
def test_regions_outside_are_told(filled, region):
    with pytest.raises(InputError, match="Region"):
        filled.queue.add_regions(2, [HALVES[0], region])

    assert _names(filled) == "abcde"


def test_next_and_previous_stop_at_what_is_wanted(filled):
    ids = [item.id for item in filled.queue.items()]
    filled.queue.set_status(ids[1], "skipped")

    def step(here, by, *statuses):
        found = filled.queue.step(here, by, statuses or None)
        return None if found is None else found.name

    assert [step(None, 1), step(ids[0], 1), step(ids[0], 1, "new"), step(ids[4], 1)] == ["a", "b", "c", None]
    assert [step(ids[4], -1), step(ids[2], -1, "new"), step(ids[0], -1), step(None, -1)] == ["d", "a", None, None]
    assert step(ids[1], 1, "new") == "c"
    assert step(ids[0], 3) == "d"
    with pytest.raises(ProjectError, match="no item 99"):
        filled.queue.step(99, 1)


def test_the_order_is_stored_and_new_images_come_last(filled, pixels):
    values = {1: 0.2, 2: 0.9, 4: 0.5}
    for item_id, value in values.items():
        filled.queue.store_scores(item_id, "nuclei", _scores(value))

    assert "".join(item.name for item in filled.queue.sort()) == "bdace"
    filled.images.add_array(pixels(9), name="f")
    filled.close()
    with Project.open(filled.root, read_only=True) as again:
        assert _names(again) == "bdacef"


def test_features_bring_diversity(filled):
    scores, features = [0.9, 0.89, 0.88, 0.4, 0.1], [[0, 0], [0, 0.1], [0.1, 0], [3, 3], [9, 0]]
    for item, score, feature in zip(filled.queue.items(), scores, features, strict=True):
        filled.queue.store_scores(item.id, "nuclei", _scores(score))
        filled.queue.store_feature(item.id, feature, model="m")

    order = filled.queue.sort(diversity=0.6)

    wanted = rank([0.75 * s for s in scores], features, diversity=0.6)
    assert [item.id - 1 for item in order] == wanted
    assert filled.queue.feature(4) == pytest.approx([3, 3])
    assert filled.queue.feature(1).dtype == np.float32
    filled.queue.store_feature(5, [1.0, 2.0, 3.0], model="other")
    assert "".join(item.name for item in filled.queue.sort(diversity=0.6)) == "abcde"


def test_scores_of_chosen_prompts_count(filled):
    filled.queue.store_scores(1, "nuclei", _scores(0.1))
    filled.queue.store_scores(2, "nuclei", _scores(0.2))
    filled.queue.store_scores(1, "gland", _scores(0.9))

    assert [item.name for item in filled.queue.sort(prompts=["nuclei"])][:2] == ["b", "a"]
    assert [item.name for item in filled.queue.sort()][:2] == ["a", "b"]


def test_a_student_that_follows_its_teacher_closely_still_counts(filled):
    for item_id, disagreement, entropy in ((1, 0.001, 0.40), (2, 0.02, 0.39), (3, 0.0, 0.2)):
        scores = TileScores(np.array([[0, 0, 40, 50]]), np.array([disagreement]), np.array([entropy]))
        filled.queue.store_scores(item_id, "nuclei", scores)

    assert [item.name for item in filled.queue.sort()][:3] == ["b", "a", "c"]


def test_what_is_done_comes_last_and_the_like_of_it_later(filled):
    scores, features = [0.9, 0.8, 0.7, 0.1], [[0, 0], [0, 0.1], [3, 3], [3, 2.9]]
    for item_id, score, feature in zip((1, 2, 3, 4), scores, features, strict=True):
        filled.queue.store_scores(item_id, "nuclei", _scores(score))
        filled.queue.store_feature(item_id, feature, model="m")
    filled.queue.sort()
    before = _names(filled)

    filled.queue.set_status(1, "accepted")
    after = "".join(item.name for item in filled.queue.sort())
    filled.queue.set_status(1, "skipped")
    skipped = "".join(item.name for item in filled.queue.sort())

    assert (before, after, skipped) == ("acbde", "cbdea", "bcdea")


def test_the_heat_map_says_what_the_order_says(filled):
    tiles = np.array([[0, 0, 20, 50], [20, 0, 20, 50]])
    filled.queue.store_scores(1, "nuclei", TileScores(tiles, np.array([0.1, 0.0]), np.array([0.2, 0.4])))
    filled.queue.store_scores(2, "nuclei", TileScores(tiles, np.array([0.2, 0.2]), np.array([0.8, 0.8])))

    heat = filled.queue.heat([1], "nuclei", (40, 50))
    with_pixels = filled.queue.heat([1], "nuclei", (40, 50), np.full((40, 50), 0.4))

    assert filled.queue.units() == pytest.approx((0.2, 0.8))
    assert heat[[0, 39], [0, 49]] == pytest.approx([0.375, 0.25])
    assert with_pixels[[0, 39], [0, 49]] == pytest.approx([0.5, 0.25])
    assert filled.queue.heat([3], "nuclei", (40, 50)) is None
    assert filled.queue.heat([1], "gland", (40, 50)) is None
    filled.queue.set_status(2, "accepted")
    assert filled.queue.units() == pytest.approx((0.1, 0.4))


def test_stored_scores_come_back(filled):
    filled.queue.store_scores(1, "nuclei", _scores(0.4), model="m")
    filled.queue.store_scores(1, "nuclei", _scores(0.6), model="m")

    (scores,) = filled.queue.scores(1).values()

    assert scores.tiles.tolist() == [[0, 0, 20, 50], [20, 0, 20, 50]]
    assert scores.disagreement == pytest.approx([0.6, 0.6])
    assert scores.entropy == pytest.approx([0.3, 0.3])
    assert filled.queue.scores(2) == {}


def test_a_reader_lists_and_does_not_change(filled):
    with Project.open(filled.root, read_only=True) as reader:
        assert len(reader.queue.items()) == 5
        with pytest.raises(ProjectError, match="for reading only"):
            reader.queue.set_status(1, "skipped")
        with pytest.raises(ProjectError, match="for reading only"):
            reader.queue.sort()
