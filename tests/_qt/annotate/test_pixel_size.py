"""The magnification by the pixel size of an image: shown, used, and set by hand for that image."""

import numpy as np
import tifffile
from napari.layers import Image

from napari_amvlm._qt.widgets.scale_choice import ScaleSettings

PIXELS = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)


def _magnification(bench):
    return float(bench.annotate.panel.scale.value().magnification)


def _change(bench, magnification):
    """Set the magnification as a person does."""
    scale = bench.annotate.panel.scale
    scale.setValue(ScaleSettings("tiles", magnification))
    scale.valueChanged.emit(scale.value())


def _add(bench, name, micrometers, **more):
    size = {} if micrometers is None else {"scale": (micrometers,) * 2, "units": ("um", "um")}
    layer = Image(PIXELS, rgb=True, name=name, **size, **more)
    bench.viewer.add_layer(layer)
    bench.annotate.current_image.images.choose(layer)
    return layer


def test_the_pixel_size_sets_the_magnification_until_a_person_does(bench):
    coarse = _add(bench, "coarse", 0.5)
    first, said = _magnification(bench), bench.annotate.panel.status.text()
    _change(bench, 1.5)
    plain = _add(bench, "plain", None)
    other = _add(bench, "other", 1.0)
    at_other = _magnification(bench)
    bench.annotate.current_image.images.choose(plain)
    at_plain = _magnification(bench)
    bench.annotate.current_image.images.choose(coarse)

    assert (first, at_other, at_plain, _magnification(bench)) == (2.0, 4.0, 1.0, 1.5)
    assert "looked at at x2.00" in said
    assert other in bench.viewer.layers


def test_a_magnification_that_is_set_back_is_that_of_the_pixel_size_again(bench):
    coarse = _add(bench, "coarse", 0.5)
    for magnification in (1.5, 2.0):
        _change(bench, magnification)
    _add(bench, "other", 1.0)

    bench.annotate.current_image.images.choose(coarse)

    assert _magnification(bench) == 2.0


def test_what_a_prompt_runs_at_is_what_is_shown(bench):
    _add(bench, "coarse", 0.5)
    bench.annotate.panel.scale.setValue(ScaleSettings("tiles", _magnification(bench)))

    bench.run("nuclei")

    assert bench.annotate.annotation().results["nuclei"].prediction.scale.factor == 2.0


def test_a_layer_without_a_size_has_that_of_its_file(bench, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")

    _add(bench, "a", None, metadata={"path": str(tmp_path / "a.tif")})

    assert _magnification(bench) == 2.0


def test_an_estimate_is_offered_and_used_when_it_is_asked_for_again(bench):
    button = bench.annotate.panel.scale.estimate
    _add(bench, "sized", 0.25)
    hidden = button.isHidden()
    coarse = np.random.default_rng(1).integers(0, 255, (5, 6, 3), np.uint8).repeat(40, 0).repeat(40, 1)
    layer = Image(coarse, rgb=True, name="plain")
    bench.viewer.add_layer(layer)
    bench.annotate.current_image.images.choose(layer)
    shown = not button.isHidden()

    button.click()
    offered, before = bench.annotate.panel.status.text(), _magnification(bench)
    button.click()

    assert (hidden, shown, before) == (True, True, 1.0)
    assert "may fit plain; such estimates are off" in offered
    assert f"x{_magnification(bench):.2f} may fit" in offered
    assert _magnification(bench) < 0.5
