import numpy as np
import openpyxl
import pytest
from PIL import Image

from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging import binary_mask, read_folder, read_image, read_mask


def _picture(path, values=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((20, 24), np.uint8) if values is None else values).save(path)
    return path


def _workbook(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


@pytest.fixture
def lvit(tmp_path):
    """Return a folder as LViT lays it out, with a workbook that names files by another ending."""
    for name in ("TCGA-2", "TCGA-1", "TCGA-3"):
        _picture(tmp_path / "img" / f"{name}.tif")
        _picture(tmp_path / "labelcol" / f"{name}.png", np.full((20, 24), 255, np.uint8))
    rows = [("Image", "Description"), ("TCGA-1.png", "Many nuclei."), ("TCGA-2.png", " Few \n nuclei. ")]
    _workbook(tmp_path / "Train_text.xlsx", rows)
    return tmp_path


def test_pairs_are_matched_by_stem_and_sorted(lvit):
    data = read_folder(lvit)

    assert [pair.name for pair in data.pairs] == ["TCGA-1", "TCGA-2", "TCGA-3"]
    assert data.pairs[0].image == lvit / "img" / "TCGA-1.tif"
    assert data.pairs[0].mask == lvit / "labelcol" / "TCGA-1.png"
    assert data.root == lvit
    assert data.classes == ()


def test_captions_are_matched_by_stem_whatever_the_ending(lvit):
    captions = {pair.name: pair.caption for pair in read_folder(lvit).pairs}

    assert captions == {"TCGA-1": "Many nuclei.", "TCGA-2": "Few nuclei.", "TCGA-3": None}


def test_what_is_described_can_be_read(lvit):
    pair = read_folder(lvit).pairs[0]
    assert pair.mask is not None

    image = read_image(pair.image)
    mask = binary_mask(read_mask(pair.mask, image.data.shape))

    assert image.data.shape == mask.shape == (20, 24)
    assert mask.all()


def test_masks_named_with_a_prefix_belong_to_the_image_behind_it(tmp_path):
    _picture(tmp_path / "img" / "covid_1.png")
    _picture(tmp_path / "labelcol" / "mask_covid_1.png")
    _workbook(tmp_path / "Train_text.xlsx", [("Image", "Description"), ("mask_covid_1.png", "Left lung.")])

    pair = read_folder(tmp_path).pairs[0]

    assert pair.mask == tmp_path / "labelcol" / "mask_covid_1.png"
    assert pair.caption == "Left lung."


def test_classes_come_in_the_order_of_the_file_without_background(lvit):
    (lvit / "classes.csv").write_text(
        "\ufeffvalue,prompt\n0,background\n2,left  lung\n1, right lung\n", encoding="utf-8"
    )

    assert read_folder(lvit).classes == ((2, "left lung"), (1, "right lung"))


def test_instances_serve_as_masks_and_have_no_classes(tmp_path):
    _picture(tmp_path / "img" / "a.png")
    _picture(tmp_path / "instances" / "a.png", np.full((20, 24), 700, np.uint16))
    (tmp_path / "classes.csv").write_text("value,prompt\n1,nuclei\n")

    data = read_folder(tmp_path)

    assert data.classes == ()
    assert data.pairs[0].mask == tmp_path / "instances" / "a.png"


def test_masks_are_not_looked_at_when_not_wanted(lvit):
    (lvit / "labelcol" / "TCGA-1.png").unlink()
    (lvit / "classes.csv").write_text("nonsense")

    data = read_folder(lvit, masks="none")

    assert [pair.mask for pair in data.pairs] == [None, None, None]
    assert data.classes == ()


def test_an_image_may_lack_a_mask_when_masks_are_optional(lvit):
    (lvit / "labelcol" / "TCGA-1.png").unlink()

    masks = [pair.mask is not None for pair in read_folder(lvit, masks="optional").pairs]

    assert masks == [False, True, True]


@pytest.mark.parametrize("masks", ["optional", "none"])
def test_a_flat_folder_will_do_without_masks(tmp_path, masks):
    _picture(tmp_path / "b.JPG")
    _picture(tmp_path / "a.tif")
    (tmp_path / "notes.txt").write_text("no image")

    data = read_folder(tmp_path, masks=masks)

    assert [pair.image.name for pair in data.pairs] == ["a.tif", "b.JPG"]


def test_hidden_files_are_not_images(lvit):
    (lvit / "img" / "._TCGA-1.tif").write_bytes(b"finder")
    (lvit / "~$Train_text.xlsx").write_bytes(b"lock")
    (lvit / "._Train_text.xlsx").write_bytes(b"finder")

    assert len(read_folder(lvit).pairs) == 3


def test_an_image_without_a_mask_is_named(lvit):
    (lvit / "labelcol" / "TCGA-2.png").unlink()

    with pytest.raises(DatasetError, match=r"images without a mask.*labelcol/: TCGA-2\.tif; add"):
        read_folder(lvit)


def test_a_mask_without_an_image_is_named(lvit):
    (lvit / "img" / "TCGA-2.tif").unlink()

    with pytest.raises(DatasetError, match=r"masks without an image.*TCGA-2\.png"):
        read_folder(lvit, masks="optional")


def test_two_images_of_one_stem_are_named(lvit):
    _picture(lvit / "img" / "TCGA-1.png")

    with pytest.raises(DatasetError, match=r"TCGA-1\.png and TCGA-1\.tif have the same stem"):
        read_folder(lvit)


def test_two_masks_of_one_image_are_named(lvit):
    _picture(lvit / "labelcol" / "mask_TCGA-1.png")

    with pytest.raises(DatasetError, match="both masks of the image TCGA-1"):
        read_folder(lvit)


def test_long_lists_are_cut(tmp_path):
    for index in range(8):
        _picture(tmp_path / "img" / f"{index}.png")
    (tmp_path / "labelcol").mkdir()

    with pytest.raises(DatasetError, match=r"0\.png, 1\.png, 2\.png, 3\.png, 4\.png and 3 more"):
        read_folder(tmp_path)


def test_a_missing_img_folder_is_said_with_what_is_there(tmp_path):
    _picture(tmp_path / "images" / "a.png")

    with pytest.raises(DatasetError, match=r"has no folder img/, only images/; put"):
        read_folder(tmp_path)


def test_a_missing_mask_folder_is_said_with_what_is_there(tmp_path):
    _picture(tmp_path / "img" / "a.png")

    with pytest.raises(DatasetError, match=r"no folder labelcol/ or instances/, only img/; put"):
        read_folder(tmp_path)


@pytest.mark.parametrize("masks", ["required", "optional", "none"])
def test_a_folder_without_images_is_refused(tmp_path, masks):
    (tmp_path / "img").mkdir()

    with pytest.raises(DatasetError, match="holds no image, for it is empty"):
        read_folder(tmp_path, masks=masks)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        read_folder(tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(DatasetError, match="is a file"):
        read_folder(_picture(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt\nnuclei\n", "value,prompt"),
        ("value,prompt\none,nuclei\n", "value,prompt"),
        ("value,prompt\n1\n", "value,prompt"),
        ("value,prompt\n1,\n", "no empty prompt"),
        ("value,prompt\n-1,nuclei\n", "values above 0"),
        ("value,prompt\n", "a row for each class"),
        ("", "a row for each class"),
        ("value,prompt\n1,nuclei\n1,lungs\n", "1 stands there more than once"),
        ("value,prompt\n1,nuclei\n2,nuclei\n", "nuclei stands there more than once"),
    ],
)
def test_classes_that_cannot_be_used_are_refused(lvit, text, said):
    (lvit / "classes.csv").write_text(text)

    with pytest.raises(DatasetError, match=said):
        read_folder(lvit)


def test_classes_in_another_encoding_are_refused(lvit):
    (lvit / "classes.csv").write_bytes("value,prompt\n1,große Kerne\n".encode("latin-1"))

    with pytest.raises(DatasetError, match="cannot be read"):
        read_folder(lvit)


def test_a_binary_mask_of_a_class_is_that_class_alone():
    labels = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)

    assert binary_mask(labels).tolist() == [[False, True, True], [True, True, False]]
    assert binary_mask(labels, 2).tolist() == [[False, False, True], [False, True, False]]
    assert binary_mask(labels, 2).dtype == np.bool_
