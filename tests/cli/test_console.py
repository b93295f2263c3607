"""Progress on a terminal never gets into results."""

import os
import subprocess
import sys

import pytest

from napari_amvlm.cli.console import complain, progress, remark, say

PROGRAM = """
from napari_amvlm.cli.console import complain, progress, say
with progress("Working") as show:
    show(0.5, "half [bold]way[/bold]")
    say("a result [red] in brackets")
    complain("a problem")
"""


def test_results_go_to_a_file_while_the_bar_is_on_a_terminal(tmp_path):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()

    with (tmp_path / "out.txt").open("wb") as out:
        subprocess.run([sys.executable, "-c", PROGRAM], stdout=out, stderr=theirs, check=True)

    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert (tmp_path / "out.txt").read_text() == "a result [red] in brackets\n"
    assert "Working" in shown
    assert "napari-amvlm: a problem\r\n" in shown
    assert "a result" not in shown


def test_without_a_terminal_there_is_no_bar(capsys):
    with progress("Working") as show:
        show(0.5, "half")
        say("result")
        remark("remark")
        complain("two\nlines")

    captured = capsys.readouterr()
    assert captured.out == "result\n"
    assert captured.err == "remark\nnapari-amvlm: two lines\n"
