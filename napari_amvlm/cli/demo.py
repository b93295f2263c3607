"""`napari-amvlm demo`: the whole loop on sample data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from napari_amvlm.cli.console import ModelOption, remark, say


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for screenshot and summary.")
    ] = Path("demo"),
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, max=60.0, metavar="N", help="Learning time.")] = 1.0,
    model: ModelOption = None,
) -> None:
    """Prompt, correct, learn and compare on sample images, in the real window.

    Opens napari where there is a screen, else runs under a virtual one. Writes summary.json and screenshot.png.
    """
    from napari_amvlm.demo import run_demo

    say(json.dumps(run_demo(output, minutes=minutes, model=model, said=remark)))
