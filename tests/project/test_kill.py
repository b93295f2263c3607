"""A program that is killed while it accepts, learns or exports: what it had acknowledged is there bit by bit."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_amvlm.exports import export_coco, export_geojson, export_labels
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
        1, f"prompt {seed % 3}", mask, before=before, reviewed=reviewed,
        objects=mask * np.random.default_rng([seed, 3]).integers(1, 300, mask.shape), model=None, threshold=0.5,
    )
    print(correction.id, seed, flush=True)
"""

LEARN_FOR_EVER = """
import itertools, sys
from pathlib import Path
import numpy as np
from napari_amvlm.project import Project

project = Project.open(sys.argv[1])
train = [correction.id for correction in project.corrections()]
for seed in itertools.count(int(sys.argv[2])):
    run = project.record_run({"seed": seed}, parent="start", train=train)
    print("run", run.id, seed, flush=True)
    weights = Path(sys.argv[3], "weights.safetensors")
    weights.write_bytes(np.random.default_rng(seed).bytes(20000))
    model = project.add_model(weights, "start", {"after": 0.5})
    project.store_run_scores(run.id, {1: (0.25, 0.5)})
    project.finish_run(run.id, result={"steps": seed}, model_id=model.id)
    print("finished", run.id, seed, flush=True)
    project.serve(model.id)
    print("served", model.id, seed, flush=True)
"""

EXPORT_FOR_EVER = """
import itertools, sys
from pathlib import Path
from napari_amvlm.exports import export_coco, export_geojson, export_labels
from napari_amvlm.project import Project

out = Path(sys.argv[3])
project = Project.open(sys.argv[1], read_only=True)
for number in itertools.count():
    export_coco(project, out / "masks.json")
    print("coco", flush=True)
    export_geojson(project, out / "geojson")
    print("geojson", flush=True)
    export_labels(project, out / "labels", "tiff", objects=True)
    print("labels", flush=True)
"""

EXPORTED = {"coco": "masks.json", "geojson": "geojson/image.geojson", "labels": "labels/labelcol/image.tif"}


def _kill_somewhere(program: str, chance: random.Random, *arguments: object) -> list[list[str]]:
    """Run a program, kill it at a random moment, and return the words of each line that it had written."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(chance.randint(1, 12))]
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=chance.random() * 0.03)
    process.kill()
    rest, _ = process.communicate()
    # The last line may have been cut by the kill.
    whole = [line for line in "".join([*lines, rest]).splitlines(keepends=True) if line.endswith("\n")]
    assert whole
    return [line.split() for line in whole]


@dataclass
class _Acknowledged:
    """What killed programs had said to be on the disk."""

    corrections: list[tuple[int, int]] = field(default_factory=list)
    begun: list[tuple[int, int]] = field(default_factory=list)
    finished: list[tuple[int, int]] = field(default_factory=list)
    served: list[tuple[int, int]] = field(default_factory=list)


def _check_all(root: Path, acknowledged: _Acknowledged) -> None:
    with Project.open(root) as project:
        _check_corrections(project, acknowledged)
        _check_learning(project, acknowledged)
        assert not list(project.root.rglob(".tmp-*"))


def _check_corrections(project: Project, acknowledged: _Acknowledged) -> None:
    kept = {c.id: c for c in project.corrections(history=True)}
    for correction_id, seed in acknowledged.corrections:
        correction = kept[correction_id]
        mask, before, reviewed = (np.random.default_rng([seed, part]).random((40, 50)) > 0.5 for part in range(3))
        proposed = project.load_before(correction)
        assert proposed is not None
        assert np.array_equal(project.load_mask(correction), mask)
        assert np.array_equal(proposed, before)
        assert np.array_equal(project.load_reviewed(correction), reviewed)
        numbers = np.random.default_rng([seed, 3]).integers(1, 300, mask.shape)
        assert np.array_equal(project.load_objects(correction), mask * numbers)
    for correction in kept.values():
        assert np.array_equal(project.load_states(correction) > 0, project.load_reviewed(correction))


def _check_learning(project: Project, acknowledged: _Acknowledged) -> None:
    runs = {run.id: run for run in project.runs()}
    models = {model.id: model for model in project.models()}
    for run_id, seed in acknowledged.begun:
        assert runs[run_id].config == {"seed": seed}
        assert project.run_corrections(run_id)
    assert all(run.state in ("finished", "interrupted") for run in runs.values())
    for run_id, seed in acknowledged.finished:
        run = runs[run_id]
        assert (run.state, run.result) == ("finished", {"steps": seed})
        assert [(s.before, s.after) for s in project.run_scores(run_id)] == [(0.25, 0.5)]
        assert run.model_id is not None
        assert models[run.model_id].path.read_bytes() == np.random.default_rng(seed).bytes(20000)
    for model in models.values():
        assert hashlib.sha256(model.path.read_bytes()).hexdigest() == model.sha256
    if acknowledged.served:
        served = project.served_model()
        assert served is not None
        # The kill may have come after the next model was served, and before that was said.
        assert served.id >= acknowledged.served[-1][0]


def _files(folder: Path) -> dict[str, bytes]:
    visible = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in visible}


def _check_export(root: Path, out: Path, told: list[list[str]]) -> None:
    whole = out.with_name(f"{out.name}-whole")
    with Project.open(root, read_only=True) as project:
        export_coco(project, whole / "masks.json")
        export_geojson(project, whole / "geojson")
        export_labels(project, whole / "labels", "tiff", objects=True)
    found, wanted = _files(out), _files(whole)
    assert all(wanted[name] == content for name, content in found.items())
    assert {EXPORTED[word] for (word,) in told} <= found.keys()


def _run_rounds(project: Project, pixels: Callable[[int], NDArray[np.uint8]], folder: Path, rounds: int) -> None:
    image = project.add_image(array=pixels(0), name="image")
    project.accept(image.id, "first", pixels(0)[..., 0] > 127, model=None, threshold=None)
    root = project.root
    project.close()
    chance = random.Random(20)
    acknowledged = _Acknowledged()
    for number in range(rounds):
        if number % 3 == 0:
            told = _kill_somewhere(ACCEPT_FOR_EVER, chance, root, 1000 * number)
            acknowledged.corrections += [(int(a), int(b)) for a, b in told]
        elif number % 3 == 1:
            told = _kill_somewhere(LEARN_FOR_EVER, chance, root, 1000 * number, folder)
            for word, into in (
                ("run", acknowledged.begun),
                ("finished", acknowledged.finished),
                ("served", acknowledged.served),
            ):
                into += [(int(a), int(b)) for said, a, b in told if said == word]
        else:
            out = folder / f"export-{number}"
            _check_export(root, out, _kill_somewhere(EXPORT_FOR_EVER, chance, root, 0, out))
        _check_all(root, acknowledged)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_killed_while_accepting_learning_and_exporting(
    project: Project, pixels: Callable[[int], NDArray[np.uint8]], tmp_path: Path
) -> None:
    _run_rounds(project, pixels, tmp_path, rounds=6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_killed_two_hundred_times(
    project: Project, pixels: Callable[[int], NDArray[np.uint8]], tmp_path: Path
) -> None:
    _run_rounds(project, pixels, tmp_path, rounds=200)
