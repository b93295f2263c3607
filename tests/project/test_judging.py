"""Held-out images, models served, discarded and rolled back, and scores of single images."""

import dataclasses
import sqlite3

import numpy as np
import pytest

from napari_amvlm.errors import ProjectError
from napari_amvlm.project import Answer, ImageScore, Project


def _accept(project, image_id, prompt, mask):
    return project.corrections.accept(image_id, prompt, Answer(mask)).id


@pytest.fixture
def images(project, pixels):
    return [project.images.add_array(pixels(number)).id for number in range(24)]


@pytest.fixture
def models(project, tmp_path):
    found = []
    for number in range(3):
        (tmp_path / f"m{number}.safetensors").write_bytes(bytes([number]))
        found.append(project.models.add(tmp_path / f"m{number}.safetensors").id)
    return found


def test_every_prompt_has_its_share_of_held_out_images(project, images, random_mask):
    for number, image_id in enumerate(images):
        _accept(project, image_id, "rare" if number % 3 == 0 else "common", random_mask(number))

    held_out = {record.id for record in project.images.held_out()}

    by_prompt = {
        prompt: [c.image_id in held_out for c in project.corrections.select(prompt=prompt)]
        for prompt in ("rare", "common")
    }
    assert [sum(found) for found in by_prompt.values()] == [2, 4]
    assert [len(found) for found in by_prompt.values()] == [8, 16]


def test_a_prompt_that_comes_later_gets_held_out_images_too(project, images, random_mask):
    for image_id in images[:8]:
        _accept(project, image_id, "first", random_mask(image_id))
    before = {record.id for record in project.images.held_out()}
    others = [image_id for image_id in images[:8] if image_id not in before]

    for image_id in others[:4]:
        _accept(project, image_id, "second", random_mask(image_id))

    assert {record.id for record in project.images.held_out()} == before | {others[3]}


def test_an_image_that_was_learnt_from_never_scores(project, images, random_mask):
    learnt = [_accept(project, image_id, "first", random_mask(image_id)) for image_id in images[:3]]
    project.runs.start({}, train=learnt)

    for image_id in images[:3]:
        _accept(project, image_id, "second", random_mask(image_id))
    fourth = images[3]
    _accept(project, fourth, "first", random_mask(0))
    _accept(project, fourth, "second", random_mask(0))
    for image_id in images[:3]:
        for prompt in ("third", "fourth"):
            _accept(project, image_id, prompt, random_mask(0))

    assert [record.id for record in project.images.held_out()] == [fourth]


def test_an_image_that_was_learnt_from_while_its_draw_was_undone_never_scores(project, images, random_mask):
    for image_id in images[:5]:
        _accept(project, image_id, "first", random_mask(image_id))
    fifth = images[4]
    second = _accept(project, fifth, "second", random_mask(9))
    project.corrections.undo(fifth, "first")
    project.runs.start({}, train=[second])
    for image_id in images[5:8]:  # the fifth would be the eighth of its prompt now, and held out
        _accept(project, image_id, "first", random_mask(image_id))

    project.corrections.redo(fifth, "first")

    assert [record.id for record in project.images.held_out()] == [images[3]]


def test_a_decision_by_hand_is_not_changed_by_the_draw(project, images, random_mask):
    for image_id in images[:4]:
        project.images.set_held_out(image_id, False)
        for prompt in ("first", "second"):
            _accept(project, image_id, prompt, random_mask(image_id))

    assert project.images.held_out() == []


@pytest.mark.parametrize("role", ["train", "unlabelled"])
def test_a_run_that_would_learn_from_a_held_out_image_is_refused(project, images, random_mask, role):
    correction = _accept(project, images[0], "a", random_mask(0))
    project.images.set_held_out(images[0], True)

    with pytest.raises(ProjectError, match="scores models"):
        project.runs.start({}, **{role: [correction if role == "train" else images[0]]})

    assert project.runs.all() == []


def test_rolling_back_goes_further_back_each_time(project, models):
    for model_id in models:
        project.models.serve(model_id)

    found = [project.models.roll_back(), project.models.roll_back(), project.models.roll_back()]

    assert [None if model is None else model.id for model in found] == [models[1], models[0], None]
    assert project.models.served() is None
    assert [serving.model_id for serving in project.models.servings()] == [*models, models[1], models[0], None]
    with pytest.raises(ProjectError, match="nothing to roll back"):
        project.models.roll_back()
    project.models.serve(models[2])
    assert project.models.served() is not None


def test_rolling_back_passes_a_model_that_was_discarded(project, models):
    for model_id in models:
        project.models.serve(model_id)
    project.models.discard(models[1])

    assert project.models.roll_back() == project.models.get(models[0])
    assert [model.id for model in project.models.all()] == [models[0], models[2]]


def test_a_discarded_model_is_not_listed_and_can_be_taken_up_again(project, models):
    project.models.serve(models[0])
    project.models.discard(models[1])

    assert [model.id for model in project.models.all()] == [models[0], models[2]]
    assert [model.discarded for model in project.models.all(discarded=True)] == [False, True, False]
    assert project.models.all(discarded=True)[1].path.is_file()
    with pytest.raises(ProjectError, match="serves"):
        project.models.discard(models[0])
    project.models.serve(models[1])
    assert [model.id for model in project.models.all()] == models


@pytest.mark.parametrize(("damage", "said"), [("unlink", "is gone"), ("write", "was changed")])
def test_a_model_whose_file_is_not_what_it_was_is_not_served(project, models, damage, said):
    project.models.serve(models[0])
    path = project.models.all()[1].path
    if damage == "unlink":
        path.unlink()
    else:
        path.write_bytes(b"other")

    with pytest.raises(ProjectError, match=said):
        project.models.serve(models[1])

    served = project.models.served()
    assert served is not None
    assert served.id == models[0]


def test_the_worst_score_comes_first(project, images):
    run = project.runs.start({}, unlabelled=images[4:6])
    mask = np.ones(project.images.get(images[0]).shape, bool)
    pairs = [(images[0], "nuclei", 0.9, 0.7), (images[1], "nuclei", 0.2, None), (images[0], "gland", None, 0.1)]
    scores = [
        ImageScore(image, project.images.get(image).name, before, after, prompt, _accept(project, image, prompt, mask))
        for image, prompt, before, after in pairs
    ]

    project.runs.store_scores(run.id, scores)

    project.close()
    with Project.open(project.root) as again:
        assert again.runs.scores(run.id) == [scores[2], scores[0], scores[1]]
        assert again.runs.unlabelled(run.id) == images[4:6]
        changed = dataclasses.replace(scores[0], after=0.05, corrected=False)
        again.runs.store_scores(run.id, [changed])
        assert again.runs.scores(run.id) == [changed, scores[2], scores[1]]
        with pytest.raises(ProjectError, match="no run 9"):
            again.runs.store_scores(9, scores)


def test_a_run_of_an_older_version_has_its_means(project, images):
    run = project.runs.start({})
    project.close()
    connection = sqlite3.connect(project.root / "project.sqlite")
    connection.execute("INSERT INTO run_scores VALUES (?, ?, 0.5, 0.6)", (run.id, images[0]))
    connection.commit()
    connection.close()

    with Project.open(project.root) as again:
        (score,) = again.runs.scores(run.id)

    assert (score.image_id, score.before, score.after, score.prompt) == (images[0], 0.5, 0.6, "")
