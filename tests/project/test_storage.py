import os

import pytest

from napari_amvlm.errors import ProjectError
from napari_amvlm.project.storage import inside, remove_leftovers


@pytest.mark.parametrize("relative", ["..", "../x", "masks/../../x", "/etc/passwd", "", "."])
def test_paths_stay_inside(tmp_path, relative):
    with pytest.raises(ProjectError, match="outside the project"):
        inside(tmp_path / "root", relative)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_out_of_the_folder_is_no_way_out(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "masks").symlink_to(tmp_path)

    with pytest.raises(ProjectError, match="outside the project"):
        inside(tmp_path / "root", "masks/x.tif")


def test_leftovers_go_and_the_rest_stays(tmp_path):
    for name in (".tmp-abc", ".model.safetensors.17.tmp", "mask.tif", ".hidden"):
        (tmp_path / name).touch()

    remove_leftovers(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "mask.tif"]
