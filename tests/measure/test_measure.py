"""Measurements against shapes whose size is known, in pixels and in physical units."""

import math

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_amvlm.errors import DatasetError, ImageError, InputError, LabelsError
from napari_amvlm.exports import export_labels
from napari_amvlm.imaging import ImageData, open_images
from napari_amvlm.measure import (
    MaskedImage,
    masks_in_folder,
    masks_in_project,
    measure,
    measure_image,
    write_plot,
    write_tables,
)
from napari_amvlm.project import Answer, Project


def disc(side, centre, radius):
    rows, columns = np.mgrid[:side, :side]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def two_discs():
    numbers = np.zeros((100, 100), np.uint16)
    numbers[disc(100, (30, 30), 12)] = 1
    numbers[disc(100, (70, 60), 20)] = 5
    return numbers


def test_discs_have_their_size_and_place():
    numbers = two_discs()

    table = measure_image(MaskedImage("a", {"nuclei": numbers}))

    assert table["object"].tolist() == [1, 5]
    assert table["area_px"].tolist() == [np.count_nonzero(numbers == 1), np.count_nonzero(numbers == 5)]
    np.testing.assert_allclose(table[["centroid_y_px", "centroid_x_px"]], [[30, 30], [70, 60]])
    np.testing.assert_allclose(table["major_axis_px"], [24, 40], rtol=0.03)
    np.testing.assert_allclose(table["perimeter_px"], 2 * math.pi * np.array([12, 20]), rtol=0.05)
    assert not [name for name in table if name.endswith(("um", "um2", "mm"))]


@pytest.mark.parametrize(("micrometers", "unit", "factor"), [(0.25, "um", 0.25), (700.0, "mm", 0.7)])
def test_a_known_pixel_size_gives_physical_units(tmp_path, micrometers, unit, factor):
    path = tmp_path / "a.tif"
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    per_centimeter = 1e4 / micrometers
    tifffile.imwrite(
        path, image, photometric="rgb", resolution=(per_centimeter, per_centimeter), resolutionunit="CENTIMETER"
    )
    numbers = two_discs()

    table = measure_image(MaskedImage("a", {"nuclei": numbers}, open_images(path)[0]))

    np.testing.assert_allclose(table[f"area_{unit}2"], table["area_px"] * factor**2, rtol=1e-4)
    np.testing.assert_allclose(table[f"major_axis_{unit}"], table["major_axis_px"] * factor, rtol=1e-4)
    np.testing.assert_allclose(table[f"perimeter_{unit}"], table["perimeter_px"] * factor, rtol=1e-4)
    np.testing.assert_allclose(table["mean_green"][0], image[numbers == 1][:, 1].mean())


def test_a_volume_of_unequal_pixels_is_measured_in_its_own_units():
    data = np.arange(6 * 20 * 20, dtype=np.float32).reshape(6, 20, 20)
    sizes = {"Z": (3.0, "millimeter"), "Y": (0.5, "millimeter"), "X": (0.5, "millimeter")}
    numbers = np.zeros(data.shape, np.uint8)
    numbers[1:4, 5:15, 5:15] = 1

    table = measure_image(MaskedImage("v", {"canal": numbers}, ImageData(data, "v", None, False, "ZYX", sizes)))

    assert table["volume_px"].tolist() == [300]
    np.testing.assert_allclose(table["volume_mm3"], [300 * 0.75])
    np.testing.assert_allclose(table["centroid_z_mm"], [6.0])
    np.testing.assert_allclose(table["mean_intensity"], [data[numbers == 1].mean()])


def test_an_image_of_another_size_is_refused(tmp_path):
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(tmp_path / "a.png")

    with pytest.raises(ImageError, match=r"a: the image has the size 50x60, but its mask has 100x100"):
        measure_image(MaskedImage("a", {"nuclei": two_discs()}, open_images(tmp_path / "a.png")[0]))


def test_values_below_0_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", two_discs().astype(np.int16) - 1)

    with pytest.raises(ImageError, match=r"a\.tif has values below 0"):
        measure(masks_in_folder(tmp_path, None))


def test_classes_and_numbered_objects_of_a_folder(tmp_path):
    labels = np.where(two_discs() == 1, 1, 0).astype(np.uint8) + 2 * (two_discs() == 5).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    touching = np.where(labels == 1, np.where(np.arange(100) < 30, 1, 2), 0).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a_cell-nuclei_instances.tif", touching)
    (tmp_path / "classes.csv").write_text("value,prompt\n1,cell nuclei\n2,stroma\n3,vessel\n", encoding="utf-8")

    tables = measure(masks_in_folder(tmp_path, None))

    assert tables.objects["prompt"].tolist() == ["cell nuclei", "cell nuclei", "stroma"]
    assert dict(zip(tables.images["prompt"], tables.images["objects"], strict=True)) == {
        "cell nuclei": 2,
        "stroma": 1,
        "vessel": 0,
    }
    assert tables.images["share"][1] == pytest.approx(np.count_nonzero(labels == 2) / labels.size)


