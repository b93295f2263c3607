"""Drafts: painted and not accepted, on the disk until Accept or Reject."""

import numpy as np
import pytest

from napari_amvlm.errors import LabelsError, ProjectError
from napari_amvlm.project import Answer, Project


@pytest.fixture
def image_id(project, pixels):
    return project.images.add_array(pixels(0)).id


def _files(project):
    return sorted(path.name for path in (project.root / "drafts").iterdir())


def test_a_draft_is_there_after_reopening(project, image_id, random_mask):
    accepted = project.corrections.accept(image_id, "nuclei", Answer(random_mask(0)))
    objects = random_mask(1) * np.arange(1, 51)
    answer = Answer(
        random_mask(1),
        objects=objects,
        reviewed=random_mask(2),
        before=random_mask(3),
        model="m",
        threshold=0.4,
        seconds_spent=7.5,
        scale="tiles",
        magnification=2.0,
    )
    kept = project.drafts.keep(image_id, "nuclei", answer, accepted.id)
    project.close()

    with Project.open(project.root) as again:
        (draft,) = again.drafts.of(image_id)
        loaded = again.drafts.load(draft)

    assert draft == kept
    assert (draft.prompt, draft.base) == ("nuclei", accepted.id)
    for name in ("mask", "objects", "reviewed", "before"):
        assert np.array_equal(getattr(loaded, name), getattr(answer, name))
    scalars = ("model", "threshold", "seconds_spent", "scale", "magnification", "region", "origin")
    assert [getattr(loaded, name) for name in scalars] == [getattr(answer, name) for name in scalars]


def test_a_newer_draft_replaces_the_former(project, image_id, random_mask):
    project.drafts.keep(image_id, "nuclei", Answer(random_mask(1), before=random_mask(2)))
    project.drafts.keep(image_id, "nuclei", Answer(random_mask(3)))
    project.drafts.keep(image_id, "gland", Answer(random_mask(4)))

    nuclei, gland = project.drafts.of(image_id)

    assert np.array_equal(project.drafts.load(nuclei).mask, random_mask(3))
    assert np.array_equal(project.drafts.load(gland).mask, random_mask(4))
    assert len(_files(project)) == 2


def test_a_draft_changes_nothing_that_is_accepted(project, image_id, random_mask):
    project.drafts.keep(image_id, "nuclei", Answer(random_mask(1)))

    assert project.corrections.select() == []
    assert project.images.counts().accepted == 0
    assert project.queue.items()[0].status == "new"


@pytest.mark.parametrize("decision", ["accept", "reject", "drop"])
def test_what_ends_a_draft(project, image_id, random_mask, decision):
    project.drafts.keep(image_id, "nuclei", Answer(random_mask(1), before=random_mask(2)))
    project.drafts.keep(image_id, "gland", Answer(random_mask(3)))

    if decision == "accept":
        project.corrections.accept(image_id, " nuclei ", Answer(random_mask(4)))
    elif decision == "reject":
        project.corrections.reject(image_id, "nuclei")
    else:
        project.drafts.drop(image_id, "nuclei")

    assert [draft.prompt for draft in project.drafts.of(image_id)] == ["gland"]
    assert len(_files(project)) == 1


def test_an_accepted_region_keeps_the_draft_of_the_rest(project, image_id, random_mask):
    project.drafts.keep(image_id, "nuclei", Answer(random_mask(1)))

    project.corrections.accept(image_id, "nuclei", Answer(random_mask(1), region=random_mask(2)))

    assert len(project.drafts.of(image_id)) == 1


def test_a_draft_that_does_not_fit_is_refused(project, image_id, random_mask):
    project.drafts.keep(image_id, "nuclei", Answer(random_mask(1)))

    with pytest.raises(LabelsError, match="shape"):
        project.drafts.keep(image_id, "nuclei", Answer(np.zeros((3, 4), np.bool_)))
    with pytest.raises(ProjectError, match="no image 9"):
        project.drafts.keep(9, "nuclei", Answer(random_mask(1)))

    (draft,) = project.drafts.of(image_id)
    assert np.array_equal(project.drafts.load(draft).mask, random_mask(1))


def test_a_damaged_draft_is_named(project, image_id, random_mask):
    draft = project.drafts.keep(image_id, "nuclei", Answer(random_mask(1)))
    (project.root / draft.mask_file).write_bytes(b"no mask")

    with pytest.raises(ProjectError, match="was changed"):
        project.drafts.load(draft)


def test_a_reader_sees_drafts_and_keeps_none(project, image_id, random_mask):
    project.drafts.keep(image_id, "nuclei", Answer(random_mask(1)))

    with Project.open(project.root, read_only=True) as reader:
        assert len(reader.drafts.all()) == 1
        with pytest.raises(ProjectError, match="reading only"):
            reader.drafts.keep(image_id, "nuclei", Answer(random_mask(2)))
        with pytest.raises(ProjectError, match="reading only"):
            reader.drafts.drop(image_id, "nuclei")
    assert len(_files(project)) == 1


def test_files_that_no_draft_names_are_removed_by_the_next_writer(project, image_id, random_mask):
    draft = project.drafts.keep(image_id, "nuclei", Answer(random_mask(1)))
    project.close()
    (project.root / "drafts" / "000001-left-mask.tif").write_bytes(b"of a program that was killed")

    with Project.open(project.root) as again:
        assert np.array_equal(again.drafts.load(draft).mask, random_mask(1))
        assert len(_files(again)) == 1
