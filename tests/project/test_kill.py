"""A program that is killed while it accepts: what it had acknowledged is there bit by bit."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_amvlm.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

ACCEPT_FOR_EVER = """
import itertools, sys
import numpy as np
from napari_amvlm.project import Project

project = Project.open(sys.argv[1])
for seed in itertools.count(int(sys.argv[2])):
    mask, before, reviewed = (np.random.default_rng([seed, part]).random((40, 50)) > 0.5 for part in range(3))
    correction = project.accept(
        1, f"prompt {seed % 3}", mask, before=before, reviewed=reviewed, model=None, threshold=0.5
    )
    print(correction.id, seed, flush=True)
"""


def _expected(seed: int) -> list[NDArray[np.bool_]]:
    return [np.random.default_rng([seed, part]).random((40, 50)) > 0.5 for part in range(3)]


def _accept_until_killed(root: Path, first_seed: int, chance: random.Random) -> list[tuple[int, int]]:
    """Run the program, kill it at a random moment, and return its acknowledgements as (correction, seed)."""
    command = [sys.executable, "-c", ACCEPT_FOR_EVER, str(root), str(first_seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(chance.randint(1, 12))]
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=chance.random() * 0.03)
    process.kill()
    rest, _ = process.communicate()
    # The last line may have been cut by the kill.
    whole = [line for line in "".join([*lines, rest]).splitlines(keepends=True) if line.endswith("\n")]
    return [(int(a), int(b)) for a, b in (line.split() for line in whole)]


def _check_all(root: Path, acknowledged: list[tuple[int, int]]) -> None:
    with Project.open(root) as project:
        kept = {c.id: c for c in project.corrections(history=True)}
        for correction_id, seed in acknowledged:
            correction = kept[correction_id]
            before = project.load_before(correction)
            assert before is not None
            found = [project.load_mask(correction), before, project.load_reviewed(correction)]
            assert all(np.array_equal(a, b) for a, b in zip(found, _expected(seed), strict=True))
        for correction in kept.values():
            assert project.load_mask(correction).shape == (40, 50)
        assert not list(project.root.rglob(".tmp-*"))


def _run_rounds(project: Project, pixels: Callable[[int], NDArray[np.uint8]], rounds: int) -> None:
    project.add_image(array=pixels(0))
    project.close()
    chance = random.Random(20)
    acknowledged: list[tuple[int, int]] = []
    for number in range(rounds):
        told = _accept_until_killed(project.root, 1000 * number, chance)
        assert told
        acknowledged += told
        _check_all(project.root, acknowledged)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_killed_while_accepting(project: Project, pixels: Callable[[int], NDArray[np.uint8]]) -> None:
    _run_rounds(project, pixels, rounds=5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_killed_many_times_while_accepting(project: Project, pixels: Callable[[int], NDArray[np.uint8]]) -> None:
    _run_rounds(project, pixels, rounds=100)
