"""Stacks: slices, their common values, and objects that keep their number."""

import numpy as np
import pytest

from napari_amvlm.errors import Cancelled, ImageError, InputError
from napari_amvlm.imaging import ImageData, to_rgb01, value_limits
from napari_amvlm.slides import ObjectLinker, predict_stack


def _stack(*shape):
    rng = np.random.default_rng(5)
    return (rng.integers(0, 4000, shape) + np.arange(shape[-3])[:, None, None] * 900).astype(np.int16)


def test_every_slice_is_what_the_predictor_says_of_it(predictor):
    volume = _stack(4, 70, 90)

    reports = list(predict_stack(predictor, ImageData(volume, "v", None, False, axes="ZYX"), ["nuclei", "left lung"]))

    limits = value_limits(volume.reshape(-1, 90))
    assert [report.index for report in reports] == [(0,), (1,), (2,), (3,)]
    assert [(report.done, report.total) for report in reports] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for report in reports:
        predictor.set_image(volume[report.index], limits=limits)
        for prompt, found in zip(("nuclei", "left lung"), report.predictions, strict=True):
            assert np.array_equal(found.probability, predictor.predict(prompt).probability)


def test_a_structure_has_the_same_values_in_every_slice():
    volume = np.zeros((2, 40, 40), np.int16)
    volume[0, :20], volume[1, :2], volume[1, 30:] = 1000, 1000, 4000
    limits = value_limits(volume.reshape(-1, 40))

    first, second = (to_rgb01(plane, limits=limits) for plane in volume)

    assert first[0, 0, 0] == second[0, 0, 0]
    assert to_rgb01(volume[0])[0, 0, 0] != to_rgb01(volume[1])[0, 0, 0]


def test_a_range_of_slices_at_every_time(predictor):
    image = ImageData(_stack(2, 5, 40, 40), "v", None, False, axes="TZYX")

    reports = list(predict_stack(predictor, image, ["nuclei"], slices=(1, 2)))

    assert [report.index for report in reports] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert [report.starts_volume for report in reports] == [True, False, True, False]


def test_colour_stacks(predictor):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 50, 3), dtype=np.uint8)

    reports = list(predict_stack(predictor, ImageData(pixels, "v", None, True, axes="ZYX"), ["nuclei"]))

    assert [report.predictions[0].probability.shape for report in reports] == [(40, 50)] * 3


def test_slices_that_are_not_there(predictor):
    image = ImageData(_stack(5, 40, 40), "scan", None, False, axes="ZYX")

    with pytest.raises(InputError, match="scan: expected slices from 0 to 4, but got 2 to 9"):
        next(predict_stack(predictor, image, ["nuclei"], slices=(2, 9)))
    with pytest.raises(ImageError, match="one plane"):
        next(predict_stack(predictor, ImageData(_stack(1, 40, 40)[0], "p", None, False), ["nuclei"]))


def test_cancelling_keeps_the_slices_that_were_reported(predictor):
    image = ImageData(_stack(5, 40, 40), "v", None, False, axes="ZYX")
    done = []

    with pytest.raises(Cancelled):
        done.extend(
            report.done for report in predict_stack(predictor, image, ["nuclei"], should_stop=lambda: len(done) >= 2)
        )

    assert done == [1, 2]


def _slice(**boxes):
    """Return objects numbered in the order given, each from (top, left) to (bottom, right)."""
    plane = np.zeros((60, 60), np.int32)
    for number, (top, left, bottom, right) in enumerate(boxes.values(), start=1):
        plane[top:bottom, left:right] = number
    return plane


def test_objects_keep_their_number_in_the_next_slice():
    linker = ObjectLinker()
    first = linker.link(_slice(a=(0, 0, 10, 10), b=(30, 30, 50, 50)))

    second = linker.link(_slice(b=(32, 30, 52, 50), a=(1, 1, 11, 11)))

    assert (first[5, 5], first[40, 40]) == (1, 2)
    assert (second[5, 5], second[40, 40]) == (1, 2)


def test_of_two_parts_one_keeps_the_number():
    linker = ObjectLinker()
    linker.link(_slice(whole=(0, 0, 20, 40)))

    parts = linker.link(_slice(small=(0, 0, 20, 10), large=(0, 12, 20, 40)))

    assert (parts[5, 30], parts[5, 5]) == (1, 2)


def test_little_overlap_is_another_object_and_numbers_are_never_used_again():
    linker = ObjectLinker()
    linker.link(_slice(a=(0, 0, 20, 20)))
    touching = linker.link(_slice(b=(15, 15, 35, 35)))
    linker.link(_slice())
    later = linker.link(_slice(c=(15, 15, 35, 35)))
    linker.start_again()
    other = linker.link(_slice(d=(15, 15, 35, 35)))

    assert (touching[20, 20], later[20, 20], other[20, 20]) == (2, 3, 4)
