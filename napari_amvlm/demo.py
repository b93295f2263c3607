"""The whole loop on sample images in the real window: prompt, correction, learning, better mask.

Where there is a screen, napari opens on the sample and the rest is up to the person.  Where there is none, or with
`AMVLM_DEMO=script` in the environment, a script drives the same docks, with the true masks instead of what an
annotator would paint.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import AmvlmError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SCRIPT = "AMVLM_DEMO"


def _nobody_hears(_line: str) -> None:
    pass


def run_demo(
    output: Path,
    *,
    minutes: float = 1.0,
    model: str | Path | None = None,
    said: Callable[[str], None] = _nobody_hears,
) -> dict[str, Any]:
    """Open napari on the sample, or drive it by a script where there is no screen.

    Parameters
    ----------
    output : Path
        Folder for `summary.json`, `screenshot.png` and the project; made if it is not there.
    minutes : float
        Learning time.
    model : str or Path, optional
        Name or file of the model to start from; by default the one that is installed.
    said : callable
        Hears a line for every stage of the script.

    Returns
    -------
    dict
        The summary; with a screen just `{"mode": "window"}`, once the window is closed.
    """
    from napari_amvlm._qt.demo.virtual_screen import has_screen, virtual_screen

    if not has_screen():
        said(
            f"There is no screen: a script drives the window under a virtual one, for about {minutes + 2:.0f} minutes."
        )
        with virtual_screen():
            return _in_a_process_of_its_own(output, minutes, model)
    if os.environ.get(_SCRIPT) == "script":
        from napari_amvlm._qt.demo.script import DemoScript

        return DemoScript(output, minutes=minutes, model=model, said=said).run()
    return _open_window(model)


def _in_a_process_of_its_own(output: Path, minutes: float, model: str | Path | None) -> dict[str, Any]:
    # Qt holds its screen until the process ends, and the virtual one must not go before it
    command = [sys.executable, "-m", "napari_amvlm", "demo", "--output", str(output), "--minutes", str(minutes)]
    if model is not None:
        command += ["--model", str(model)]
    ended = subprocess.run(command, env={**os.environ, _SCRIPT: "script"}, stdout=subprocess.PIPE, check=False)
    if ended.returncode:
        raise AmvlmError(f"The demonstration ended with exit code {ended.returncode}; see its last lines above.")
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    return summary


def _open_window(model: str | Path | None) -> dict[str, Any]:
    import napari

    from napari_amvlm._qt.demo.scene import PROMPT, add_dock, add_image, sample_pairs, show_only

    viewer = napari.Viewer(title="napari-amvlm demonstration")
    dock = add_dock(viewer, model)
    dock.show_tab("Annotate")
    for pair in sample_pairs():
        add_image(viewer, pair)
    show_only(viewer, sample_pairs()[0].name)
    dock.annotate.panel.prompt.setValue(PROMPT)
    napari.run()
    return {"mode": "window"}
