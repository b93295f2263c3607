"""The scripted demonstration, from the command line to its summary and picture, on a virtual screen of its own."""

import json
import os
import shutil
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_without_a_screen_it_drives_the_docks_and_writes_what_it_saw(tiny_checkpoint, tmp_path):
    from PIL import Image

    hidden = {"DISPLAY", "WAYLAND_DISPLAY", "AMVLM_DEMO"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}

    own = tmp_path / "demo" / "nuclei.amvlm" / "project.sqlite"
    own.parent.mkdir(parents=True)
    own.touch()
    options = ["--output", str(tmp_path / "demo"), "--minutes", "0.05", "--model", str(tiny_checkpoint)]
    ended = subprocess.run(
        [sys.executable, "-m", "napari_amvlm", "demo", *options],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert own.exists()
    lines = ended.stderr.splitlines()
    assert lines[0].startswith("There is no screen: a script drives the window")
    assert {"load model ...", "correct and accept ...", "learn ..."} <= set(lines)
    assert "demonstration.amvlm, screenshot.png and summary.json" in lines[-1]
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert json.loads(ended.stdout.splitlines()[-1]) == summary
    assert summary["mode"] == "script"
    assert 0 <= summary["dice"]["unseen_before"] <= 1
    assert 0 <= summary["dice"]["unseen_after"] <= 1
    assert {"open window", "load model", "first prompt", "correct and accept", "learn"} <= set(summary["seconds"])
    assert len(summary["images"]["held_out"]) >= 3
    assert set(summary["images"]["unseen"]).isdisjoint(summary["images"]["labelled"])
    with Image.open(tmp_path / "demo" / "screenshot.png") as screenshot:
        assert screenshot.size == (1280, 800)


def test_without_a_screen_and_without_xvfb_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    from napari_amvlm._qt.demo import virtual_screen
    from napari_amvlm.demo import run_demo
    from napari_amvlm.errors import AmvlmError

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(virtual_screen.shutil, "which", lambda _name: None)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(AmvlmError, match="Xvfb, which stands in for one, is not there; install it"):
        run_demo(tmp_path)
