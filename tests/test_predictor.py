"""The predictor: caching, replacing the model, threads, and bad input."""

import threading

import numpy as np
import pytest
import torch

from napari_amvlm.errors import Cancelled, DeviceError, ImageError, OutOfMemoryError, PromptError
from napari_amvlm.imaging import to_rgb01
from napari_amvlm.models.build import build_model
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.models.feature_maps import embedding_key
from napari_amvlm.models.text_prompted import load_text_model, probability_of
from napari_amvlm.predictor import Predictor


def _image(seed=0, shape=(100, 130, 3)):
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


@pytest.fixture
def predictor(tiny_model):
    return Predictor(tiny_model, device="cpu")


def test_a_second_prompt_does_not_encode_the_image_again(predictor):
    predictor.set_image(_image())
    first = []
    second = []

    predictor.predict("nuclei", on_progress=lambda *c: first.append(c))
    predictor.predict("cell nuclei", on_progress=lambda *c: second.append(c))

    assert len(second) * 2 == len(first)


def test_answers_do_not_depend_on_what_was_asked_before(predictor, tiny_model):
    predictor.set_image(_image(0))
    predictor.predict("left lung")
    predictor.set_image(_image(1))
    later = predictor.predict("nuclei")

    fresh = Predictor(tiny_model, device="cpu")
    fresh.set_image(_image(1))

    assert np.array_equal(later.probability, fresh.predict("nuclei").probability)


@pytest.mark.parametrize("views", [4, 8])
def test_several_views_answer_alike_for_a_turned_image(tiny_model, views):
    predictor = Predictor(tiny_model, device="cpu", views=views)
    image = _image(shape=(96, 128, 3))

    def answer(pixels):
        predictor.set_image(pixels)
        return predictor.predict("nuclei", scale="tiles").probability

    upright, on_its_side = answer(image), answer(np.rot90(image))
    alone = Predictor(tiny_model, device="cpu")
    alone.set_image(image)
    one_view = alone.predict("nuclei", scale="tiles").probability

    assert np.allclose(np.rot90(upright), on_its_side, atol=2e-2)
    assert not np.allclose(upright, one_view, atol=2e-2)


@pytest.mark.parametrize(("prompt", "scale"), [("left lung", "whole"), ("nuclei on the left", "tiles")])
def test_what_has_its_place_is_seen_in_one_view(tiny_model, prompt, scale):
    answers = []
    for views in (1, 8):
        predictor = Predictor(tiny_model, device="cpu", views=views)
        predictor.set_image(_image())
        answers.append(predictor.predict(prompt, scale=scale).probability)

    assert np.array_equal(*answers)


def test_only_the_image_as_it_is_is_kept_of_several_views(tiny_model):
    predictor = Predictor(tiny_model, device="cpu", views=4)
    predictor.set_image(_image())

    predictor.predict("nuclei", scale="tiles")

    assert len(predictor._served.cache) == 1


def test_a_known_key_finds_the_cached_image(predictor):
    calls = []
    for seed in (0, 1):
        predictor.set_image(_image(seed), key=seed)
        predictor.predict("nuclei")

    predictor.set_image(_image(0), key=0)
    predictor.predict("nuclei", on_progress=lambda *c: calls.append(c))

    assert sum(done == total for done, total in calls) == 1


def test_the_cache_is_bounded(tiny_model):
    predictor = Predictor(tiny_model, device="cpu", cache_bytes=1)
    for seed in range(3):
        predictor.set_image(_image(seed))
        predictor.predict("nuclei")

    assert len(predictor._served.cache) == 1


def test_another_model_gives_another_answer_at_once(predictor, tiny_model):
    predictor.set_image(_image())
    before = predictor.predict("nuclei").probability
    other = build_model(tiny_model.config, text_encoder=tiny_model.text_encoder, seed=9)

    predictor.replace_model(other)

    assert not np.allclose(before, predictor.predict("nuclei").probability, atol=1e-3)


@pytest.mark.parametrize("shape", [(100, 130), (100, 130, 3), (100, 130, 4)])
def test_gray_rgb_and_rgba_are_taken(predictor, shape):
    predictor.set_image(_image(shape=shape))

    assert predictor.predict("nuclei").mask(0.3).shape == (100, 130)


