"""`napari-amvlm measure` of folders and projects."""

import numpy as np
import pandas as pd
import tifffile

from napari_amvlm.project import Project


def test_a_folder_with_its_images(run, binary_folder, tmp_path):
    outcome = run("measure", binary_folder / "labelcol", "--images", binary_folder / "img", "-o", tmp_path / "t.csv")

    table = pd.read_csv(tmp_path / "t.csv")
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"3 objects in 3 images -> {tmp_path / 't.csv'}\n"
    assert table["area_px"].tolist() == [900, 900, 900]
    assert {"mean_red", "mean_green", "mean_blue"} <= set(table)


def test_label_images_that_cannot_be_measured_are_named_and_the_others_are_measured(run, tmp_path):
    for folder in ("masks", "img"):
        (tmp_path / folder).mkdir()
    good = np.zeros((20, 20), np.uint8)
    good[2:6, 2:6] = 1
    masks = {"good": good, "channels": np.stack([good, good]), "small": good[:10], "class": good * 3}
    for name, mask in masks.items():
        axes = {"axes": "CYX" if mask.ndim == 3 else "YX"}
        tifffile.imwrite(tmp_path / "masks" / f"{name}.tif", mask, photometric="minisblack", metadata=axes)
        tifffile.imwrite(tmp_path / "img" / f"{name}.tif", good)
    (tmp_path / "masks" / "classes.csv").write_text("value,prompt\n1,nuclei\n", encoding="utf-8")

    outcome = run("measure", tmp_path / "masks", "--images", tmp_path / "img", "-o", tmp_path / "t.csv")

    assert (outcome.code, pd.read_csv(tmp_path / "t.csv")["image"].tolist()) == (1, ["good"])
    said = outcome.err.splitlines()
    assert [line.startswith("Left out:") for line in said] == [True] * 3
    assert "channels.tif" in said[0]
    assert "class.tif holds the value 3, which classes.csv does not name" in said[1]
    assert "small" in said[2]


def test_a_project_gives_its_accepted_objects(run, binary_folder, tmp_path):
    root = tmp_path / "tissue.amvlm"
    Project.create(root).close()
    imported = run("import", root, binary_folder, "--images", binary_folder / "img", "--prompt", "nuclei")

    outcome = run("measure", root, "-o", tmp_path / "t.csv", "--plot")

    assert imported.code == 0, imported.err
    assert outcome.code == 0, outcome.err
    assert pd.read_csv(tmp_path / "t-images.csv")["objects"].tolist() == [1, 1, 1]
    assert (tmp_path / "t.png").is_file()


def test_a_table_that_is_there_stays(run, binary_folder, tmp_path):
    (tmp_path / "t.csv").write_text("mine", encoding="utf-8")

    outcome = run("measure", binary_folder / "labelcol", "-o", tmp_path / "t.csv")

    assert outcome.code == 2
    assert "is there already" in outcome.err
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "mine"


def test_a_report_is_one_file_that_is_not_overwritten(run, binary_folder, tmp_path):
    root = tmp_path / "tissue.amvlm"
    run("import", root, binary_folder, "--images", binary_folder / "img", "--prompt", "nuclei")

    first = run("report", root, "-o", tmp_path / "report.html")
    again = run("report", root, "-o", tmp_path / "report.html")

    assert (first.code, again.code) == (0, 2)
    assert "imported from" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "is there already" in again.err
