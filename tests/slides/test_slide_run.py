"""Slides block by block: seams, order, cancelling, resuming, glass, short memory."""

import numpy as np
import pytest
import torch

from napari_amvlm.config import Concept
from napari_amvlm.device import bounded_threads
from napari_amvlm.errors import Cancelled, InputError, OutOfMemoryError, PromptError
from napari_amvlm.imaging import ImageData, Tile, tile_grid
from napari_amvlm.models.build import build_model
from napari_amvlm.models.inference import is_countable
from napari_amvlm.predictor import Predictor
from napari_amvlm.slides import SlideRun
from napari_amvlm.slides.store import BACKGROUND, DONE, TODO
from tests.slides.conftest import PROMPTS, SHAPE


def _one_pass(predictor, pixels, magnification=1.0):
    predictor.set_image(pixels)
    found = [predictor.predict(p, scale="tiles", magnification=magnification).probability for p in PROMPTS]
    return np.stack(found)


def _differing(store, expected):
    """Return the share of pixels that are on another side of one half, at a threshold that parts them evenly."""
    found = np.asarray(store.probability[:]) / 255
    middle = np.median(expected, axis=(1, 2), keepdims=True)
    near = np.abs(expected - middle) < 1 / 255  # 8 bits do not tell these apart
    return float(np.mean(((found >= middle) != (expected >= middle)) & ~near))


def _fail_above(model, batch, side=1 << 20):
    """Let the image encoder fail as torch does when memory runs out, for larger batches or tiles."""

    def fail(_module, arguments):
        if len(arguments[0]) > batch or arguments[0].shape[-1] > side:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")

    return model.image_encoder.register_forward_pre_hook(fail)


@pytest.mark.parametrize("magnification", [1.0, 0.5, 1.7])
def test_blocks_give_what_one_pass_gives(predictor, slide, pixels, open_store, magnification):
    plain = ImageData(pixels, "slide", None, True)  # one level: smaller ones are other pixels
    store = open_store(magnification=magnification)

    list(SlideRun(predictor, plain, store).run())

    expected = _one_pass(predictor, pixels, magnification)
    found = np.asarray(store.probability[:]) / 255
    assert (store.states == DONE).all()
    assert np.abs(found - expected).max() < 0.02
    assert _differing(store, expected) < 0.001


@pytest.fixture
def composing(counting_model):
    """Return a predictor of a model that knows two words of tissue, and what is put together of them."""
    config = counting_model.config
    stroma = Concept(name="stroma", prompts=("stroma",), scale="tiles", speck=20)
    changes = {"concepts": (config.concepts[0], stroma), "structure": True}
    counting_model.config = config.model_copy(update=changes)
    return Predictor(counting_model, device="cpu")


def test_unions_and_exclusions_are_composed_of_their_words_as_on_other_images(composing, pixels, open_store):
    prompts = ("nuclei and stroma", "nuclei", "nuclei without stroma")
    store = open_store(prompts=prompts, objects=True, countable=(False, True, False))

    list(SlideRun(composing, ImageData(pixels, "slide", None, True), store).run())

    composing.set_image(pixels)
    expected = [composing.predict(prompt, scale="tiles").probability for prompt in prompts]
    assert np.abs(np.asarray(store.probability[:]) / 255 - np.stack(expected)).max() < 0.02
    assert np.abs(expected[0] - expected[2]).max() > 0.1
    assert [bool(np.asarray(depth).any()) for depth in store.depth] == [False, True, False]
    assert [is_countable(composing.model, prompt) for prompt in prompts] == [False, True, False]


def test_parts_of_a_whole_image_are_refused(composing, slide, open_store):
    store = open_store(prompts=("nuclei", "largest nucleus"))

    with pytest.raises(PromptError, match="largest nucleus is a part of a whole image, and tiles of a slide"):
        SlideRun(composing, slide, store)


def test_the_depth_in_objects_is_that_of_one_pass(counting_model, slide, pixels, open_store):
    predictor = Predictor(counting_model, device="cpu")
    store = open_store(objects=True, countable=(True, False))

    list(SlideRun(predictor, ImageData(pixels, "slide", None, True), store).run())

    predictor.set_image(pixels)
    expected = predictor.predict("nuclei", scale="tiles").depth
    assert np.abs(np.asarray(store.depth[0]) / 255 - expected).max() < 0.02
    assert not np.asarray(store.depth[1]).any()


