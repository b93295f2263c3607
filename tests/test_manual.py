"""The manual: its keys are those of the program, its links lead somewhere, and its pictures are there and small."""

import re
from pathlib import Path

import PIL.Image
import pytest

import napari_amvlm
from napari_amvlm._qt.keys import ACTIONS
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.model_info import read_info
from training.word_page import word_page
from training.words.pictures import read_credits

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_the_page_of_keys_says_what_the_keys_do():
    table = (DOCS / "keys.md").read_text(encoding="utf-8").split("\n\n")[2]

    rows = [re.fullmatch(r"\| `(.+)` \| (.+) \|", line) for line in table.splitlines()[2:]]

    assert [(row.group(1), row.group(2)) for row in rows if row] == [
        (action.key, action.description) for action in ACTIONS
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_are_there(page):
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]

    missing = [link for link in links if not (page.parent / link.split("#")[0]).exists()]

    assert missing == []


def test_the_page_of_words_is_that_of_the_weights_that_ship():
    written = (DOCS / "words.md").read_text(encoding="utf-8")

    assert written == word_page(read_info(find_model())), "run python -m training.word_page"


@pytest.mark.parametrize("folder", [DOCS, DOCS / "experiments"], ids=lambda folder: folder.name)
def test_every_page_is_in_the_index(folder):
    index = _LINK.findall((folder / "README.md").read_text(encoding="utf-8"))

    assert {page.name for page in folder.glob("*.md")} - {"README.md"} <= set(index)


def test_the_version_is_the_newest_of_the_changelog_and_the_citation():
    newest = re.search(r"^## (\S+) \((\S+)\)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")

    assert newest
    assert newest[1] == napari_amvlm.__version__
    assert f"version: {newest[1]}\n" in citation
    assert f"date-released: {newest[2]}\n" in citation


def test_pictures_are_used_whole_and_small():
    pictures = sorted(path for path in (DOCS / "pictures").iterdir() if path.is_file())
    words = "".join(page.read_text(encoding="utf-8") for page in PAGES)

    unused = [path.name for path in pictures if path.name not in words and path.name != "loop.gif"]
    for path in pictures:
        with PIL.Image.open(path) as picture:
            picture.load()
            assert picture.width >= 640, path

    assert unused == []
    assert sum(path.stat().st_size for path in pictures) < 3_000_000
    assert (DOCS / "pictures" / "loop.gif").stat().st_size < 1_000_000


def test_every_picture_of_a_word_is_small_and_has_a_source_that_lets_it_be_shown():
    folder = DOCS / "pictures" / "words"
    told = read_credits(folder)

    assert {row["file"] for row in told} == {path.name for path in folder.glob("*.jpg")}
    assert all(row["source"] and re.match(r"CC0|CC BY \d", row["licence"]) for row in told)
    assert max(path.stat().st_size for path in folder.iterdir()) < 8_000


def test_make_pictures_writes_those_that_the_manual_shows():
    from tests._qt.manual_pictures import PICTURES

    shown = {Path(link).stem for page in PAGES for link in _LINK.findall(page.read_text(encoding="utf-8"))}

    assert {*PICTURES} == {name for name in shown if re.match(r"(pathology|xray|new-word)-\d", name)}
