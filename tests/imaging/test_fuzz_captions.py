"""Damaged tables of captions: a clear error or captions, never a crash, a hang, or memory beyond bounds."""

import io
import zipfile

import openpyxl
import pytest
from hypothesis import strategies as st

from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging.captions import read_captions
from tests.damaged import EXTREMES, bounded_memory, check_message, damages, few_or_many, snapshot, try_cases

ROWS = (
    ("Image", "Description", "Note"),
    ("a.png", "Many nuclei, some dark.", 1),
    (7, "Seven.", 2.5),
    ("b.tif", "None", 3),
)
CSV = "\ufeff" + "".join(f'{name},"{caption}",{note}\n' for name, caption, note in ROWS)
SHEET = "xl/worksheets/sheet1.xml"


def _workbook():
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    for row in ROWS:
        book.active.append(row)
    book.save(buffer)
    return buffer.getvalue()


def _repacked(book, change):
    """Return a workbook whose parts went through `change(name, content)`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def workbook():
    return _workbook()


def _fuzz(folder, workbook, cases):
    """Return how many cases were tried and how many of them were refused."""
    with zipfile.ZipFile(io.BytesIO(workbook)) as packed:
        parts = packed.namelist()
    refused = 0

    def case(kind, damage, which):
        nonlocal refused
        if kind == "csv":
            path, content = folder / "Train_text.csv", damage(CSV.encode())
        elif kind == "packed":
            path, content = folder / "Train_text.xlsx", damage(workbook)
        else:
            part = SHEET if which % 2 else parts[which % len(parts)]
            path = folder / "Train_text.xlsx"
            content = _repacked(workbook, lambda name, old: damage(old) if name == part else old)
        path.write_bytes(content)
        before = snapshot(folder)
        try:
            found = read_captions(folder)
            assert all(name and caption and "\n" not in name + caption for name, caption in found.items())
        except DatasetError as error:
            check_message(error, str(path))
            refused += 1
        assert snapshot(folder) == before
        path.unlink()

    kinds = st.sampled_from(("csv", "packed", "part", "part"))
    return try_cases(cases, case, kinds, damages(), st.integers(0, 1000)), refused


def test_the_intact_tables_are_read(workbook, tmp_path):
    for name, content in (("text.xlsx", workbook), ("text.csv", CSV.encode())):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"Train_{name}").write_bytes(content)

        assert read_captions(tmp_path / name) == {"a": "Many nuclei, some dark.", "7": "Seven.", "b": "None"}


@few_or_many(100, 800)
def test_damaged_captions_end_in_a_clear_error_or_captions(workbook, tmp_path, cases):
    with bounded_memory():
        tried, refused = _fuzz(tmp_path, workbook, cases)

    assert tried >= cases
    assert cases // 10 < refused < tried


def _refused(folder, content):
    (folder / "Train_text.xlsx").write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read_captions(folder)
    check_message(caught.value, "Train_text.xlsx")
    return str(caught.value)


@pytest.mark.parametrize("part", [SHEET, "xl/workbook.xml", "docProps/core.xml"])
def test_what_unpacks_beyond_measure_is_refused_before_it_is_unpacked(workbook, tmp_path, part):
    bomb = _repacked(workbook, lambda name, old: old + bytes(80 << 20) if name == part else old)
    assert len(bomb) < 1 << 20

    assert "expected a table of at most 64 MB, but it has 80 MB once unpacked" in _refused(tmp_path, bomb)


def test_entities_that_unfold_are_not_unfolded(workbook, tmp_path):
    laughs = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(12))
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{laughs}]>'

    def change(name, old):
        if name != SHEET:
            return old
        text = old.decode().split("?>", 1)[-1].replace("</sheetData>", "<row><c><v>&a12;</v></c></row></sheetData>")
        return (head + text).encode()

    with bounded_memory():
        _refused(tmp_path, _repacked(workbook, change))


@pytest.mark.parametrize("last", [f"XFD{number}" for number in (*EXTREMES[-4:], 1 << 20)])
def test_cells_beyond_any_table_take_no_memory(workbook, tmp_path, last):
    row = last.removeprefix("XFD")

    def change(name, old):
        if name != SHEET:
            return old
        text = old.decode().replace('ref="A1:C4"', f'ref="A1:{last}"')
        assert last in text
        return text.replace("</sheetData>", f'<row r="{row}"><c r="A{row}"><v>1</v></c></row></sheetData>').encode()

    (tmp_path / "Train_text.xlsx").write_bytes(_repacked(workbook, change))

    with bounded_memory():
        found = read_captions(tmp_path)

    assert found == {"a": "Many nuclei, some dark.", "7": "Seven.", "b": "None"}


def test_a_csv_table_beyond_measure_is_refused(tmp_path):
    with (tmp_path / "Train_text.csv").open("wb") as file:
        file.write(CSV.encode())
        file.truncate(65 << 20)

    with pytest.raises(DatasetError, match=r"Train_text\.csv: expected a table of at most 64 MB, but it has 65 MB"):
        read_captions(tmp_path)
