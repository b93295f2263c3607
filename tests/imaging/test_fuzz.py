"""Damaged files of every kind: a clear error or an image, never a crash, a hang, a write, or memory beyond bounds."""

import importlib.util
import io
import shutil

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import strategies as st
from PIL import Image

from napari_amvlm._reader import get_reader
from napari_amvlm.errors import DatasetError, ImageError, LabelsError
from napari_amvlm.imaging import find_sources, open_images, read_image, read_mask, to_file_axes
from tests.damaged import bounded_memory, check_message, damages, few_or_many, snapshot, try_cases

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (64, 80), np.uint8)
COLOUR = RANDOM.integers(0, 256, (64, 80, 3), np.uint8)
VOLUME = RANDOM.integers(0, 4000, (3, 2, 4, 64, 80), np.uint16)
BIG = RANDOM.integers(0, 256, (256, 320, 3), np.uint8)
MEMORY = 3 << 30
"""Bytes that reading any file of a few kilobytes may add to the process, generously."""

# Complete files as bytes, or folders as dictionaries of them.
Seed = bytes | dict[str, bytes]

_OF_ITK = ("a.nrrd", "packed.nrrd", "a.mha", "packed.mha")


def _pillow(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _tiff(*pages, **options):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as file:
        for pixels, how in pages:
            file.write(pixels, **how)
    return buffer.getvalue()


def _dicom(name):
    from pydicom.data import get_testdata_file

    with open(get_testdata_file(name, download=False), "rb") as file:
        return file.read()


def _nifti(kind, packed):
    image = kind(VOLUME[0, 0].T.astype(np.int16), np.diag([-2.0, -2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    content = image.to_bytes()
    if packed:
        import gzip

        content = gzip.compress(content)
    return content


def _ome_zarr(folder, version):
    group = zarr.open_group(folder, mode="w", zarr_format=version)
    for level, step in (("0", 1), ("1", 2)):
        pixels = VOLUME[0, :, :, ::step, ::step]
        array = group.create_array(level, shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 1, 32, 32))
        array[...] = pixels
    axes = [{"name": name, "type": kind} for name, kind in zip("czyx", ["channel", *["space"] * 3], strict=True)]
    sizes = [[1.0, 2.0, 0.5, 0.5], [1.0, 2.0, 1.0, 1.0]]
    levels = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level, scale in enumerate(sizes)
    ]
    multiscales = [{"axes": axes, "datasets": levels, "version": "0.4"}]
    newer = {"ome": {"version": "0.5", "multiscales": multiscales}}
    group.attrs.update({"multiscales": multiscales} if version == 2 else newer)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Return intact files by the name they get."""
    place = tmp_path_factory.mktemp("seeds")
    tiled = {"photometric": "rgb", "tile": (64, 64), "compression": "jpeg"}
    gray = {"photometric": "minisblack"}
    aperio = "Aperio Image Library v11.2.1\r\n320x256 JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"
    slide = {"photometric": "rgb", "description": aperio, "metadata": None}
    ome = {"axes": "TZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
    channels = {"axes": "CYX", "Channel": {"Name": ["DNA", "actin", "tubulin"]}}
    sideways = Image.Exif()
    sideways[0x0112] = 6
    files = {
        "gray.png": _pillow(Image.fromarray(GRAY), "PNG"),
        "deep.png": _pillow(Image.fromarray(VOLUME[0, 0, 0]), "PNG"),
        "palette.png": _pillow(Image.fromarray(COLOUR).quantize(16), "PNG"),
        "colour.jpg": _pillow(Image.fromarray(COLOUR), "JPEG"),
        "lzw.tif": _pillow(Image.fromarray(COLOUR), "TIFF", compression="tiff_lzw"),
        "fax.tif": _pillow(Image.fromarray(GRAY > 99), "TIFF", compression="group4"),
        "plain.tif": _tiff((GRAY, {"photometric": "miniswhite"})),
        "stack.tif": _tiff((VOLUME, gray | {"metadata": {"axes": "TZCYX"}}), imagej=True),
        "levels.tif": _tiff((BIG, tiled | {"subifds": 1}), (BIG[::2, ::2], tiled | {"subfiletype": 1})),
        "big.tif": _tiff((VOLUME[0, 0], gray | {"tile": (32, 32), "compression": "zlib"}), bigtiff=True),
        "image.ome.tif": _tiff((VOLUME, gray | {"metadata": ome, "tile": (32, 32)}), ome=True),
        "slide.svs": _tiff((BIG, tiled | slide), (BIG[::8, ::8], slide), (BIG[::4, ::4], tiled | slide)),
        "turned.tif": _tiff((VOLUME[0, 0], gray | {"extratags": [(274, 3, 1, 6, True)]})),
        "turned.jpg": _pillow(Image.fromarray(COLOUR), "JPEG", exif=sideways),
        "channels.ome.tif": _tiff((VOLUME[0, 0, :3], gray | {"metadata": channels}), ome=True),
        "packed.nii": _nifti(nibabel.Nifti1Image, packed=True),
        "brain.nii": _nifti(nibabel.Nifti1Image, packed=False),
        "brain2.nii": _nifti(nibabel.Nifti2Image, packed=False),
        "brain.nii.gz": _nifti(nibabel.Nifti1Image, packed=True),
        "old.zarr": _ome_zarr(place / "old.zarr", 2),
        "new.zarr": _ome_zarr(place / "new.zarr", 3),
    }
    for name in (
        "CT_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "JPGExtended.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_rle_2frame.dcm",
        "image_dfl.dcm",
        "rtdose.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "examples_palette.dcm",
    ):
        files[name] = _dicom(name)
    series = [_dicom(f"dicomdirtests/98892001/CT5N/{number}") for number in (2062, 2392, 2693, 3023, 3353)]
    files["series"] = {f"slice {number}": content for number, content in enumerate(series)}
    files["IM000001"] = _dicom("MR_small_RLE.dcm")
    files["converted.zarr"] = {".zgroup": b'{"zarr_format": 2}', ".zattrs": b'{"bioformats2raw.layout": 3}'}
    plate = b'{"plate": {"wells": [{"path": "A/1"}]}}'
    well = {"A/.zgroup": b'{"zarr_format": 2}', "A/1/.zgroup": b'{"zarr_format": 2}'}
    well["A/1/.zattrs"] = b'{"well": {"images": [{"path": "0"}]}}'
    files["plate.zarr"] = {".zgroup": b'{"zarr_format": 2}', ".zattrs": plate, **well}
    for root, at in (("converted.zarr", "0"), ("plate.zarr", "A/1/0")):
        image = files["old.zarr"]
        assert isinstance(image, dict)
        files[root] |= {f"{at}/{name}": content for name, content in image.items()}
    files |= _of_vendors(place)
    return files


def _of_vendors(folder):
    """Return files whose libraries are installed."""
    files = {}
    if importlib.util.find_spec("openslide") is not None:
        tiled = {"photometric": "rgb", "tile": (64, 64), "compression": "jpeg"}
        files["slide.ndpi"] = _tiff((BIG, tiled), (BIG[::2, ::2], tiled | {"subfiletype": 1}))
    if importlib.util.find_spec("pylibCZIrw") is not None:
        from pylibCZIrw import czi

        with czi.create_czi(str(folder / "a.czi")) as file:
            for z in range(2):
                file.write(data=VOLUME[0, 0, z][..., None], plane={"C": 0, "Z": z, "T": 0})
        files["a.czi"] = (folder / "a.czi").read_bytes()
    if importlib.util.find_spec("SimpleITK") is not None:
        import SimpleITK

        image = SimpleITK.GetImageFromArray(VOLUME[0, 0])
        image.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))
        for name in _OF_ITK:
            SimpleITK.WriteImage(image, str(folder / name), useCompression="packed" in name)
            files[name] = (folder / name).read_bytes()
    return files


def written(folder, name, seed, damage, which):
    """Write a seed with one of its files damaged, alone into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / name
    if isinstance(seed, bytes):
        path.write_bytes(damage(seed))
        return path
    # Metadata are a few files among many pieces: half of the damage is theirs.
    parts = sorted(seed)
    aimed = [part for part in parts if ".z" in part or part.endswith(".json")] or parts
    victim = (aimed if which % 2 else parts)[which % len(aimed if which % 2 else parts)]
    for part in parts:
        (path / part).parent.mkdir(parents=True, exist_ok=True)
        (path / part).write_bytes(damage(seed[part]) if part == victim else seed[part])
    return path


def look(path):
    """Open an image by every way there is, and look at a part of each level."""
    for image in open_images(path):
        assert image.data.ndim == len(image.axes) + image.rgb
        assert all(size > 0 for size in image.scale)
        for level in image.levels:
            first = level[(0,) * image.axes.index("Y")]
            np.asarray(first[:64, :64])
            np.asarray(first[-64:, -64:])
    if (reader := get_reader(str(path))) is not None:
        for data, options, _ in reader(str(path)):
            assert options["multiscale"] == isinstance(data, list)


def _in_another_plane(path):
    """Cut a volume into coronal slices, and bring it back."""
    for image in open_images(path, "coronal"):
        assert to_file_axes(np.asarray(image.data), image).size == image.data.size


def _in_folder(path):
    """Find the images of the folder that a file lies in, and open them."""
    for source in find_sources([path.parent]):
        source.open()


def examine(path):
    """Return whether `path` cannot be opened; it is read in five ways, each of which may only end in a clear error."""
    before = snapshot(path.parent)
    refused = False
    for read in (look, read_image, read_mask, _in_another_plane, _in_folder):
        try:
            read(path)
        except (DatasetError, ImageError, LabelsError) as error:
            check_message(error, str(path.parent))
            refused |= read is look
    assert snapshot(path.parent) == before
    return refused


def fuzz(seeds, folder, cases):
    """Return how many cases were tried and how many of them were refused."""
    refused = 0

    def case(name, damage, which):
        nonlocal refused
        refused += examine(written(folder / "case", name, seeds[name], damage, which))

    count = try_cases(cases, case, st.sampled_from(sorted(seeds)), damages(), st.integers(0, 1000))
    return count, refused


def test_the_intact_files_are_read(seeds, tmp_path):
    for name, seed in seeds.items():
        look(written(tmp_path / "case", name, seed, lambda content: content, 0))


@few_or_many(150, 3000)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_a_clear_error_or_an_image(seeds, tmp_path, cases):
    with bounded_memory(MEMORY):
        tried, refused = fuzz(seeds, tmp_path, cases)

    assert tried >= min(cases, 1500)
    assert cases // 8 < refused < tried


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_many_damaged_files_of_itk_end_in_a_clear_error_or_an_image(seeds, tmp_path):
    cases, refused = fuzz({name: seeds[name] for name in _OF_ITK if name in seeds}, tmp_path, 1000)

    assert cases >= 1000
    assert refused > cases // 8
