"""The folder of a run: its settings, the files it used, its log, and the state to resume from."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

import napari_amvlm
from napari_amvlm.errors import InputError
from napari_amvlm.files import sha256_of_file, write_atomically, write_text
from napari_amvlm.learning.reports import StepReport, ValidationReport
from napari_amvlm.learning.run_state import Progress, RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from napari_amvlm.learning import Report

SCORES, CONFIG, DATA, LOG = "scores.json", "config.json", "data.json", "log.jsonl"
WEIGHTS, STATE = "model.safetensors", "state.safetensors"
_LOCK = ".lock"


class RunFolder:
    """One run on disk. It is finished when `scores.json` is there, which is written last.

    Parameters
    ----------
    path
        The folder; it is made when it is claimed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return (self.path / SCORES).is_file()

    @property
    def weights(self) -> Path:
        """The file of the learnt weights."""
        return self.path / WEIGHTS

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder; a killed process lets it go.

        Raises
        ------
        InputError
            Another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self.path / _LOCK).acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"Another process works on {self.path}; wait until it is done, or choose another --out."
            ) from error
        with held:
            yield

    def claim(self, config: dict[str, Any]) -> None:
        """Write the settings of a run, or check that the run in the folder has the same.

        Raises
        ------
        InputError
            The folder holds a run with other settings.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        stored = self.read(CONFIG)
        now = json.loads(json.dumps(config))
        if stored is not None:
            names = sorted(stored.keys() | now.keys())
            different = [k for k in names if k not in _FREE and not _same(stored.get(k), now.get(k))]
            if different:
                raise InputError(
                    f"{self.path} holds a run with another {', '.join(different)}; "
                    "choose another --out, or put the settings back to go on."
                )
        self.write(CONFIG, now)

    def read(self, name: str) -> dict[str, Any] | None:
        """Return one of the folder's JSON objects, None if it is not there.

        Raises
        ------
        InputError
            It cannot be read.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}); remove the folder and run again.") from error
        return content

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON object; the file appears whole or not at all."""
        write_text(self.path / name, json.dumps(content, indent=1))

    def log(self, record: dict[str, Any]) -> None:
        """Add a line to the log."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def note(self, report: Report) -> None:
        """Add a report of the learning loop to the log."""
        if isinstance(report, StepReport | ValidationReport):
            self.log({"event": "step" if isinstance(report, StepReport) else "validation", **asdict(report)})

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines of the log; a last line that was cut off by a kill is left out."""
        path = self.path / LOG
        if not path.is_file():
            return []
        records: list[dict[str, Any]] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def cut_log(self, step: int) -> None:
        """Drop what was logged after `step`: it is computed and logged again."""
        kept = [json.dumps(r) + "\n" for r in self.logged() if r.get("step", 0) <= step]
        write_text(self.path / LOG, "".join(kept))


_FREE = ("environment",)
"""What may differ between two sittings of one run."""


def _same(stored: Any, now: Any) -> bool:
    """Tell whether two settings are equal; one that an earlier version did not know is off in its runs."""
    if not isinstance(stored, dict) or not isinstance(now, dict):
        return bool(stored == now)
    known = all(key in now and _same(value, now[key]) for key, value in stored.items())
    return known and not any(value for key, value in now.items() if key not in stored)


class StateFile:
    """Keeps a run's state as safetensors, with its numbers as JSON in the header; see `StateKeeper`.

    Parameters
    ----------
    every_seconds
        Time between two states; 0 saves every one.
    """

    def __init__(self, folder: RunFolder, every_seconds: float) -> None:
        self._folder, self._every = folder, every_seconds
        self._path = folder.path / STATE
        self._saved = time.monotonic()

    def load(self) -> RunState | None:
        """Return the last state, and drop from the log what came after it.

        Raises
        ------
        InputError
            The file is damaged.
        """
        if not self._path.is_file():
            self._folder.cut_log(-1)
            return None
        try:
            with safe_open(self._path, "pt") as file:
                told = file.metadata()
            # Pretraining had no other number than its step before version 0.6.
            numbers = json.loads(told.pop("progress")) if "progress" in told else {"step": int(told["step"])}
            lists = {name: tuple(value) for name, value in numbers.items() if isinstance(value, list)}
            state = RunState(load_file(self._path), Progress(**(numbers | lists)), told)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self._path} cannot be read ({error}); remove it to begin the run anew.") from error
        self._folder.cut_log(state.progress.step)
        return state

    def due(self, step: int) -> bool:
        """Tell whether the last state is old enough."""
        return time.monotonic() - self._saved >= self._every

    def save(self, state: RunState) -> None:
        """Write a state in place of the last one."""
        save_tensors(state.tensors, self._path, {**state.told, "progress": json.dumps(asdict(state.progress))})
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Forget the state of a run that is over."""
        self._path.unlink(missing_ok=True)


def file_hashes(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """Return the SHA-256 of files by their path below `root`."""
    return dict(sorted((path.relative_to(root).as_posix(), sha256_of_file(path)) for path in paths))


def environment(device: torch.device) -> dict[str, str]:
    """Return what computes a run: versions, machine and device."""
    return {
        "napari-amvlm": napari_amvlm.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": str(torch.get_num_threads()),
    }


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write copies of tensors as safetensors; the file appears whole or not at all."""
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    write_atomically(path, lambda temporary: save_file(copies, temporary, metadata=metadata))
