"""A program that is killed while it accepts, learns or exports: what it had acknowledged is there bit by bit."""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tifffile
from safetensors.numpy import load_file

from napari_amvlm.project import Answer, Project
from tests.project import killed_worker

WORKS = ("accept", "learn", "export")
HALF_WRITTEN = (".tmp-*", ".*.tmp")
EVERYTHING = 25
"""After so many kills, and at the end, all that was ever acknowledged is looked at again."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX")


class _Worker:
    """The program that is killed, and when: at any moment between two things that it says."""

    def __init__(self, model_file, rehearsal, chance):
        program = Path(killed_worker.__file__).read_text(encoding="utf-8")
        # A process with threads of its own may not fork.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, str(model_file), str(rehearsal)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | threads,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        self._read, self._chance = b"", chance
        self._gap = dict.fromkeys(WORKS, 0.1)
        while self._line(None) != ["ready"]:
            continue

    def kill(self, **request):
        """Have a child work, kill it at a random moment, and return the words of each line that it had said."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        told = [self._line(None)]
        while told[-1][0] != "child":  # the child may speak before its parent does
            told.append(self._line(None))
        child = int(told.pop()[1])
        wanted, began = self._chance.randint(0, 4), time.monotonic()
        while len(told) < wanted:
            told.append(self._line(None))
        if told:
            # A mean over the rounds: the moment of the kill then lies anywhere in what is done between two lines.
            self._gap[request["work"]] += 0.3 * ((time.monotonic() - began) / wanted - self._gap[request["work"]])
        until = time.monotonic() + 1.2 * self._gap[request["work"]] * self._chance.random()
        while (line := self._line(until)) is not None:
            told.append(line)
        os.kill(child, signal.SIGKILL)
        while told == [] or told[-1][0] != "died":
            told.append(self._line(None))
        assert told.pop() == ["died", str(int(signal.SIGKILL))]
        return told

    def _line(self, until):
        """Return the words of the next line; None where there is none until then."""
        while b"\n" not in self._read:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._out], [], [], left)[0]:
                return None
            more = os.read(self._out, 1 << 16)
            assert more, "the program ended by itself"
            self._read += more
        line, self._read = self._read.split(b"\n", 1)
        return line.decode().split()

    def close(self):
        self._process.communicate()


@dataclass
class _Acknowledged:
    """What killed programs had said to be on the disk."""

    accepted: dict[int, int] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    kept: dict[int, tuple[int, str]] = field(default_factory=dict)
    served: int = 0
    drafted: int | None = None
    undone: int = 0

    def hear(self, told):
        for word, first, *rest in told:
            if word == "accepted":
                self.accepted[int(first)] = int(rest[0])
            elif word == "begun":
                self.begun[int(first)] = int(rest[0])
            elif word == "kept":
                self.kept[int(first)] = (int(rest[0]), rest[1])
            elif word == "drafted":
                self.drafted = int(first)
            elif word == "undone":
                self.undone = int(first)
            elif word == "served":
                self.served = int(first)


class _Check:
    """Opens a project after each kill, and compares it with what was acknowledged."""

    def __init__(self, root):
        self._root = root
        self.acknowledged = _Acknowledged()
        self.moments: Counter[str] = Counter()
        self._whole: set[Path] = set()
        self._seen = 0

    def after_kill(self, work, told, *, everything):
        self.moments[f"{work}: kills"] += 1
        self.acknowledged.hear(told)
        # A reader comes first: it finds what the killed program left, and may not clear it away.
        with Project.open(self._root, read_only=True) as project:
            self._note_moment(project, work)
            self._compare(project, 0 if everything else self._seen)
        with Project.open(self._root) as project:
            self._compare(project, 0 if everything else self._seen)
            assert all(run.state in ("finished", "interrupted") for run in project.runs.all())
            assert not [path for pattern in HALF_WRITTEN for path in self._root.rglob(pattern)]
            self._seen = max(c.id for c in project.corrections.select(history=True))

    def _note_moment(self, project, work):
        """Count where kills came: in the middle of a file, between a file and the ledger, in the middle of a run."""
        kept = project.corrections.select(history=True)
        files = ((c.mask_file, c.before_file, c.reviewed_file, c.objects_file, c.states_file) for c in kept)
        named = set(itertools.chain.from_iterable(files))
        found = {path.relative_to(self._root).as_posix() for path in (self._root / "masks").glob("[!.]*")}
        models = {model.path.name for model in project.models.all()}
        self.moments[f"{work}: half-written file"] += any(
            path for pattern in HALF_WRITTEN for path in self._root.rglob(pattern)
        )
        if work == "accept":
            self.moments["accept: masks written, not entered"] += bool(found - named - self._orphans(found - named))
        if work == "learn":
            self.moments["learn: run under way"] += any(run.state == "running" for run in project.runs.all())
            self.moments["learn: model written, not entered"] += any(
                path.name not in models and path not in self._whole for path in (self._root / "models").glob("[!.]*")
            )
        for path in (self._root / "models").glob("[!.]*"):
            self._whole.add(path)

    def _orphans(self, names):
        """Return those of the files without an entry that earlier kills left; all of them must be whole."""
        earlier = {name for name in names if self._root / name in self._whole}
        for name in names - earlier:
            assert tifffile.imread(self._root / name).shape == killed_worker.SHAPE
            self._whole.add(self._root / name)
        return earlier

    def _compare(self, project, after):
        kept = {c.id: c for c in project.corrections.select(history=True)}
        assert self.acknowledged.accepted.keys() <= kept.keys()
        for number, correction in kept.items():
            if number <= after:
                continue
            # Also what was entered and not said any more is whole: its hashes are checked here.
            assert np.array_equal(project.corrections.states(correction) > 0, project.corrections.reviewed(correction))
            if number in self.acknowledged.accepted:
                wanted = killed_worker.answer(self.acknowledged.accepted[number])
                assert np.array_equal(project.corrections.mask(correction), wanted["mask"])
                assert np.array_equal(project.corrections.before(correction), wanted["before"])
                assert np.array_equal(project.corrections.reviewed(correction), wanted["reviewed"])
                assert np.array_equal(project.corrections.objects(correction), wanted["objects"])
        self._compare_drafts(project)
        self._compare_runs(project, everything=after == 0)

    def _compare_drafts(self, project):
        drafts = project.drafts.all()
        assert len(drafts) == (self.acknowledged.drafted is not None) or self.acknowledged.drafted is None
        for draft in drafts:
            # Of a newer seed where the kill came before that was said; never half of one and half of another.
            seed, loaded = int(draft.seconds_spent), project.drafts.load(draft)
            assert seed >= (self.acknowledged.drafted or 0)
            for name, values in killed_worker.answer(seed).items():
                assert np.array_equal(getattr(loaded, name), values)
        turned = project.corrections.select(3, "turned")
        assert bool(turned) == (project.corrections.undo_steps(3, "turned")[0] > 0)
        assert all(correction.id > self.acknowledged.undone for correction in turned)

    def _compare_runs(self, project, *, everything):
        runs = {run.id: run for run in project.runs.all()}
        models = {model.id: model for model in project.models.all()}
        for number, seed in self.acknowledged.begun.items():
            assert runs[number].config["seed"] == seed
            assert set(project.runs.corrections(number).values()) == {"train", "validate"}
        for number, (model_id, weights) in self.acknowledged.kept.items():
            assert (runs[number].state, runs[number].model_id) == ("finished", model_id)
            assert len(project.runs.scores(number)) == 1
            if everything or number == max(self.acknowledged.kept):
                assert killed_worker.fingerprint(_Weights.of(models[model_id].path)) == weights
        for model in list(models.values())[0 if everything else -1 :]:
            load_file(model.path)
        served = project.models.served()
        # The kill may have come after the next model was served, and before that was said.
        assert (0 if served is None else served.id) >= self.acknowledged.served