def test_a_folder_of_an_export_gives_what_its_project_gives(tmp_path):
    """Prompts that differ by a sign have folders of their own, covered pixels count, and no answer is no zero."""
    whole = disc(100, (50, 50), 30).astype(np.int32)
    inner = np.where(disc(100, (50, 40), 5), 1, np.where(disc(100, (50, 60), 5), 2, 0)).astype(np.int32)
    with Project.create(tmp_path / "p.amvlm") as project:
        for name, answers in (("a", {"Ki-67-": whole, "Ki-67+": inner}), ("b", {"Ki-67+": whole})):
            record = project.images.add_array(np.full((100, 100), ord(name), np.uint8), name=name)
            for prompt, objects in answers.items():
                project.corrections.accept(record.id, prompt, Answer(objects > 0, objects=objects))
        expected = measure(masks_in_project(project, [])).images.set_index(["image", "prompt"])
        for objects in (False, True):
            export_labels(project, tmp_path / f"{objects}", "tiff", objects=objects)

            found = measure(masks_in_folder(tmp_path / f"{objects}", None)).images.set_index(["image", "prompt"])

            pd.testing.assert_frame_equal(found, expected)


def test_an_image_that_was_replaced_on_the_disk_is_not_measured(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((100, 100), 50, np.uint8)).save(path)
    with Project.create(tmp_path / "p.amvlm") as project:
        record = project.images.add_file(path)
        project.corrections.accept(record.id, "nuclei", Answer(two_discs() > 0))
        assert measure(masks_in_project(project, [])).objects["mean_intensity"].tolist() == [50, 50]
        for shape in ((100, 100), (90, 100)):
            Image.fromarray(np.full(shape, 200, np.uint8)).save(path)
            told = []

            table = measure(masks_in_project(project, told)).objects

            assert len(table) == 2
            assert "mean_intensity" not in table
            assert "was changed" in told[0]


def test_a_label_image_alone_is_objects_or_pieces(tmp_path):
    tifffile.imwrite(tmp_path / "numbers.tif", two_discs())
    Image.fromarray((two_discs() > 0).astype(np.uint8) * 255).save(tmp_path / "pieces.png")

    tables = measure(masks_in_folder(tmp_path, None))

    assert tables.objects.groupby("image")["object"].apply(list).to_dict() == {"numbers": [1, 5], "pieces": [1, 2]}


def _masks(labels):
    """Yield label images as programs write them."""
    palette = Image.fromarray(labels)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9, 9, 9, 9, 0, 0, 255])
    yield "a.png", palette.save
    yield "a.png", Image.fromarray(np.repeat(labels[..., None], 3, axis=2)).save
    yield "a.tif", lambda path: tifffile.imwrite(path, labels, photometric="miniswhite")
    colours = np.eye(3, 256, dtype=np.uint16)
    yield "a.tif", lambda path: tifffile.imwrite(path, labels, photometric="palette", colormap=colours)


def test_label_images_are_measured_as_they_are_stored(tmp_path):
    labels = two_discs().astype(np.uint8)
    areas = [int((labels == 1).sum()), int((labels == 5).sum())]
    for number, (name, write) in enumerate(_masks(labels)):
        (tmp_path / str(number)).mkdir()
        write(tmp_path / str(number) / name)

        objects = measure(masks_in_folder(tmp_path / str(number), None)).objects

        assert objects["area_px"].tolist() == areas, number


@pytest.mark.parametrize("how", [{}, {"photometric": "palette", "colormap": np.eye(3, 256, dtype=np.uint16)}])
def test_label_volumes_are_measured_as_they_are_stored(tmp_path, how):
    volume = np.stack([two_discs() > 0] * 4)
    tifffile.imwrite(tmp_path / "a.tif", volume.astype(np.uint8) if how else volume, **how)

    objects = measure(masks_in_folder(tmp_path, None)).objects

    assert objects["volume_px"].tolist() == [4 * int((two_discs() == number).sum()) for number in (1, 5)]


def test_colour_pictures_are_no_label_images(tmp_path):
    Image.fromarray(np.stack([two_discs().astype(np.uint8), *np.zeros((2, 100, 100), np.uint8)], 2)).save(
        tmp_path / "a.png"
    )

    with pytest.raises(LabelsError, match="it is a colour picture"):
        measure(masks_in_folder(tmp_path, None))


