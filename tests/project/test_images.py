import numpy as np
import pytest
import tifffile

from napari_amvlm.errors import ImageError, ProjectError
from napari_amvlm.project import Project


def _detached(folder, pixels, kind):
    """Write an image whose header is the same whatever its pixels are."""
    folder.mkdir()
    height, width = pixels.shape
    size = f"{width} {height}"
    header = {
        "mhd": f"ObjectType = Image\nNDims = 2\nDimSize = {size}\nElementType = MET_UCHAR\nElementDataFile = a.raw\n",
        "nhdr": f"NRRD0004\ntype: uchar\ndimension: 2\nsizes: {size}\nencoding: raw\ndata file: a.raw\n",
    }
    (folder / f"a.{kind}").write_text(header[kind])
    (folder / "a.raw").write_bytes(pixels.tobytes())
    return folder / f"a.{kind}"


@pytest.mark.parametrize("kind", ["mhd", "nhdr"])
def test_images_whose_headers_are_alike_are_two(project, tmp_path, kind):
    pytest.importorskip("SimpleITK")
    arrays = np.random.default_rng(0).integers(0, 255, (2, 40, 50), dtype=np.uint8)
    files = [_detached(tmp_path / str(number), pixels, kind) for number, pixels in enumerate(arrays)]

    records = [project.images.add_file(file) for file in files]
    files[0].with_name("a.raw").write_bytes(bytes(arrays[0].nbytes))

    assert [record.name for record in records] == [f"a.{kind}"] * 2
    for record, pixels in zip(records, arrays, strict=True):
        np.testing.assert_array_equal(project.images.load(record), pixels)


@pytest.fixture
def slide(tmp_path, pixels):
    path = tmp_path / "slides" / "slide 7.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, pixels(7), photometric="rgb")
    return path


def test_a_file_is_referenced_and_not_copied(project, slide, pixels):
    record = project.images.add_file(slide)

    assert (record.name, record.path, record.shape) == ("slide 7.tif", slide, (40, 50))
    assert (record.stored, record.source, record.held_out) == (False, "file", False)
    assert not list((project.root / "images").iterdir())
    assert np.array_equal(project.images.load(record), pixels(7))


def test_a_copy_outlives_its_original(project, slide, pixels):
    record = project.images.add_file(slide, copy=True, name="mine")
    slide.unlink()

    assert record.name == "mine"
    assert record.path.parent == (project.root / "images").resolve()
    assert np.array_equal(project.images.load(record), pixels(7))


def test_the_same_content_is_the_same_record(project, slide):
    first = project.images.add_file(slide)
    twin = slide.with_name("twin.tif")
    twin.write_bytes(slide.read_bytes())

    assert project.images.add_file(twin) == first
    assert project.images.add_file(str(slide), copy=True) == first
    assert len(project.images.all()) == 1


@pytest.mark.parametrize(
    "array",
    [
        np.random.default_rng(0).integers(0, 2**16, (30, 20), dtype=np.uint16),
        np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32),
        np.random.default_rng(0).normal(size=(30, 20, 3)),
        np.random.default_rng(0).integers(-5, 5, (30, 20)),
        np.random.default_rng(0).integers(0, 255, (30, 20, 3), dtype=np.uint8)[::-1, ::2],
        np.arange(600, dtype=">u2").reshape(30, 20),
    ],
    ids=["uint16", "float32", "float64 rgb", "int64", "strided", "big-endian"],
)
def test_an_array_comes_back_as_it_was(project, array):
    record = project.images.add_array(array)
    project.close()

    with Project.open(project.root) as again:
        loaded = again.images.load(again.images.get(record.id))

    assert np.array_equal(loaded, array)
    assert loaded.dtype == array.dtype.newbyteorder("=")
    assert record.source == "array"


def test_not_finite_pixels_come_back(project):
    array = np.array([[np.nan, np.inf], [-np.inf, 1.0]], np.float32)

    loaded = project.images.load(project.images.add_array(array))

    assert np.array_equal(loaded, array, equal_nan=True)


def test_the_same_array_is_the_same_record(project, pixels):
    first = project.images.add_array(pixels(0), name="a")

    assert project.images.add_array(pixels(0), name="b") == first
    assert project.images.add_array(pixels(1)).id != first.id


def test_alpha_is_dropped(project, pixels):
    rgba = np.dstack([pixels(0), np.full((40, 50), 9, np.uint8)])

    assert np.array_equal(project.images.load(project.images.add_array(rgba)), pixels(0))


