"""The parts of the benchmark that measure slides and another model, on tiny cases; times are looked at by hand."""

import numpy as np
import pytest
import torch

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import open_images
from napari_amvlm.predictor import Predictor
from napari_amvlm.slides.rectangles import inside
from napari_amvlm.slides.slide_tiles import blended
from training.benchmarks.memory import spread_run
from training.benchmarks.pyramid import PIECE, Mosaic, read_tissue, write_pyramid
from training.benchmarks.sam import SamPath
from training.benchmarks.slides import SlideBench, one_pass_share


@pytest.fixture(scope="module")
def tissue():
    """Return two pictures, smaller and larger than a piece."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, shape, dtype=np.uint8) for shape in ((300, 200, 3), (600, 600, 3))]


@pytest.fixture
def bench(tiny_model, tissue, tmp_path):
    return SlideBench(Predictor(tiny_model, device="cpu"), Mosaic(600, tissue).image(), tmp_path, "nuclei")


def _part_evenly(predictor, pixels):
    """Let about half of the pixels be found: else there would be no label for a seam to change."""
    predictor.set_image(pixels)
    found = predictor.predict("nuclei", scale="tiles").probability
    with torch.no_grad():
        predictor.model.unet.head.bias -= float(np.median(np.log(found / (1 - found))))
    predictor.replace_model(predictor.model)


def _only_tiles_inside(tiles, found, area, glass):
    """Blend as if nothing were found in tiles that reach beyond the block."""
    kept = {index: maps for index, maps in found.items() if inside(tiles.rectangle(index), area)}
    return blended(tiles, kept or found, area, glass)


def test_levels_are_every_nth_pixel_of_the_slide(tissue):
    image = Mosaic(4200, tissue, seed=1).image()

    finest = np.asarray(image.data[:])
    assert finest.shape == (4200, 4200, 3)
    assert len(image.levels) == 4
    for index, level in enumerate(image.levels):
        assert np.array_equal(np.asarray(level[:]), finest[:: 2**index, :: 2**index])
    assert np.array_equal(np.asarray(image.data[500:530, 1000:1100]), finest[500:530, 1000:1100])
    pieces = {finest[y : y + 8, x : x + 8].tobytes() for y in range(0, 4096, PIECE) for x in range(0, 4096, PIECE)}
    assert 2 < len(pieces) <= 8


def test_the_file_holds_the_slide(tissue, tmp_path):
    smooth = [np.full((100, 100, 3), value, np.uint8) for value in (60, 200)]  # what JPEG keeps
    mosaic = Mosaic(1100, smooth)

    write_pyramid(tmp_path / "slide.ome.tif", mosaic)

    image = open_images(tmp_path / "slide.ome.tif")[0]
    assert [level.shape for level in image.levels] == [(1100, 1100, 3), (550, 550, 3)]
    difference = np.asarray(image.data[:]).astype(int) - np.asarray(mosaic.image().data[:])
    assert np.abs(difference).max() <= 4


def test_tissue_needs_colour(tmp_path):
    from skimage.io import imsave

    (tmp_path / "img").mkdir()
    imsave(tmp_path / "img" / "gray.png", np.zeros((80, 80), np.uint8), check_contrast=False)

    with pytest.raises(InputError, match="no 8-bit colour image"):
        read_tissue(tmp_path)


def test_the_view_is_stored_before_the_rest(bench):
    seconds, blocks = bench.view_seconds(side=64)

    assert seconds > 0
    assert blocks == 1
    assert (bench.store("view").states > 0).sum() == 1


def test_throughput_beside_the_network_alone(bench):
    rate, bare = bench.throughput(seconds=0.1, rounds=1)

    assert rate > 0
    assert bare > 0


def test_each_cancellation_is_timed(bench):
    found = bench.cancel_seconds(times=1, first=0)

    assert len(found) == 1
    assert found[0] > 0


def test_blocks_are_seamless_and_a_seam_would_be_seen(bench, monkeypatch):
    _part_evenly(bench.predictor, np.asarray(bench.image.data[:256, :256]))
    monkeypatch.setattr("training.benchmarks.slides.BLOCK", 128)

    seamless = bench.seam_share(blocks=2)
    monkeypatch.setattr("napari_amvlm.slides.block_writer.blended", _only_tiles_inside)
    bench.folder = bench.folder / "seams"
    seams = bench.seam_share(blocks=2)

    assert 0.05 < (np.asarray(bench.store("apart", 128).levels[0][256:512, 256:512]) > 0).mean() < 0.95
    assert seamless < 0.001 < seams


def test_one_pass_gives_the_same_labels(tiny_model, tmp_path, monkeypatch):
    pixels = np.random.default_rng(2).integers(0, 255, (560, 300, 3), dtype=np.uint8)
    predictor = Predictor(tiny_model, device="cpu")
    _part_evenly(predictor, pixels)

    share = one_pass_share(predictor, pixels, tmp_path, "nuclei")
    monkeypatch.setattr("napari_amvlm.slides.block_writer.blended", _only_tiles_inside)
    with_seams = one_pass_share(predictor, pixels, tmp_path / "seams", "nuclei")

    assert share < 0.001 < with_seams


def test_memory_is_watched_while_blocks_all_over_the_slide_are_done(tiny_model, tissue, tmp_path):
    memory, blocks = spread_run(Predictor(tiny_model, device="cpu"), Mosaic(1100, tissue).image(), tmp_path, "nuclei")

    assert blocks == 9
    assert memory.peak >= memory.before > 0


def test_sam_looks_once_and_answers_at_the_size_of_the_image():
    from transformers import SamConfig

    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "output_channels": 16,
            "num_pos_feats": 8,
            "global_attn_indexes": [0],
            "mlp_dim": 32,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "mlp_dim": 16,
            "iou_head_hidden_dim": 16,
        },
    )
    sam = SamPath(torch.device("cpu"), config)
    image = np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8)

    embedding = sam.encode(image)
    mask = sam.decode(embedding, (20, 30), (50, 80))

    assert embedding.shape == (1, 16, 4, 4)
    assert mask.shape == (50, 80)
    assert mask.dtype == np.bool_
