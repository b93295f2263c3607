"""How the commands of this folder start and fail: errors on one line, with the exit codes of the installed program."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import typer

from napari_amvlm.cli import exit_code
from napari_amvlm.cli.console import remark
from napari_amvlm.errors import AmvlmError

if TYPE_CHECKING:
    from collections.abc import Callable


def run_command(command: Callable[..., Any]) -> None:
    """Run a function as the program's only command, and end the program."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except AmvlmError as error:
        remark(" ".join(str(error).split()))
        raise SystemExit(exit_code(error)) from error