def test_a_name_with_separators_stays_in_the_folder(project, pixels):
    record = project.images.add_array(pixels(0), name="../../../etc/pass wd.tif")

    assert record.name == "../../../etc/pass wd.tif"
    assert record.path.parent == (project.root / "images").resolve()


@pytest.mark.parametrize("shape", [(4,), (0, 5), (4, 5, 2), (2, 4, 5, 3)])
def test_what_is_no_image_is_refused(project, shape):
    with pytest.raises(ImageError, match="must have the shape"):
        project.images.add_array(np.zeros(shape, np.uint8))

    assert project.images.all() == []


def test_complex_pixels_are_refused(project):
    with pytest.raises(ImageError, match="complex64"):
        project.images.add_array(np.zeros((4, 5), np.complex64))


def test_an_unreadable_file_is_refused(project, tmp_path):
    path = tmp_path / "broken.tif"
    path.write_bytes(b"II*\x00 no tiff")

    with pytest.raises(ImageError):
        project.images.add_file(path)

    assert project.images.all() == []


def test_a_renamed_image_is_found_by_its_content(project, slide, pixels):
    record = project.images.add_file(slide)
    moved = slide.rename(slide.with_name("renamed.tif"))
    other = pixels(8)
    tifffile.imwrite(slide.with_name("a decoy.tif"), other, photometric="rgb")

    loaded = project.images.load(record)

    assert np.array_equal(loaded, pixels(7))
    assert project.images.get(record.id).path == moved


def test_an_image_moved_with_its_project_is_found(tmp_path, slide, pixels):
    with Project.create(tmp_path / "work" / "a.amvlm") as project:
        inner = tmp_path / "work" / "data" / "slide.tif"
        inner.parent.mkdir()
        inner.write_bytes(slide.read_bytes())
        record = project.images.add_file(inner)
    (tmp_path / "work").rename(tmp_path / "usb")

    with Project.open(tmp_path / "usb" / "a.amvlm") as again:
        loaded = again.images.load(again.images.get(record.id))
        path = again.images.get(record.id).path

    assert np.array_equal(loaded, pixels(7))
    assert path == tmp_path / "usb" / "data" / "slide.tif"


def test_a_reader_finds_a_moved_image_too(project, slide, pixels):
    record = project.images.add_file(slide)
    slide.rename(slide.with_name("renamed.tif"))

    with Project.open(project.root, read_only=True) as reader:
        assert np.array_equal(reader.images.load(record), pixels(7))


def test_adding_a_lost_image_again_mends_its_record(project, slide, tmp_path):
    record = project.images.add_file(slide)
    elsewhere = tmp_path / "far" / "away.tif"
    elsewhere.parent.mkdir()
    slide.rename(elsewhere)
    with pytest.raises(ProjectError, match="was not found"):
        project.images.load(record)

    mended = project.images.add_file(elsewhere)

    assert (mended.id, mended.path) == (record.id, elsewhere)


@pytest.mark.parametrize("kind", ["replaced", "copy", "array"])
def test_an_image_whose_file_is_no_more_what_it_was_is_mended_by_adding_it_again(project, slide, pixels, kind):
    twin = slide.with_name("twin.tif")
    twin.write_bytes(slide.read_bytes())
    add = (lambda: project.images.add_array(pixels(7))) if kind == "array" else (lambda: project.images.add_file(twin))
    record = add() if kind == "array" else project.images.add_file(slide, copy=kind == "copy")
    if kind == "replaced":
        tifffile.imwrite(slide, pixels(8), photometric="rgb")
    else:
        record.path.unlink()
        slide.unlink()

    mended = add()

    assert mended.id == record.id
    assert np.array_equal(project.images.load(mended), pixels(7))


def test_a_changed_image_is_told(project, slide, pixels):
    record = project.images.add_file(slide)
    tifffile.imwrite(slide, pixels(8), photometric="rgb")

    with pytest.raises(ProjectError, match="was changed"):
        project.images.load(record)


@pytest.mark.parametrize("damage", ["gone", "garbage", "other"])
def test_a_damaged_stored_image_is_told(project, pixels, damage):
    record = project.images.add_array(pixels(0))
    if damage == "gone":
        record.path.unlink()
    elif damage == "garbage":
        record.path.write_bytes(b"x" * 100)
    else:
        tifffile.imwrite(record.path, pixels(1), photometric="rgb")

    with pytest.raises(ProjectError, match="restore it from a backup"):
        project.images.load(record)


def test_an_unknown_image_is_told(project):
    with pytest.raises(ProjectError, match="no image 5"):
        project.images.get(5)
