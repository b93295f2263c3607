"""Exit codes, one-line errors, and a quick start."""

import subprocess
import sys

import pytest

from napari_amvlm.cli import exit_code
from napari_amvlm.errors import (
    Cancelled,
    DeviceError,
    ModelFileError,
    NotEnoughDataError,
    ProjectBusyError,
    ProjectError,
    StorageError,
    TextEncoderError,
)

COMMANDS = ["demo", "predict", "evaluate", "fine-tune", "export", "models"]
HEAVY = ["torch", "transformers", "qtpy", "PyQt6", "PySide6", "napari", "skimage"]


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["fine-tune", "--help"], ["models"]])
def test_help_loads_neither_torch_nor_qt(arguments):
    program = (
        "import sys\nfrom napari_amvlm.cli import main\n"
        f"code = main({arguments!r})\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(repr(loaded) if loaded else code)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_package_is_a_program():
    done = subprocess.run([sys.executable, "-m", "napari_amvlm", "-h"], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


def test_without_arguments_the_help_is_shown(run):
    outcome = run()

    assert outcome.code == 2
    assert "fine-tune" in outcome.out
    assert "..." not in outcome.out.partition("Commands:")[2]  # no summary is cut off
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], "bogus"),
        (["predict", "a.png"], "--prompt"),
        (["predict", "a.png", "--promt", "x"], "--promt"),
        (["evaluate", "DIR", "--protocol", "512"], "--protocol"),
        (["evaluate"], "DIR"),
        (["evaluate", "none", "--prompt", "nuclei", "--json"], "none"),
        (["measure", "none", "-o", "t.csv"], "There is no project or file"),
        (["export", "p.amvlm", "--format", "bmp", "-o", "x"], "'--format': 'bmp' is not one of"),
    ],
)
def test_wrong_arguments_give_one_line_and_2(run, arguments, words):
    outcome = run(*arguments)

    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelFileError, 2),
        (DeviceError, 2),
        (ProjectError, 2),
        (ProjectBusyError, 1),
        (StorageError, 1),
        (NotEnoughDataError, 1),
        (TextEncoderError, 1),
        (Cancelled, 1),
    ],
)
def test_bad_input_is_2_and_failure_is_1(error, code):
    assert exit_code(error("x")) == code


def test_a_device_that_is_not_there(run, binary_folder, tiny_checkpoint):
    outcome = run("evaluate", binary_folder, "--prompt", "nuclei", "--model", tiny_checkpoint, "--device", "cuda:99")

    assert outcome.code == 2
    assert "cuda:99" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_model_that_is_not_there(run, binary_folder):
    outcome = run("evaluate", binary_folder, "--prompt", "nuclei", "--model", "missing.safetensors")

    assert outcome.code == 2
    assert "missing.safetensors" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_closed_pipe_is_no_traceback(tiny_checkpoint):
    program = [sys.executable, "-m", "napari_amvlm", "models", str(tiny_checkpoint)]

    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()

    assert "Traceback" not in errors
    assert "Exception" not in errors