def test_a_file_with_levels_gives_the_same(predictor, slide, pixels, open_store):
    store = open_store()

    list(SlideRun(predictor, slide, store).run())

    assert _differing(store, _one_pass(predictor, pixels)) < 0.001


@pytest.mark.parametrize("magnification", [1.0, 0.8])
def test_holes_and_specks_go_as_in_one_pass(tiny_model, pixels, open_store, magnification, monkeypatch):
    from napari_amvlm.predictor import Predictor

    # Half precision rounds a tile by the company it is computed in, and a hole hangs on single pixels at the threshold.
    monkeypatch.setattr("napari_amvlm.device.supports_bfloat16", lambda _device: False)
    plain = build_model(tiny_model.config, text_encoder=tiny_model.text_encoder, seed=0)
    found = _one_pass(Predictor(plain, device="cpu"), pixels, magnification)
    with torch.no_grad():  # so that one half parts the pixels evenly, and there are holes and specks
        plain.unet.head.bias -= float(np.median(np.log(found[0] / (1 - found[0]))))
        for parameter in plain.unet.head.parameters():  # and few of them near one half
            parameter *= 20
    concept = plain.config.concepts[0].model_copy(update={"hole": 60, "speck": 40})
    plain.config = plain.config.model_copy(update={"concepts": (concept,)})
    settling = Predictor(plain, device="cpu")
    store = open_store(magnification=magnification, prompts=("nuclei",))

    list(SlideRun(settling, ImageData(pixels, "slide", None, True), store).run())

    settling.set_image(pixels)
    expected = settling.predict("nuclei", scale="tiles", magnification=magnification).probability >= 0.5
    assert 0.1 < expected.mean() < 0.9
    assert np.mean((np.asarray(store.probability[0]) >= 128) != expected) < 0.001


def test_labels_are_those_of_the_threshold_at_every_level(predictor, slide, open_store):
    store = open_store(threshold=0.4)

    list(SlideRun(predictor, slide, store).run())

    probability = np.asarray(store.probability[:])
    labels = np.asarray(store.levels[0][:])
    clear = np.abs(probability.max(axis=0) - 0.4 * 255) > 1
    assert np.array_equal((labels > 0)[clear], (probability.max(axis=0) >= 0.4 * 255)[clear])
    assert labels.any()
    for index, level in enumerate(store.levels):
        assert np.array_equal(level[:], labels[:: 2**index, :: 2**index])


def test_no_tile_is_computed_twice(predictor, slide, open_store):
    seen = []
    handle = predictor.model.image_encoder.register_forward_pre_hook(lambda _m, a: seen.append(len(a[0])))
    config = predictor.model.config

    list(SlideRun(predictor, slide, open_store(), batch=3).run())

    handle.remove()
    assert sum(seen) == len(tile_grid(SHAPE, config.tile, config.overlap))


def test_little_room_for_tiles_costs_time_but_not_the_result(predictor, slide, open_store):
    roomy, cramped = open_store("roomy"), open_store("cramped")

    list(SlideRun(predictor, slide, roomy).run())
    list(SlideRun(predictor, slide, cramped, cache_bytes=0).run())

    # A processor may round batches of other sizes differently, and pixels at the threshold with them.
    assert (roomy.levels[0][:] != cramped.levels[0][:]).mean() < 1e-3


def test_what_is_in_view_comes_first(predictor, slide, open_store):
    view = Tile(300, 200, 60, 60)

    reports = list(SlideRun(predictor, slide, open_store(), first=view).run())

    assert reports[0].index == (2, 1)
    assert len({report.index for report in reports}) == len(reports) == 12
    assert [report.done for report in reports] == list(range(1, 13))


def test_a_reported_block_is_wholly_on_disk(predictor, slide, open_store):
    store = open_store(threshold=0.4)

    for report in SlideRun(predictor, slide, store, first=Tile(0, 0, 10, 10)).run():
        seen = open_store(threshold=0.4)
        area = report.rectangle
        labels = np.asarray(seen.levels[0][area.y : area.y + area.height, area.x : area.x + area.width])
        assert seen.states[report.index] == DONE
        for index, level in enumerate(seen.levels):
            small = labels[:: 2**index, :: 2**index]
            y, x = area.y // 2**index, area.x // 2**index
            assert np.array_equal(level[y : y + small.shape[0], x : x + small.shape[1]], small)


