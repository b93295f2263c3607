"""Fixtures of the project tests: small images, a project, and a disk that can be filled."""

import os
import subprocess
import sys

import numpy as np
import pytest

SHAPE = (40, 50)


@pytest.fixture
def pixels():
    """Return a maker of RGB images `(40, 50, 3)`, a different one for each number."""

    def make(number):
        return np.random.default_rng(number).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)

    return make


@pytest.fixture
def random_mask():
    """Return a maker of masks `(40, 50)`, a different one for each number."""

    def make(number):
        return np.random.default_rng(number).random(SHAPE) > 0.5

    return make


@pytest.fixture
def run_python():
    """Return a function that runs a script in a fresh interpreter."""

    def run(script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 1 MiB, where that is allowed."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a disk can be mounted by root on Linux only")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)
