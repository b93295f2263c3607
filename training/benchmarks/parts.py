"""The parts of the benchmark: each runs in a process of its own, for so long at most, and gives lines of the table."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_amvlm._qt.demo.virtual_screen import has_screen, virtual_screen
from napari_amvlm.errors import InputError
from training.benchmarks.table import Row, missing, read_rows, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from training.benchmarks.conditions import Options


@dataclass(frozen=True)
class Part:
    """What is run, how long it may take, and whether it opens windows.

    Attributes
    ----------
    function
        "module:function"; the function takes the options and yields lines.
    seconds
        The process is ended after this time; lines that it has given by then are kept.
    screen
        Whether it needs one, virtual or not.
    """

    function: str
    seconds: float
    screen: bool = False


_HERE = "training.benchmarks"
PARTS: dict[str, Part] = {
    "start-up": Part(f"{_HERE}.docks.start_up:rows", 120, screen=True),
    "prompts": Part(f"{_HERE}.prompt_latency:rows", 120),
    "slides": Part(f"{_HERE}.slides:rows", 240),
    "memory-4k": Part(f"{_HERE}.memory:rows_4k", 60),
    "memory-16k": Part(f"{_HERE}.memory:rows_16k", 60),
    "memory-64k": Part(f"{_HERE}.memory:rows_64k", 60),
    "slide-window": Part(f"{_HERE}.docks.slide_window:rows", 90, screen=True),
    "queue-window": Part(f"{_HERE}.docks.queue_window:rows", 120, screen=True),
    "learning": Part(f"{_HERE}.docks.learning:rows", 150, screen=True),
}
"""In the order of the table."""


def chosen(only: Sequence[str]) -> list[str]:
    """Return the names of the parts to run, all of them for an empty `only`.

    Raises
    ------
    InputError
        There is no such part.
    """
    unknown = [name for name in only if name not in PARTS]
    if unknown:
        raise InputError(f"There is no part {unknown[0]!r} of the benchmark; choose of: {', '.join(PARTS)}.")
    return [name for name in PARTS if name in only or not only]


def run_part(name: str, options: Options) -> list[Row]:
    """Run one part in a process of its own, and return its lines; what it could not measure is a line too."""
    part = PARTS[name]
    with tempfile.TemporaryDirectory() as folder, _screen(part):
        results, errors = Path(folder) / "rows.json", Path(folder) / "errors.txt"
        command = [sys.executable, "-m", "training.benchmarks.parts", name, options.model_dump_json(), str(results)]
        with errors.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=os.name == "posix")
            try:
                code: int | None = process.wait(part.seconds + 60 * options.minutes * (name == "learning"))
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        rows = read_rows(results) if results.is_file() else []
        if code:
            words = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["without a word"]
            rows.append(missing(name, f"ended with exit code {code}: {words[-1][:200]}"))
        elif code is None:
            rows.append(missing(name, f"ended after {part.seconds:g} s; what stands above was measured by then"))
    return rows


def main(name: str, options_json: str, out: str) -> None:
    """Be the process of one part: write its lines after each, so that none is lost."""
    from training.benchmarks.conditions import Options

    module, function = PARTS[name].function.split(":")
    measure: Callable[[Options], Iterator[Row]] = getattr(importlib.import_module(module), function)
    rows: list[Row] = []
    for row in measure(Options.model_validate_json(options_json)):
        rows.append(row)
        write_rows(rows, Path(out))


def _screen(part: Part) -> contextlib.AbstractContextManager[None]:
    return virtual_screen() if part.screen and not has_screen() else contextlib.nullcontext()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that goes on, and those that it started."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:4])