def test_a_view_that_moves_is_followed(predictor, slide, open_store):
    run = SlideRun(predictor, slide, open_store(), first=Tile(0, 0, 10, 10))
    reports = run.run()

    next(reports)
    run.look_at(Tile(400, 290, 10, 10))
    places = [report.index for report in reports]

    assert (3, 2) in places[:3]  # of the two blocks after the first, one was being computed and one read already


def test_a_region_leaves_the_rest_to_do(predictor, slide, open_store):
    store = open_store()

    list(SlideRun(predictor, slide, store, region=Tile(130, 10, 100, 100)).run())

    assert np.argwhere(store.states == DONE).tolist() == [[1, 0]]
    assert not np.asarray(store.probability[:, :128]).any()
    with pytest.raises(InputError, match="inside the slide of 300x420"):
        SlideRun(predictor, slide, store, region=Tile(500, 0, 10, 10))


def test_cancelling_acts_before_the_next_tile_and_keeps_what_is_done(predictor, slide, open_store):
    seen = []
    handle = predictor.model.image_encoder.register_forward_pre_hook(lambda _m, a: seen.append(len(a[0])))
    run = SlideRun(predictor, slide, open_store(), batch=1)
    blocks = []

    with pytest.raises(Cancelled, match="kept"):
        blocks.extend(report.index for report in run.run(lambda: len(seen) >= 20))

    handle.remove()
    assert len(seen) == 20
    assert 0 < (open_store().states == DONE).sum() < 12


def test_a_stopped_run_goes_on_where_it_was(predictor, slide, pixels, open_store):
    seen = []
    handle = predictor.model.image_encoder.register_forward_pre_hook(lambda _m, a: seen.append(len(a[0])))
    stopped = SlideRun(predictor, slide, open_store(), first=Tile(0, 0, *SHAPE), batch=1)
    done = []
    with pytest.raises(Cancelled):
        done.extend(report.index for report in stopped.run(lambda: len(seen) >= 20))
    handle.remove()

    store = open_store()
    left = {(int(row), int(column)) for row, column in np.argwhere(store.states == TODO)}
    rest = [report.index for report in SlideRun(predictor, slide, store).run()]

    assert left.isdisjoint(done)
    assert 0 < len(left) < 12
    assert sorted(rest) == sorted(left)
    assert _differing(store, _one_pass(predictor, pixels)) < 0.001
    assert list(SlideRun(predictor, slide, open_store()).run()) == []


def test_glass_is_skipped(predictor, pixels, open_store):
    pixels[:, 100:] = 245
    half = ImageData(pixels, "slide", None, True)
    seen = []
    handle = predictor.model.image_encoder.register_forward_pre_hook(lambda _m, a: seen.append(len(a[0])))
    store, every = open_store(), open_store("every", every_tile=True)

    reports = list(SlideRun(predictor, half, store).run())
    computed = sum(seen)
    list(SlideRun(predictor, half, every).run())

    handle.remove()
    assert (store.states[:, 2] == BACKGROUND).all()
    assert (store.states[:, :1] == DONE).all()
    assert sum(report.background for report in reports) == int((store.states == BACKGROUND).sum())
    assert computed < sum(seen) - computed
    assert (every.states == DONE).all()
    # Away from the border between the two, tissue is as if nothing had been skipped.
    assert np.array_equal(store.levels[0][:, :60], every.levels[0][:, :60])


def test_everything_but_a_word_covers_the_glass_that_is_skipped_too(composing, pixels, open_store):
    pixels[:, 100:] = 245
    store = open_store(prompts=("nuclei", "everything except nuclei"), objects=True, countable=(True, False))

    list(SlideRun(composing, ImageData(pixels, "slide", None, True), store).run())

    nuclei, others = np.asarray(store.probability[:], int)
    assert np.abs(nuclei + others - 255).max() <= 1
    assert not nuclei[:, 256:].any()


