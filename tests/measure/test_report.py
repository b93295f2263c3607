"""The report of a project: one valid page, with the right numbers and without any other resource."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.errors import DatasetError, InputError
from napari_amvlm.measure import write_report
from napari_amvlm.project import Answer, Project

_VOID = {"meta", "img"}


class _Balanced(HTMLParser):
    """Checks that every element is closed in turn, and gathers what the page refers to."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture
def project(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    path = tmp_path / "<b>odd & name.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    mask = np.zeros((900, 1200), bool)
    mask[100:300, 200:400] = True
    mask[500:600, 500:700] = True
    with Project.create(tmp_path / "tissue.amvlm") as opened:
        record = opened.images.add_file(path)
        opened.corrections.accept(record.id, "nuclei", Answer(mask, model="amvlm-open", threshold=0.5))
        yield opened


def test_the_page_is_valid_and_needs_nothing_else(project, tmp_path):
    assert write_report(project, tmp_path / "report.html") == []

    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    checked = _Balanced()
    checked.feed(page)
    assert page.startswith("<!DOCTYPE html>")
    assert (checked.open, checked.wrong) == ([], [])
    assert all(link.startswith("data:image/jpeg;base64,") for link in checked.links)
    assert "http" not in re.sub(r"data:[^\"]*", "", page)
    assert "<b>odd" not in page
    assert "&lt;b&gt;odd &amp; name.tif" in page


def test_numbers_author_and_model_are_told(project, tmp_path):
    write_report(project, tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (correction,) = project.corrections.select()
    assert "<td>2</td><td>15,000 µm²</td>" in page
    assert "amvlm-open, threshold 0.50" in page
    assert correction.author in page
    assert correction.accepted_at[:10] in page


def test_the_picture_is_small_and_shows_the_outline(project, tmp_path):
    write_report(project, tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    content = re.search(r"data:image/jpeg;base64,([^\"]*)", page)
    assert content is not None
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(content[1]))), np.int64)
    colour = np.array([int(project.prompts.all()[0].style.colour[i : i + 2], 16) for i in (1, 3, 5)])
    assert picture.shape == (360, 480, 3)
    assert np.abs(picture[40, 90:150] - colour).mean() < 25
    assert np.abs(picture[80, 90:150] - colour).mean() > 25


def test_an_image_that_is_gone_is_told_and_gray(project, tmp_path):
    next(tmp_path.glob("*.tif")).unlink()

    notes = write_report(project, tmp_path / "report.html")

    assert "measured without intensities" in notes[0]
    assert "<td>60,000 px</td>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_is_overwritten_and_nothing_accepted_is_no_report(project, tmp_path):
    (tmp_path / "report.html").write_text("mine", encoding="utf-8")

    with pytest.raises(InputError, match="is there already"):
        write_report(project, tmp_path / "report.html")
    with Project.create(tmp_path / "empty.amvlm") as empty, pytest.raises(DatasetError, match="no accepted mask"):
        write_report(empty, tmp_path / "other.html")

    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "other.html").exists()
