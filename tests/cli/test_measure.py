"""`napari-amvlm measure` of folders and projects."""

import pandas as pd

from napari_amvlm.project import Project


def test_a_folder_with_its_images(run, binary_folder, tmp_path):
    outcome = run("measure", binary_folder / "labelcol", "--images", binary_folder / "img", "-o", tmp_path / "t.csv")

    table = pd.read_csv(tmp_path / "t.csv")
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"3 objects in 3 images -> {tmp_path / 't.csv'}\n"
    assert table["area_px"].tolist() == [900, 900, 900]
    assert {"mean_red", "mean_green", "mean_blue"} <= set(table)


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
