"""What an installed copy promises before any of its parts is used: a light import, honest names, a valid manifest."""

import importlib.metadata
import importlib.resources
import json
import subprocess
import sys
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_amvlm

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "qtpy", "PyQt6", "PySide6", "napari", "kornia")


@pytest.mark.parametrize("module", ["", ".config", ".imaging", ".project", ".cli", "._sample_data"])
def test_import_stays_light(module):
    name = f"napari_amvlm{module}"
    code = f"import json, sys, {name}; print(json.dumps(sorted(sys.modules)))"

    loaded = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    assert name in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("name", napari_amvlm.__all__)
def test_every_public_name_is_there(name):
    assert getattr(napari_amvlm, name) is not None
    assert name in dir(napari_amvlm)


def test_public_names_are_those_that_load_lazily():
    assert set(napari_amvlm.__all__) == {*napari_amvlm._HOMES, "__version__"}


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(napari_amvlm, "no_such_name")  # noqa: B009 - the lookup by name is what is tested


def test_version_is_that_of_the_distribution():
    assert importlib.metadata.version("napari-amvlm") == napari_amvlm.__version__


def test_installed_manifest_is_the_top_level_one():
    installed = importlib.resources.files("napari_amvlm_resources").joinpath("napari.yaml")

    assert installed.read_text(encoding="utf-8") == (ROOT / "napari.yaml").read_text(encoding="utf-8")


def test_manifest_is_found_and_every_command_can_be_imported():
    manifest = PluginManifest.from_distribution("napari-amvlm")

    manifest.validate_imports()

    commands = {command.id for command in manifest.contributions.commands or ()}
    assert {widget.display_name for widget in manifest.contributions.widgets or ()} == {
        "AMVLM",
        "Annotate",
        "Learn",
        "Queue",
    }
    assert [item.command for item in manifest.contributions.menus["napari/layers/segment"]] == [
        "napari-amvlm.main",
        "napari-amvlm.annotate",
        "napari-amvlm.learn",
        "napari-amvlm.queue",
    ]
    assert {sample.command for sample in manifest.contributions.sample_data or ()} < commands


def test_constraints_name_no_local_build():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    assert "torch==2.13.0" in pins
    assert all(line.count("==") == 1 and not set("+/@") & set(line) for line in pins)