def test_images_and_masks_of_one_name_are_told_apart_or_refused(tmp_path):
    masks, images = tmp_path / "masks", tmp_path / "img"
    for folder in (masks, images):
        folder.mkdir()
    tifffile.imwrite(masks / "a.tif", two_discs())
    Image.fromarray(np.full((100, 100), 7, np.uint8)).save(images / "a.png")
    (images / "a.txt").write_text("of the camera")
    assert measure(masks_in_folder(masks, images)).objects["mean_intensity"].tolist() == [7, 7]
    tifffile.imwrite(images / "a.nii.gz", np.zeros((3, 3), np.uint8))  # of a scan, whose mask is called a.nii.gz
    assert measure(masks_in_folder(masks, images)).objects["mean_intensity"].tolist() == [7, 7]
    tifffile.imwrite(images / "a.tif", np.full((100, 100), 8, np.uint8))

    with pytest.raises(DatasetError, match=r"a\.nii\.gz, a\.png, a\.tif could each be its image"):
        measure(masks_in_folder(masks, images))

    Image.fromarray(two_discs()).save(masks / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png and a\.tif are both label images of a"):
        measure(masks_in_folder(masks, None))


def test_results_of_images_that_differ_by_their_ending_find_them_and_others_are_told(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for value, name in enumerate(("a.png", "a.jpg"), 1):
        Image.fromarray(np.full((20, 20), 50 * value, np.uint8)).save(tmp_path / "images" / name)
    for name in ("a_png", "a_jpg", "b"):
        tifffile.imwrite(tmp_path / "masks" / f"{name}.tif", np.ones((20, 20), np.uint8))
    notes = []

    table = measure(masks_in_folder(tmp_path / "masks", tmp_path / "images", notes)).objects

    means = dict(zip(table["image"], table["mean_intensity"], strict=True))
    assert (means["a_png"], means["a_jpg"], np.isnan(means["b"])) == (50, 100, True)
    assert [note.split(":")[0] for note in notes] == ["b.tif"]


def test_an_image_may_be_called_as_results_are(tmp_path):
    tifffile.imwrite(tmp_path / "a_probability.tif", two_discs())
    tifffile.imwrite(tmp_path / "a_probability_nuclei_instances.tif", two_discs())
    tifffile.imwrite(tmp_path / "a_probability_probability.tif", np.zeros((100, 100), np.float16))

    assert measure(masks_in_folder(tmp_path, None)).images["image"].tolist() == ["a_probability"]


def test_channels_of_another_size_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((2, 100, 100), np.uint8), metadata={"axes": "CYX"})
    volume = np.stack([two_discs()] * 4)

    with pytest.raises(ImageError, match=r"a: the image has the size 100x100, but its mask has 4x100x100"):
        measure_image(MaskedImage("a", {"nuclei": volume}, open_images(tmp_path / "a.ome.tif")[0]))


def test_an_area_of_some_images_is_not_told_as_that_of_all():
    sizes = {"Y": (0.5, "micrometer"), "X": (0.5, "micrometer")}
    known = ImageData(np.zeros((100, 100)), "a", None, False, "YX", sizes)
    every = [MaskedImage(name, {"nuclei": two_discs()}, image) for name, image in (("a", known), ("b", None))]

    both, one = measure(every).prompts, measure(every[:1]).prompts

    assert both["area_px"].tolist() == [2 * np.count_nonzero(two_discs())]
    assert both["area_um2"].isna().all()
    assert one["area_um2"].tolist() == [np.count_nonzero(two_discs()) / 4]


def test_tables_are_written_once(tmp_path):
    tables = measure([MaskedImage("a", {"nuclei": two_discs()}), MaskedImage("b", {"nuclei": np.zeros((9, 9), int)})])

    files = write_tables(tables, tmp_path / "t.csv")
    before = [file.read_bytes() for file in files]

    assert len(pd.read_csv(files[0])) == 2
    assert pd.read_csv(files[1])["objects"].tolist() == [2, 0]
    with pytest.raises(InputError, match="is there already"):
        write_tables(tables, tmp_path / "t.csv")
    assert [file.read_bytes() for file in files] == before


def test_the_picture_shows_the_sizes(tmp_path):
    pytest.importorskip("matplotlib")
    tables = measure([MaskedImage("a", {"nuclei": two_discs()})])

    write_plot(tables, tmp_path / "t.png")

    with Image.open(tmp_path / "t.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_nothing_to_measure():
    with pytest.raises(DatasetError, match="There are no masks to measure"):
        measure([])


def test_a_label_volume_is_measured_on_the_voxels_that_its_affine_names(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    voxels = np.random.default_rng(0).integers(0, 1000, (20, 22, 8), np.int16)
    numbers = np.zeros(voxels.shape, np.uint8)
    numbers[2:6, 3:8, 1:3] = 1
    affine = np.diag([-0.5, -0.5, 2, 1])
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "images" / "a.nii.gz")
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(numbers, affine))
    nibabel.save(turned, tmp_path / "masks" / "a.nii.gz")

    (masked,) = masks_in_folder(tmp_path / "masks", tmp_path / "images")

    assert measure_image(masked)["mean_intensity"].tolist() == pytest.approx([voxels[numbers > 0].mean()])
    nibabel.save(nibabel.Nifti1Image(numbers, np.eye(4)), tmp_path / "masks" / "a.nii.gz")
    with pytest.raises(DatasetError, match="has other voxels than its image"):
        list(masks_in_folder(tmp_path / "masks", tmp_path / "images"))


@pytest.mark.parametrize("axis", ["C", "T"])
def test_channels_and_times_of_labels_are_not_measured_as_slices(tmp_path, axis):
    volume = np.stack([two_discs(), two_discs()[::-1]])
    tifffile.imwrite(tmp_path / "a.tif", volume, imagej=True, metadata={"axes": f"{axis}YX"})

    with pytest.raises(ImageError, match=f"has channels or times, {axis}2xY100xX100"):
        list(masks_in_folder(tmp_path, None))