def test_the_background_covers_the_glass_that_is_skipped_too(composing, pixels, open_store):
    pixels[:, 100:] = 245
    store = open_store(prompts=("nuclei", "background"), objects=True, countable=(True, False))

    list(SlideRun(composing, ImageData(pixels, "slide", None, True), store).run())

    nuclei, background = np.asarray(store.probability[:], int)
    assert (nuclei[:, 256:].max(), background[:, 256:].min()) == (0, 255)
    assert background[:, :60].min() < 255
    assert not np.asarray(store.depth[1]).any()


def test_several_prompts_share_the_encoding(predictor, slide, open_store):
    seen = []
    handle = predictor.model.image_encoder.register_forward_pre_hook(lambda _m, a: seen.append(len(a[0])))

    list(SlideRun(predictor, slide, open_store("two")).run())
    two = sum(seen)
    single = open_store("one", prompts=PROMPTS[:1])
    list(SlideRun(predictor, slide, single).run())

    handle.remove()
    assert two * 2 == sum(seen)
    one_alone, one_of_two = (np.asarray(store.probability[0], int) for store in (single, open_store("two")))
    assert np.abs(one_alone - one_of_two).max() <= 1


def test_short_memory_takes_fewer_tiles_at_once_and_goes_on(predictor, slide, pixels, open_store):
    messages = []
    store = open_store()
    handle = _fail_above(predictor.model, batch=2)

    with bounded_threads(1):  # so that a batch goes through the network in one piece
        list(SlideRun(predictor, slide, store, batch=8, on_message=messages.append).run())

    handle.remove()
    assert [message.split("with ")[1] for message in messages] == ["4 tiles at once.", "2 tiles at once."]
    assert (store.states == DONE).all()
    assert _differing(store, _one_pass(predictor, pixels)) < 0.001


def test_shorter_memory_takes_smaller_tiles(tiny_model, slide, open_store):
    from napari_amvlm.predictor import Predictor

    config = tiny_model.config.model_copy(update={"tile": 128})
    predictor = Predictor(build_model(config, text_encoder=tiny_model.text_encoder, seed=0), device="cpu")
    messages = []
    store = open_store()
    handle = _fail_above(predictor.model, batch=1, side=100)

    with bounded_threads(1):  # so that a batch goes through the network in one piece
        list(SlideRun(predictor, slide, store, batch=2, on_message=messages.append).run())

    handle.remove()
    assert messages[-1] == "Memory ran short; going on with tiles of 64x64 pixels."
    assert (store.states == DONE).all()


def test_no_memory_at_all_is_an_error_and_keeps_what_is_done(predictor, slide, open_store):
    store = open_store()
    reports = SlideRun(predictor, slide, store).run()
    next(reports)
    handle = _fail_above(predictor.model, batch=0)

    with pytest.raises(OutOfMemoryError, match="cpu has not enough memory for 1 tile of 64x64 pixels"):
        list(reports)

    handle.remove()
    assert (store.states == DONE).sum() >= 1
    list(SlideRun(predictor, slide, store).run())
    assert not (store.states == TODO).any()


def test_another_model_ends_the_run(predictor, slide, open_store):
    reports = SlideRun(predictor, slide, open_store()).run()
    next(reports)
    model = predictor.model
    predictor.replace_model(build_model(model.config, text_encoder=model.text_encoder, seed=9))

    with pytest.raises(Cancelled, match="Another model"):
        list(reports)


def test_presence_is_told_by_block_and_for_the_slide(predictor, slide, open_store):
    store = open_store()

    reports = list(SlideRun(predictor, slide, store).run())

    for report in reports:
        assert np.allclose(store.block_presence[:, report.index[0], report.index[1]], report.presence)
    assert all(0 < presence < 1 for presence in store.presence())
    assert store.presence()[0] >= min(report.presence[0] for report in reports)


def test_sixteen_bit_gray_is_stretched_as_a_whole(predictor, open_store):
    rng = np.random.default_rng(1)
    gray = (np.linspace(0, 30000, SHAPE[0])[:, None] + rng.integers(0, 9000, SHAPE)).astype(np.uint16)
    store = open_store()

    list(SlideRun(predictor, ImageData(gray, "gray", None, False), store).run())

    assert _differing(store, _one_pass(predictor, gray)) < 0.001
