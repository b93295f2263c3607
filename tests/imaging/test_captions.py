import openpyxl
import pytest

from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging.captions import image_stem, read_captions


def test_a_csv_table_is_read_with_its_commas_and_further_columns(tmp_path):
    text = '\ufeffImage,Description,Licence\na.png,"Bilateral infection, two areas.",CC0\nb.png,No infection.,\n'
    (tmp_path / "Train_text.csv").write_text(text, encoding="utf-8")

    assert read_captions(tmp_path) == {"a": "Bilateral infection, two areas.", "b": "No infection."}


def test_columns_are_found_by_name_in_any_case_and_order(tmp_path):
    (tmp_path / "Val_text.CSV").write_text("description,IMAGE\nMany nuclei.,a.png\n")

    assert read_captions(tmp_path) == {"a": "Many nuclei."}


def test_numbers_in_a_workbook_are_names_too(tmp_path):
    book = openpyxl.Workbook()
    for row in (("Image", "Description"), (7, "Seven."), (8.0, "Eight."), (None, "Nobody."), ("nine.png", None)):
        book.active.append(row)
    book.save(tmp_path / "Train_text.xlsx")

    assert read_captions(tmp_path) == {"7": "Seven.", "8": "Eight."}


def test_of_two_tables_the_first_by_name_counts(tmp_path):
    (tmp_path / "B_text.csv").write_text("Image,Description\na.png,second\nb.png,alone\n")
    (tmp_path / "A_text.csv").write_text("Image,Description\na.tif,first\n")

    assert read_captions(tmp_path) == {"a": "first", "b": "alone"}


def test_other_tables_are_left_alone(tmp_path):
    (tmp_path / "classes.csv").write_text("value,prompt\n1,nuclei\n")

    assert read_captions(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "Name,Text\na.png,b\n", "Image\na.png\n"])
def test_a_table_without_the_columns_is_refused(tmp_path, text):
    (tmp_path / "Train_text.csv").write_text(text)

    with pytest.raises(DatasetError, match=r"Train_text\.csv: expected the columns Image and Description"):
        read_captions(tmp_path)


def test_a_workbook_that_is_none_is_refused(tmp_path):
    (tmp_path / "Train_text.xlsx").write_bytes(b"not a workbook")

    with pytest.raises(DatasetError, match=r"Train_text\.xlsx: expected an Excel workbook"):
        read_captions(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "Train_text.csv").write_bytes("Image,Description\na.png,größer\n".encode("latin-1"))

    with pytest.raises(DatasetError, match="UTF-8"):
        read_captions(tmp_path)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.png", "a"), ("a.b.TIF", "a.b"), ("case.7", "case.7"), (r"img\a.jpg", "a"), ("x/y/a.jpeg", "a"), ("a", "a")],
)
def test_only_endings_of_images_are_cut(name, stem):
    assert image_stem(name) == stem
