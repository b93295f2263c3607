"""Index files of sets and tables of synonyms, right and wrong."""

import pytest

from napari_amvlm.errors import DatasetError
from training.datasets.word_sets import SetSpec, read_index, read_wordings

_HEAD = "set,prompts,modality,kind,licence,weights,source,subject,subjects,images,kept_back,notes\n"


def _index(folder, *rows):
    path = folder / "sets.csv"
    path.write_text(_HEAD + "\n".join(rows))
    return path


def test_an_index_says_words_kind_and_subject(tmp_path):
    path = _index(
        tmp_path,
        'Aorta-CT,aorta,chest CT,whole,CC BY 4.0,open,somewhere,^(\\d+)_,3,9,0,"teeth, a partial truth"',
        "Cells,cells; nuclei,phase contrast,tiles,MIT,research,somewhere,,,4,0,",
    )

    aorta, cells = read_index(path)

    assert (aorta.kind, aorta.prompts, aorta.subject_of("12_7"), aorta.partial) == ("whole", ("aorta",), "12", True)
    assert (cells.prompts, cells.subject_of("a_1"), cells.partial) == (("cells", "nuclei"), "a_1", False)
    assert cells.folder == str(tmp_path / "Cells")
    assert [spec.name for spec in read_index(path, ("research",))] == ["Cells"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("A,aorta,CT,patches,CC0,open,x,,,1,0,", r"line 2 \(set 'A'\): kind is 'patches'"),
        ("A,aorta,CT,whole,CC0,open,x,^(\\d+,,1,0,", r"subject .* is no regular expression"),
        ("A,aorta,CT,whole,CC0,open,x,^\\d+,,1,0,", r"must have one group, the subject, but has 0"),
    ],
)
def test_a_bad_row_is_named_in_one_sentence(tmp_path, row, message):
    with pytest.raises(DatasetError, match=message):
        read_index(_index(tmp_path, row))


def test_weights_that_no_set_has_are_refused(tmp_path):
    path = _index(tmp_path, "A,aorta,CT,whole,CC0,open,x,,,1,0,")

    with pytest.raises(DatasetError, match=r"no set whose weights are \['free'\]"):
        read_index(path, ("open", "free"))


def test_a_table_without_its_columns_or_rows_is_refused(tmp_path):
    path = tmp_path / "sets.csv"
    path.write_text("name,prompts\nA,aorta\n")
    with pytest.raises(DatasetError, match=r"lacks set, modality, kind"):
        read_index(path)
    path.write_text(_HEAD)
    with pytest.raises(DatasetError, match=r"lacks any row"):
        read_index(path)
    with pytest.raises(DatasetError, match=r"missing\.csv cannot be read"):
        read_index(tmp_path / "missing.csv")


def test_synonyms_are_read_once_each(tmp_path):
    path = tmp_path / "wordings.csv"
    path.write_text("prompt,wording\naorta,aorta\naorta,aortic  lumen\naorta,aortic lumen\nliver,liver\n")

    assert read_wordings(path) == {"aorta": ("aorta", "aortic lumen"), "liver": ("liver",)}


def test_a_set_of_a_recipe_is_checked_as_a_row_is():
    with pytest.raises(ValueError, match="no regular expression"):
        SetSpec(name="mine", kind="whole", subject="(")
