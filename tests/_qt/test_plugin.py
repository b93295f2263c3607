"""What napari itself makes of the manifest: menu entries, docks that get their viewer, samples."""

from pathlib import Path

import napari
import napari.settings
import numpy as np
import pytest
import tifffile
from napari.settings._plugin_config_generator import plugin_configuration_generator
from npe2 import PluginManager, PluginManifest
from pydantic import ValidationError

import napari_amvlm._qt.settings
from napari_amvlm._qt.annotate.dock import AnnotateDock
from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.learn.dock import LearnDock
from napari_amvlm._qt.main_dock import MainDock
from napari_amvlm._qt.queue.dock import QueueDock
from napari_amvlm._qt.settings import Preferences, preferences


@pytest.mark.parametrize(
    ("name", "kind"), [("AMVLM", MainDock), ("Annotate", AnnotateDock), ("Learn", LearnDock), ("Queue", QueueDock)]
)
def test_napari_opens_the_dock_with_its_viewer(make_napari_viewer, name, kind):
    viewer = make_napari_viewer()

    _, dock = viewer.window.add_plugin_dock_widget("napari-amvlm", name)

    assert isinstance(dock, kind)
    assert dock.window() is viewer.window._qt_window


def test_docks_are_in_the_segment_menu(make_napari_viewer):
    from napari._app_model import get_app_model

    make_napari_viewer()

    entries = {item.command.id for item in get_app_model().menus.get_menu("napari/layers/segment")}

    assert {"napari-amvlm.main", "napari-amvlm.annotate", "napari-amvlm.learn", "napari-amvlm.queue"} <= entries


def test_napari_opens_the_samples_and_shows_all_of_each(make_napari_viewer):
    viewer = make_napari_viewer()
    camera = camera_of(viewer)

    for sample, count in (("nuclei", 12), ("lungs", 4), ("spine", 3)):
        viewer.open_sample("napari-amvlm", sample)

        assert len(viewer.layers) == count
        assert camera.center[-2:] == pytest.approx(np.mean(viewer.layers.extent.world, axis=0), abs=1)
        assert all(layer.metadata["path"].endswith(f"{layer.name}.png") for layer in viewer.layers)
        viewer.layers.clear()


def test_napari_opens_a_pyramid_with_the_reader(make_napari_viewer, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (256, 320, 3), np.uint8)
    how = {"photometric": "rgb", "tile": (64, 64), "resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(tmp_path / "slide.tif") as file:
        file.write(pixels, subifds=1, **how)
        file.write(pixels[::2, ::2], subfiletype=1, **how)
    viewer = make_napari_viewer()

    (layer,) = viewer.open(str(tmp_path / "slide.tif"), plugin="napari-amvlm")

    assert layer.multiscale
    assert layer.rgb
    assert tuple(layer.scale) == (0.5, 0.5)
    assert layer.source.path == str(tmp_path / "slide.tif")
    np.testing.assert_array_equal(layer.data[1], pixels[::2, ::2])


def test_preferences_are_those_of_the_manifest_and_follow_the_person(monkeypatch):
    plugins = PluginManager()
    plugins.register(PluginManifest.from_file(Path(__file__).parents[2] / "napari.yaml"))
    settings = plugin_configuration_generator(plugins)["napari-amvlm"](config_path=None)
    monkeypatch.setattr(napari.settings, "get_plugin_settings", {"napari-amvlm": settings}.__getitem__)
    monkeypatch.setattr(napari_amvlm._qt.settings, "_unknown", set())
    usual = preferences()

    settings.work.threshold = 0.3
    settings.learning.after_images = 9

    assert usual == Preferences()
    assert (preferences().threshold, preferences().learn_after) == (0.3, 9)


def test_preferences_that_make_no_sense_are_refused():
    plugins = PluginManager()
    plugins.register(PluginManifest.from_file(Path(__file__).parents[2] / "napari.yaml"))
    settings = plugin_configuration_generator(plugins)["napari-amvlm"](config_path=None)

    with pytest.raises(ValidationError, match="less than or equal to 1"):
        settings.work.threshold = 1.5


def test_without_the_manifest_the_usual_preferences_hold(monkeypatch):
    asked = []

    def unknown(name):
        asked.append(name)
        raise KeyError(name)

    monkeypatch.setattr(napari.settings, "get_plugin_settings", unknown)
    monkeypatch.setattr(napari_amvlm._qt.settings, "_unknown", set())

    assert [preferences(), preferences()] == [Preferences(), Preferences()]
    assert asked == ["napari-amvlm"]