def test_two_threads_get_their_own_answers(predictor):
    predictor.set_image(_image())
    expected = {p: predictor.predict(p).probability for p in ("nuclei", "left lung")}
    found = {}
    threads = [
        threading.Thread(target=lambda p=p: found.update({p: predictor.predict(p).probability})) for p in expected
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(np.array_equal(found[p], expected[p]) for p in expected)


def test_cancelling_leaves_a_usable_predictor(predictor):
    predictor.set_image(_image())
    with pytest.raises(Cancelled):
        predictor.predict("nuclei", should_stop=lambda: True)

    assert predictor.predict("nuclei").probability.shape == (100, 130)


def test_too_little_memory_is_told_and_what_was_cached_is_forgotten(predictor):
    predictor.set_image(_image(0), key="kept")
    predictor.predict("nuclei")
    predictor.set_image(_image(1))

    # A real allocation failure, of a petabyte, before the first tile.
    with pytest.raises(OutOfMemoryError, match="cpu has not enough memory for this image"):
        predictor.predict("nuclei", should_stop=lambda: torch.empty(1 << 50).numel() == 0)

    assert not predictor._served.cache
    assert predictor.predict("nuclei").probability.shape == (100, 130)


def test_short_memory_is_told_and_the_tiles_come_one_by_one(predictor, caplog):
    predictor.set_image(_image())
    expected = predictor.predict("nuclei", scale="tiles").probability

    def fail(_module, arguments):
        if len(arguments[0]) > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")

    handle = predictor.model.image_encoder.register_forward_pre_hook(fail)
    predictor.set_image(_image())
    found = predictor.predict("nuclei", scale="tiles").probability
    handle.remove()

    assert np.allclose(found, expected, atol=2e-2)
    steps = ("2 tiles at once", "1 tile at once")
    assert caplog.messages == [f"Memory ran short; going on with {step}." for step in steps]


def _fail_above(model, batch, side):
    """Have the encoder fail as torch does where memory is short, for more or larger tiles than these."""

    def fail(_module, arguments):
        if len(arguments[0]) > batch or arguments[0].shape[-1] > side:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    return model.image_encoder.register_forward_pre_hook(fail)


def test_shorter_memory_takes_smaller_tiles_and_tells(tiny_model):
    config = tiny_model.config.model_copy(update={"tile": 128, "overlap": 32})
    predictor = Predictor(build_model(config, text_encoder=tiny_model.text_encoder, seed=0), device="cpu")
    predictor.set_image(_image(shape=(300, 310, 3)))
    told = []
    _fail_above(predictor.model, batch=1, side=64)

    found = predictor.predict("nuclei", scale="tiles", on_message=told.append)

    assert told[-1] == "Memory ran short; going on with tiles of 64x64 pixels."
    assert found.probability.shape == (300, 310)
    assert np.isfinite(found.probability).all()
    told.clear()
    predictor.predict("cell nuclei", scale="tiles", on_message=told.append)
    assert told == []


def test_a_whole_image_is_not_cut_into_tiles_for_want_of_memory(predictor):
    predictor.set_image(_image())
    handle = _fail_above(predictor.model, batch=0, side=0)

    with pytest.raises(OutOfMemoryError, match="not enough memory for this image"):
        predictor.predict("left lung", scale="whole")

    handle.remove()
    assert predictor.predict("left lung", scale="whole").probability.shape == (100, 130)


def _lose_device(model):
    """Fail once as torch does when a card is gone, and leave nothing of use in what was on it."""
    once = iter([True])

    def fail(_module, _arguments):
        if next(once, False):
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if not name.startswith("text_encoder."):
                        parameter.fill_(float("nan"))
            raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later.")

    model.image_encoder.register_forward_pre_hook(fail)


def test_a_lost_device_is_told_and_the_processor_goes_on_with_the_same_model(predictor, tiny_model):
    predictor.set_image(_image())
    expected = {name: predictor.predict("nuclei", scale=name) for name in ("tiles", "whole")}
    before = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    predictor.set_image(_image())
    told = []
    _lose_device(predictor.model)

    found = predictor.predict("nuclei", scale="tiles", on_message=told.append)

    assert len(told) == 1
    assert told[0].startswith("cpu does not answer any more (CUDA error: unspecified launch failure")
    assert told[0].endswith("The processor takes over.")
    assert predictor.device == torch.device("cpu")
    assert predictor.model is tiny_model
    assert all(torch.equal(value, before[name]) for name, value in tiny_model.state_dict().items())
    assert np.array_equal(found.probability, expected["tiles"].probability)
    assert np.array_equal(predictor.predict("nuclei", scale="whole").probability, expected["whole"].probability)


def test_a_device_that_is_lost_among_the_tiles_of_a_slide(predictor):
    tiles = np.random.default_rng(0).random((2, 64, 64, 3)).astype(np.float32)
    expected = predictor.predict_tiles(tiles, ["nuclei"])
    _lose_device(predictor.model)

    found = predictor.predict_tiles(tiles, ["nuclei"])

    assert np.array_equal(found.probability, expected.probability)


def test_bad_input_is_named(predictor):
    with pytest.raises(ImageError, match="no image"):
        predictor.predict("nuclei")
    with pytest.raises(ImageError):
        predictor.set_image(np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(ImageError):
        predictor.set_image(np.full((40, 40), np.nan))
    with pytest.raises(ImageError):
        predictor.set_image(np.zeros((40, 40, 2), np.uint8))
    predictor.set_image(_image())
    with pytest.raises(PromptError, match="empty"):
        predictor.predict("  ")


def test_a_device_that_is_not_there_lists_those_that_are(tiny_model):
    with pytest.raises(DeviceError, match="cpu"):
        Predictor(tiny_model, device="cuda:77")


def test_from_file(tiny_checkpoint):
    predictor = Predictor.from_file(tiny_checkpoint, device="cpu")

    assert predictor.info is not None
    assert predictor.info.name == "tiny"


def test_what_an_image_looks_like_is_one_vector_whatever_is_asked(predictor):
    predictor.set_image(_image(0))
    first = predictor.describe()
    predictor.predict("nuclei")
    again = predictor.describe()
    predictor.set_image(_image(0)[::2, ::2])
    smaller = predictor.describe()
    predictor.set_image(np.full((100, 130, 3), 40, np.uint8))
    other = predictor.describe()

    assert first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(first, again)
    assert np.linalg.norm(first - smaller) < np.linalg.norm(first - other)


def test_without_an_image_there_is_nothing_to_describe(predictor):
    with pytest.raises(ImageError, match="no image"):
        predictor.describe()


def test_models_that_were_learnt_from_one_describe_images_alike(tiny_model, tmp_path):
    key = embedding_key(tiny_model)
    save_model(tiny_model, tmp_path / "m.safetensors", name="m", licence="CC0-1.0", training_data="none")

    stored = embedding_key(load_model(tmp_path / "m.safetensors")[0])
    with torch.no_grad():
        tiny_model.unet.head.weight.add_(1)
    learnt = embedding_key(tiny_model)
    with torch.no_grad():
        next(tiny_model.image_projection.parameters()).add_(1)

    assert key == stored == learnt
    assert embedding_key(tiny_model) != key


def test_another_text_model_answers_for_what_was_not_taught(tiny_model, text_models):
    other = load_text_model(text_models["clipseg"])
    predictor, alone = Predictor(tiny_model, text_model=other), Predictor(tiny_model)
    predictor.set_image(_image(0, (64, 80, 3)))
    image = to_rgb01(_image(0, (64, 80, 3)))

    found, own = predictor.predict("stroma"), predictor.predict("nuclei")
    maps = predictor.predict_tiles(image[None, :, :64], ["nuclei", "stroma"])

    np.testing.assert_array_equal(found.drawn, probability_of(other, image, "stroma"))
    assert (found.by, found.taught, found.said) == ("tiny-clipseg", True, "")
    assert found.presence == found.probability.max()
    assert own.by == ""
    np.testing.assert_array_equal(maps.probability[1, 0], probability_of(other, image[:, :64], "stroma"))
    np.testing.assert_allclose(
        maps.probability[0], alone.predict_tiles(image[None, :, :64], ["nuclei"]).probability[0], atol=1e-6
    )
    assert predictor.not_taught(["stroma"]) == {}
    assert list(alone.not_taught(["stroma"])) == ["stroma"]
