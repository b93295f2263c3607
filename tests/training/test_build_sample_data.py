"""Building the samples from source folders of the same layout, made here."""

import numpy as np
import pytest
from PIL import Image

from training import build_sample_data


def two_lungs():
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 35:55] = 255
    mask[5:30, 5:25] = 255
    return mask


def write(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    gray = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
    for stem in ("a", "b"):
        write(np.dstack([gray] * 4), root / "DSB2018" / "img" / f"{stem}.png")
        write((gray // 128).astype(np.uint16) * 300, root / "DSB2018" / "instances" / f"{stem}.png")
        write(gray, root / "CXR-Lungs" / "img" / f"{stem}.png")
        write(two_lungs(), root / "CXR-Lungs" / "labelcol" / f"{stem}.png")
    for stem in ("7_t2_slice66", "7_t2_slice67", "70_t2_slice66"):
        write(gray, root / "SPIDER-Spine" / "img" / f"{stem}.png")
        write(gray % 4, root / "SPIDER-Spine" / "labelcol" / f"{stem}.png")
    (root / "SPIDER-Spine" / "classes.csv").write_text("value,prompt\n1,vertebrae\n", encoding="utf-8")
    return root


def test_only_named_images_are_copied(source, tmp_path):
    target = tmp_path / "sample_data"
    target.mkdir()
    (target / "held_out.csv").write_text("set,stem\nDSB2018,a\nCXR-Lungs,b\nSPIDER-Spine,7_t2\n", encoding="utf-8")

    build_sample_data.build(source, target)

    pictures = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.png"))
    assert pictures == [
        "lungs/img/b.png",
        "lungs/labelcol/b.png",
        "nuclei/img/a.png",
        "nuclei/instances/a.png",
        "spine/img/7_t2_slice66.png",
        "spine/labelcol/7_t2_slice66.png",
    ]
    assert np.asarray(Image.open(target / "nuclei/img/a.png")).shape == (40, 60, 3)
    assert np.asarray(Image.open(target / "nuclei/instances/a.png")).max() == 300


def test_the_lung_on_the_left_of_the_image_is_the_right_one():
    lungs = build_sample_data.number_lungs(two_lungs() > 0)

    assert set(np.unique(lungs[:, :30])) == {0, 1}
    assert set(np.unique(lungs[:, 30:])) == {0, 2}