class _Weights:
    """Arrays with the two methods of tensors that `fingerprint` needs."""

    def __init__(self, array):
        self._array = array

    @classmethod
    def of(cls, path):
        return {name: cls(array) for name, array in load_file(path).items()}

    def half(self):
        return _Weights(self._array.astype(np.float16))

    def numpy(self):
        return self._array


def _files(folder):
    visible = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in visible}


def _check_export(root, out, told, moments):
    """Compare what a killed export left with a whole one: each file is complete, or is not there."""
    whole = out.with_name(f"{out.name}-whole")
    with Project.open(root, read_only=True) as project:
        assert list(killed_worker.export(project, whole)) == list(killed_worker.EXPORTED)
    found, wanted = _files(out), _files(whole)
    assert found.items() <= wanted.items()
    assert {killed_worker.EXPORTED[kind] for _, kind in told} <= found.keys()
    moments["export: files missing"] += found.keys() != wanted.keys()
    moments["export: half-written file"] += any(path.name.startswith(".") for path in out.rglob("*"))


@pytest.fixture
def filled(pixels, tmp_path):
    """Return two projects of four accepted images, the last of which scores models, and one that is not accepted."""
    roots = tmp_path / "killed.amvlm", tmp_path / "rehearsal.amvlm"
    for root in roots:
        with Project.create(root) as project:
            for number in range(5):
                image = project.images.add_array(pixels(number), name=f"image-{number}")
                if number < 4:
                    project.corrections.accept(image.id, "first", Answer(pixels(number)[..., 0] > 127))
            assert len(project.images.held_out()) == 1
    return roots


@pytest.fixture
def kill_for(filled, tiny_checkpoint, tmp_path):
    """Return a function that kills so many times, each kind of work in turn, and counts the moments of the kills."""
    root, rehearsal = filled
    chance = random.Random(20)
    worker = _Worker(tiny_checkpoint, rehearsal, chance)
    check = _Check(root)

    def run(kills):
        for number in range(kills):
            work, out = WORKS[number % 3], tmp_path / f"export-{number}"
            told = worker.kill(work=work, root=str(root), seed=1000 * number, out=str(out))
            if work == "export":
                _check_export(root, out, told, check.moments)
            check.after_kill(work, told, everything=number % EVERYTHING == 0 or number == kills - 1)
        return check.moments + Counter(
            {"acknowledged corrections": len(check.acknowledged.accepted), "models": len(check.acknowledged.kept)}
        )

    yield run
    worker.close()


def test_killed_while_accepting_learning_and_exporting(kill_for):
    moments = kill_for(9)

    assert [moments[f"{work}: kills"] for work in WORKS] == [3, 3, 3]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_two_hundred_times(kill_for):
    moments = kill_for(200)

    print("\n".join(f"{name}: {count}" for name, count in sorted(moments.items())))
    assert sum(moments[f"{work}: kills"] for work in WORKS) == 200
    assert min(moments[f"{work}: kills"] for work in WORKS) >= 66
    # The kills really fell into the middle of things.
    assert moments["accept: half-written file"] + moments["accept: masks written, not entered"] >= 5
    assert moments["learn: run under way"] >= 5
    assert moments["export: files missing"] >= 5
