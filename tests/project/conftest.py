"""Fixtures of the project tests: small images, a project, and a disk that can be filled."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_amvlm.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SHAPE = (40, 50)


@pytest.fixture
def pixels() -> Callable[[int], NDArray[np.uint8]]:
    """Return a maker of RGB images `(40, 50, 3)`, a different one for each number."""

    def make(number: int) -> NDArray[np.uint8]:
        return np.random.default_rng(number).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)

    return make


@pytest.fixture
def random_mask() -> Callable[[int], NDArray[np.bool_]]:
    """Return a maker of masks `(40, 50)`, a different one for each number."""

    def make(number: int) -> NDArray[np.bool_]:
        return np.random.default_rng(number).random(SHAPE) > 0.5

    return make


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "breast.amvlm") as opened:
        yield opened


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a script in a fresh interpreter."""

    def run(script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
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
