"""The order of blocks, tissue, tiles, and the memory that is told."""

import dask.array as da
import numpy as np
import pytest
import torch

from napari_amvlm.imaging import ImageData, Tile, resize, tile_grid
from napari_amvlm.slides import BlockGrid, BlockPlan, SlideSource, memory_needed, memory_note
from napari_amvlm.slides.blocks import BAND
from napari_amvlm.slides.chunks import ChunkReader
from napari_amvlm.slides.slide_tiles import SlideTiles
from napari_amvlm.slides.tissue import TissueMap


def test_every_block_comes_once_and_neighbours_follow_each_other():
    grid = BlockGrid((30 * 512, 40 * 512))

    order = list(BlockPlan(grid, grid.meeting(None)))

    steps = np.abs(np.diff(np.array(order), axis=0)).sum(axis=1)
    assert len(set(order)) == len(order) == 30 * 40
    assert int((steps > 1).sum()) == 40 // BAND  # only from one band to the next


def test_blocks_in_view_come_from_their_middle_outwards():
    grid = BlockGrid((10 * 512, 10 * 512))

    order = list(BlockPlan(grid, grid.meeting(None), Tile(4 * 512, 4 * 512, 3 * 512, 3 * 512)))

    assert order[0] == (5, 5)
    assert set(order[1:5]) == {(4, 5), (6, 5), (5, 4), (5, 6)}
    assert set(order[:9]) == {(row, column) for row in (4, 5, 6) for column in (4, 5, 6)}


def test_blocks_that_are_done_do_not_come_again():
    grid = BlockGrid((1024, 1024))
    todo = np.array([[True, False], [False, True]])

    assert list(BlockPlan(grid, todo, Tile(0, 0, 1024, 1024))) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("shape", [(64, 64), (300, 500), (1000, 64)])
def test_tiles_are_those_of_one_pass(shape):
    tiles = SlideTiles(shape, 64, 16)

    every = tiles.meeting(Tile(0, 0, *shape))

    assert [tiles.rectangle(index) for index in every] == tile_grid(shape, 64, 16)


@pytest.mark.parametrize("magnification", [1.0, 0.37, 2.3])
def test_any_rectangle_is_as_if_the_whole_had_been_resized(magnification):
    pixels = np.random.default_rng(0).integers(0, 255, (211, 190, 3), dtype=np.uint8)
    source = SlideSource(ImageData(pixels, "s", None, True), magnification)
    whole = resize(pixels.astype(np.float32) / 255, source.working)

    part = source.pixels(Tile(20, 31, 40, 30))

    assert np.allclose(part, whole[20:60, 31:61], atol=1e-5)
    beyond = source.pixels(Tile(source.padded[0] - 64, source.padded[1] - 64, 64, 64))
    assert beyond.shape == (64, 64, 3)
    corner = source.pixels(Tile(source.working[0] - 1, source.working[1] - 1, 1, 1))
    assert np.allclose(beyond[-1, -1], corner[0, 0], atol=1e-5)


@pytest.mark.parametrize("kept_bytes", [0, 20_000, 1 << 20])
def test_chunks_are_put_together_and_read_once_where_there_is_room(kept_bytes):
    plane = np.random.default_rng(0).integers(0, 255, (211, 190, 3), dtype=np.uint8)
    read = []

    def noted(block):
        read.append(block.shape)
        return block

    lazy = da.from_array(plane, chunks=(64, 50, 3)).map_blocks(noted, dtype=np.uint8, meta=plane[:0, :0, :0])
    chunks = ChunkReader(lazy, kept_bytes)
    areas = [Tile(0, 0, 211, 190), Tile(64, 50, 64, 50), Tile(60, 45, 10, 10), Tile(210, 189, 1, 1)]

    found = [chunks.read(area) for area in areas]

    for area, pixels in zip(areas, found, strict=True):
        assert np.array_equal(pixels, plane[area.y : area.y + area.height, area.x : area.x + area.width])
    assert (len(read) == 16) == (kept_bytes == 1 << 20)


def test_a_small_magnification_reads_a_small_level():
    full = np.full((400, 400, 3), 200, np.uint8)
    half = np.full((200, 200, 3), 100, np.uint8)
    image = ImageData(full, "s", None, True, smaller=(half,))

    values = [SlideSource(image, m).pixels(Tile(0, 0, 64, 64)).mean() for m in (1.0, 0.6, 0.5, 0.4)]

    assert values == pytest.approx([200 / 255, 200 / 255, 100 / 255, 100 / 255], abs=1e-4)


def test_glass_and_unscanned_areas_hold_no_tissue_but_stains_do():
    pixels = np.full((2000, 2000, 3), 240, np.uint8)
    pixels[:, :600] = 0
    pixels[1500:1600, 1500:1600] = [200, 120, 180]  # eosin
    pixels[300:400, 1500:1600] = 120  # gray dirt or pigment: looked at, to be sure
    tissue = TissueMap(SlideSource(ImageData(pixels, "s", None, True)))

    assert not tissue.has_tissue(Tile(900, 900, 300, 300))
    assert not tissue.has_tissue(Tile(0, 0, 288, 288))
    assert tissue.has_tissue(Tile(1400, 1400, 288, 288))
    assert tissue.has_tissue(Tile(1590, 1590, 288, 288))
    assert tissue.has_tissue(Tile(300, 1400, 288, 288))


def test_in_gray_only_flat_areas_hold_nothing():
    gray = np.full((2000, 2000), 20, np.uint16)
    gray[:1000] += np.random.default_rng(0).integers(0, 3000, (1000, 2000)).astype(np.uint16)
    tissue = TissueMap(SlideSource(ImageData(gray, "s", None, False)))

    assert tissue.has_tissue(Tile(100, 100, 288, 288))
    assert not tissue.has_tissue(Tile(1500, 100, 288, 288))


def test_memory_is_told_and_grows_with_what_is_at_once_but_not_with_the_slide(tiny_model):
    one = memory_needed(tiny_model, batch=1, prompts=1)
    four = memory_needed(tiny_model, batch=4, prompts=3)

    assert 0 < one < four
    assert memory_needed(tiny_model, batch=1, prompts=1, cache_bytes=10**9) == one + 10**9
    note = memory_note(2_000_000_000, torch.device("cpu"))
    assert note.startswith("needs about 2.0 GB of ")
    assert note.endswith(" GB free on cpu")
