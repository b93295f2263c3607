"""A small slide with levels on disk, a predictor with the tiny model, and stores for its results."""

import numpy as np
import pytest
import tifffile

from napari_amvlm.imaging import open_images
from napari_amvlm.predictor import Predictor
from napari_amvlm.slides import SlideRequest, SlideStore

PROMPTS = ("nuclei", "stroma")
SHAPE = (420, 300)
BLOCK = 128


def write_slide(path, pixels):
    """Write a tiled pyramid of three levels."""
    with tifffile.TiffWriter(path, ome=True) as file:
        colour = {"photometric": "rgb", "tile": (64, 64)}
        file.write(pixels, subifds=2, metadata={"axes": "YXS"}, **colour)
        for step in (2, 4):
            file.write(pixels[::step, ::step], subfiletype=1, **colour)


@pytest.fixture
def pixels():
    """Return coarse coloured patches and noise, `(420, 300, 3)`: not two places are alike."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(40, 200, (14, 10, 3)).repeat(30, axis=0).repeat(30, axis=1)
    return np.clip(coarse + rng.integers(-40, 40, (*SHAPE, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def slide(tmp_path, pixels):
    write_slide(tmp_path / "slide.ome.tif", pixels)
    return open_images(tmp_path / "slide.ome.tif")[0]


@pytest.fixture
def predictor(tiny_model):
    return Predictor(tiny_model, device="cpu")


@pytest.fixture
def open_store(tmp_path):
    """Return a function that opens a store in `tmp_path`; keywords go into the request."""

    def call(name="result", *, overwrite=False, **changes):
        asked = {"prompts": PROMPTS, "model": "tiny", "image": "slide", "shape": SHAPE}
        request = SlideRequest.model_validate({**asked, "block": BLOCK, **changes})
        return SlideStore.open(tmp_path / f"{name}.zarr", request, overwrite=overwrite)

    return call
