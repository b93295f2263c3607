"""The wheel and the sdist, built and installed into environments of their own."""

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = sorted(path.name for path in (ROOT / "napari_amvlm" / "weights").glob("*.safetensors"))
PROBE = """
import json, sys
from importlib.metadata import version
from pathlib import Path
import napari_amvlm
from npe2 import PluginManifest
from napari_amvlm import _sample_data
package = Path(napari_amvlm.__file__).parent
root = _sample_data.sample_root()
print(json.dumps({
    "package": str(package),
    "samples": str(root),
    "images": {name: len(list((root / name / "img").iterdir())) for name in _sample_data.SAMPLES},
    "weights": sorted(path.name for path in (package / "weights").glob("*.safetensors")),
    "typed": (package / "py.typed").is_file(),
    "version": version("napari-amvlm"),
    "manifest": PluginManifest.from_distribution("napari-amvlm").name,
    "yaml": (root.parent / "napari.yaml").read_text(encoding="utf-8"),
    "training": any((Path(folder) / "training").is_dir() for folder in sys.path),
}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel"]
    subprocess.run([*build, "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module", params=["*.whl", "*.tar.gz"])
def programs(built, request, tmp_path_factory):
    """Install an archive into a new environment that borrows its dependencies; return the folder of its programs."""
    archive, folder = next(built.glob(request.param)), tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    scheme = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    (site / "present.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    programs = Path(sysconfig.get_path("scripts", "venv", scheme))
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    subprocess.run([*pip, *options, str(archive)], check=True, capture_output=True)
    return programs


def test_an_installed_archive_is_complete(programs, tmp_path):
    probe = subprocess.run([programs / "python", "-c", PROBE], check=True, capture_output=True, text=True, cwd=tmp_path)
    found = json.loads(probe.stdout)

    assert Path(found["package"]).is_relative_to(programs.parent)
    assert Path(found["samples"]).is_relative_to(programs.parent)
    assert found["images"] == {"nuclei": 12, "lungs": 4, "spine": 3}
    assert found["weights"] == WEIGHTS
    assert found["manifest"] == "napari-amvlm"
    assert found["yaml"] == (ROOT / "napari.yaml").read_text(encoding="utf-8")
    assert found["typed"]
    assert not found["training"]


def test_the_console_script_runs(programs, tmp_path):
    done = subprocess.run([programs / "napari-amvlm", "--help"], capture_output=True, text=True, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "predict" in done.stdout


def test_the_archives_hold_what_belongs_in_them(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        in_wheel = {name.split("/")[0].split("-")[0] for name in wheel.namelist()}
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        in_sdist = {name.split("/")[1] for name in sdist.getnames() if "/" in name}

    assert in_wheel == {"napari_amvlm", "napari_amvlm_resources"}
    assert {"napari_amvlm", "napari.yaml", "pyproject.toml", "sample_data", "tests", "training", "LICENSE"} <= in_sdist
    assert not {".venv", "demo", "runs"} & in_sdist
