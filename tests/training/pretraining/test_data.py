"""Reading the data sets: sides of the lungs, canvases, held-out samples."""

import numpy as np

from training.pretraining.data import held_out, is_validation, left_right_lungs, load_taught_images


def test_the_patients_left_lung_is_on_the_right_of_the_image():
    mask = np.zeros((40, 60), np.bool_)
    mask[5:30, 5:20] = True
    mask[5:35, 35:55] = True

    left, right = left_right_lungs(mask)

    assert np.array_equal(np.nonzero(left.any(0))[0], np.arange(35, 55))
    assert np.array_equal(np.nonzero(right.any(0))[0], np.arange(5, 20))


def test_lungs_that_touch_are_cut_in_the_middle_and_nothing_is_lost():
    mask = np.zeros((40, 60), np.bool_)
    mask[10:30, 10:50] = True

    left, right = left_right_lungs(mask)

    assert np.array_equal(left | right, mask)
    assert not (left & right).any()
    assert abs(int(left.sum()) - int(right.sum())) <= 20


def test_an_empty_mask_has_no_sides():
    left, right = left_right_lungs(np.zeros((8, 8), np.bool_))

    assert not left.any()
    assert not right.any()


def test_each_kind_gets_its_concepts_and_canvas(shared_data):
    spine = next(load_taught_images(shared_data, "SPIDER-Spine", whole=64))
    lungs = next(load_taught_images(shared_data, "CXR-Lungs", whole=64))
    nuclei = next(load_taught_images(shared_data, "DSB2018", whole=64))

    assert spine.concepts == ("vertebrae", "intervertebral discs", "spinal canal")
    assert spine.image.shape == (64, 64, 3)
    assert spine.masks.shape == (3, 64, 64)
    assert np.array_equal(lungs.masks[0], lungs.masks[1] | lungs.masks[2])
    assert nuclei.image.shape == (80, 96, 3)
    assert abs(nuclei.object_size - 2 * np.sqrt(1000 / np.pi)) < 0.1


def test_sample_images_are_left_out(shared_data):
    source, stem = "DSB2018", held_out("DSB2018")[0]
    for folder in ("img", "instances"):
        (shared_data / source / folder / "image0.png").rename(shared_data / source / folder / f"{stem}.png")

    names = {image.name for image in load_taught_images(shared_data, source, whole=64)}

    assert names == {"image1", "image2", "image3"}


def test_a_held_out_subject_is_left_out_with_all_its_slices(shared_data):
    (subject,) = held_out("SPIDER-Spine")
    for folder in ("img", "labelcol"):
        for index in (0, 1):
            path = shared_data / "SPIDER-Spine" / folder / f"{index}_t2_slice1.png"
            path.rename(path.with_name(f"{subject}_SPACE_slice{index}.png"))

    names = {image.name for image in load_taught_images(shared_data, "SPIDER-Spine", whole=64)}

    assert names == {"2_t2_slice1", "3_t2_slice1"}


def test_all_slices_of_a_subject_are_on_one_side_of_the_split():
    sides = {s: {is_validation("SPIDER-Spine", f"{s}_t2_SPACE_slice{i}") for i in range(10)} for s in range(40)}

    assert all(len(side) == 1 for side in sides.values())
    assert {True, False} == {next(iter(side)) for side in sides.values()}
