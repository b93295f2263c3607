"""How long napari takes to start with the docks, beside napari alone; each time in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from napari_amvlm.errors import AmvlmError
from training.benchmarks.table import Row, beside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.benchmarks.conditions import Options

_PATIENCE = 120.0


def opened(model: str | None, *, docks: bool) -> dict[str, float]:
    """Open a window in this process; return the seconds since the process began until it answers, and has a model."""
    import napari
    import psutil

    from napari_amvlm._qt.demo.event_loop import wait_until

    began = psutil.Process().create_time()
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    seconds: dict[str, float] = {}
    workspace = None
    if docks:
        from napari_amvlm._qt.workspace import workspace_for

        workspace = workspace_for(viewer)
        workspace.load_model(model)
        _, dock = viewer.window.add_plugin_dock_widget("napari-amvlm", "Annotate")
        wait_until(dock.panel.prompt.isVisible, seconds=_PATIENCE, what="the dock")
    frames = [0]
    wait_until(lambda: _second(frames), seconds=_PATIENCE, what="the event loop")
    seconds["usable"] = time.time() - began
    if workspace is not None:
        wait_until(lambda: workspace.model_state != "loading", seconds=_PATIENCE, what="the model")
        if workspace.predictor is None:
            raise AmvlmError(workspace.model_message)
        seconds["model"] = time.time() - began
        workspace.shut_down()
    viewer.close()
    return seconds


def rows(options: Options) -> Iterator[Row]:
    """Yield the time until the dock can be used, and until its model is loaded."""
    runs: dict[str, list[dict[str, float]]] = {"bare": [], "docks": []}
    for _ in range(2):
        for name, timings in runs.items():
            timings.append(_in_a_process(name, options.model))
    bare, docks = runs["bare"][1], runs["docks"][1]
    how = "from the start of the process until the event loop answers with it in view; the second of two starts"
    yield beside("start-up until the dock is usable", docks["usable"], bare["usable"], "s", "napari alone", how)
    how = "the same, until the model is loaded in the background and a prompt would run at once"
    yield beside("start-up until the model is loaded", docks["model"], bare["usable"], "s", "napari alone", how)


def _second(frames: list[int]) -> bool:
    """Tell whether the event loop has come round twice since the window was made."""
    frames[0] += 1
    return frames[0] > 1


def _in_a_process(name: str, model: str | None) -> dict[str, float]:
    command = [sys.executable, "-m", "training.benchmarks.docks.start_up", name, *([model] if model else [])]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=_PATIENCE)
    if ended.returncode:
        raise AmvlmError(f"The window ({name}) ended with exit code {ended.returncode}; its words stand above.")
    return {key: float(value) for key, _, value in (line.partition("=") for line in ended.stdout.split()) if value}


if __name__ == "__main__":
    seconds = opened(sys.argv[2] if len(sys.argv) > 2 else None, docks=sys.argv[1] == "docks")
    sys.stdout.write("\n".join(f"{key}={value}" for key, value in seconds.items()) + "\n")
