"""A screen where there is none: Xvfb, for scripts that drive the real window."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from napari_amvlm.errors import AmvlmError

if TYPE_CHECKING:
    from collections.abc import Iterator


def has_screen() -> bool:
    """Tell whether windows can be shown here."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def virtual_screen(width: int = 1280, height: int = 800) -> Iterator[None]:
    """Show windows on a virtual screen in the body; it is taken away afterwards.

    Raises
    ------
    AmvlmError
        Xvfb is not installed, or does not start.
    """
    program = shutil.which("Xvfb")
    if program is None:
        raise AmvlmError("There is no screen, and Xvfb, which stands in for one, is not there; install it (apt: xvfb).")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"],
        pass_fds=(writing,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    before = {name: os.environ.get(name) for name in ("DISPLAY", "QT_QPA_PLATFORM")}
    try:
        with os.fdopen(reading, "rb") as answer:
            number = answer.readline().strip().decode()
        if not number.isdigit():
            raise AmvlmError("There is no screen, and Xvfb did not start; start one yourself and set DISPLAY.")
        os.environ.update(DISPLAY=f":{number}", QT_QPA_PLATFORM="xcb")
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        server.terminate()
        server.wait()
