"""The reader that the manifest names: what it claims, and the layers that napari makes of what it gives."""

from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import napari.settings
import numpy as np
import pytest
import tifffile
from napari.layers import Image
from npe2 import PluginManifest
from PIL import Image as Picture

from napari_amvlm._reader import get_reader, read_layers
from napari_amvlm.errors import ImageError

ROOT = Path(__file__).resolve().parent.parent
RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (256, 320, 3), np.uint8)
VOLUME = RANDOM.integers(0, 60000, (3, 2, 4, 64, 80), np.uint16)
APERIO = "Aperio Image Library v11.2.1 \r\n320x256 (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"


def _layers(path):
    reader = get_reader(path)
    assert reader is not None
    layers = []
    for data, options, kind in reader(path):
        assert kind == "image"
        layers.append(Image(data, **options))
    return layers


def _slide(path):
    how = {"photometric": "rgb", "description": APERIO, "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(COLOUR, tile=(64, 64), **how)
        file.write(COLOUR[::8, ::8], **how)
        file.write(COLOUR[::4, ::4], tile=(64, 64), **how)
    return path


def test_the_manifest_names_the_reader_and_only_endings_it_reads():
    manifest = PluginManifest.from_file(ROOT / "napari.yaml")

    (reader,) = manifest.contributions.readers or ()
    (command,) = [one for one in manifest.contributions.commands or () if one.id == reader.command]
    assert command.python_name == f"{get_reader.__module__}:{get_reader.__name__}"
    assert reader.accepts_directories
    endings = "tif tiff btf svs png jpg jpeg dcm ima nii nii.gz ndpi mrxs scn bif vms vmu svslide czi".split()
    endings += "nrrd nhdr mha mhd".split()
    assert reader.filename_patterns == [f"*.{ending}" for ending in endings]


def test_a_slide_is_a_multiscale_layer_with_its_pixel_size(tmp_path):
    path = _slide(tmp_path / "slide.svs")

    (layer,) = _layers(str(path))

    assert layer.multiscale
    assert layer.rgb
    assert layer.name == "slide"
    assert [level.shape for level in layer.data] == [(256, 320, 3), (64, 80, 3)]
    assert all(isinstance(level, da.Array) for level in layer.data)
    assert tuple(layer.scale) == (0.499, 0.499)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert layer.metadata["path"] == str(path)


def test_channels_are_layers_of_their_own(tmp_path):
    metadata = {"axes": "TZCYX", "spacing": 3, "unit": "um", "finterval": 0.5}
    tifffile.imwrite(tmp_path / "cells.tif", VOLUME, imagej=True, resolution=(2, 2), metadata=metadata)

    layers = _layers(str(tmp_path / "cells.tif"))

    assert [layer.name for layer in layers] == [f"cells channel {number}" for number in (1, 2, 3, 4)]
    for number, layer in enumerate(layers):
        np.testing.assert_array_equal(layer.data, VOLUME[:, :, number])
        assert tuple(layer.scale) == (0.5, 3, 0.5, 0.5)
        assert layer.axis_labels == ("t", "z", "y", "x")
        assert layer.blending == "additive"
    assert len({layer.colormap.name for layer in layers}) == 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pictures_of_every_mode_are_layers(tmp_path, mode):
    picture = Picture.fromarray(VOLUME[0, 0, 0]) if mode == "I;16" else Picture.fromarray(COLOUR).convert(mode)
    picture.save(tmp_path / "a.png")

    (layer,) = _layers(str(tmp_path / "a.png"))

    assert layer.rgb == (mode in ("P", "RGB", "RGBA"))
    assert layer.ndim == 2


def test_a_ct_slice_has_its_window_and_tells_where_left_is():
    pydicom = pytest.importorskip("pydicom")
    path = Path(pydicom.__file__).parent / "data" / "test_files" / "693_J2KI.dcm"

    (layer,) = _layers(str(path))

    assert list(layer.contrast_limits) == [-10, 89]
    assert tuple(layer.scale) == (0.478516, 0.478516)
    assert (layer.metadata["orientation"], layer.metadata["patient_left"]) == ("PL", "right")


def test_a_series_is_a_volume_from_its_folder_or_its_files():
    pydicom = pytest.importorskip("pydicom")
    folder = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "98892001" / "CT5N"

    (by_folder,) = _layers(str(folder))
    (by_files,) = _layers([str(path) for path in folder.iterdir()])

    assert by_folder.data.shape == (5, 16, 16)
    assert tuple(by_folder.scale) == (2.5, 0.488281, 0.488281)
    np.testing.assert_array_equal(by_files.data, by_folder.data)


def test_a_nifti_volume_is_a_layer():
    nibabel = pytest.importorskip("nibabel")

    (layer,) = _layers(str(Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"))

    assert (layer.name, layer.data.shape, tuple(layer.scale)) == ("anatomical", (25, 41, 33), (2, 2, 2))
    assert layer.metadata["orientation"] == "SPL"


def test_what_is_no_image_is_not_claimed(tmp_path):
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    Picture.fromarray(COLOUR).save(tmp_path / "a.png")
    Picture.fromarray(COLOUR).save(tmp_path / "b.png")

    for name in ("text.tif", "empty.dcm", "folder", "nowhere.tif"):
        assert get_reader(str(tmp_path / name)) is None
    assert get_reader([str(tmp_path / "a.png"), str(tmp_path / "b.png")]) is None


def test_an_image_that_cannot_be_read_says_why(tmp_path):
    path = _slide(tmp_path / "slide.svs")
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(ImageError, match=r"slide\.svs"):
        read_layers(str(path))


def test_the_preferred_plane_is_that_of_volumes_that_say_how_they_lie(tmp_path, monkeypatch):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 24, 28), np.int16), np.diag([1, 1, 3, 1])), tmp_path / "a.nii")
    tifffile.imwrite(tmp_path / "b.tif", VOLUME[0, 0], photometric="minisblack", metadata={"axes": "ZYX"})
    preferred = SimpleNamespace(work=SimpleNamespace(plane="sagittal"))
    monkeypatch.setattr(napari.settings, "get_plugin_settings", lambda _name: preferred)

    (volume,), (stack,) = _layers(str(tmp_path / "a.nii")), _layers(str(tmp_path / "b.tif"))

    assert (volume.metadata["orientation"], volume.data.shape) == ("RIP", (20, 28, 24))
    assert stack.data.shape == (4, 64, 80)
