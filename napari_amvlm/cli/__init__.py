"""The command line `napari-amvlm`; scripts depend on its options, its JSON keys and its exit codes.

Exit codes: 0 done, 1 failed, 2 bad arguments or bad input. An error is one line on stderr that names the thing and
what to do. Torch and Qt are imported by the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_amvlm import __version__
from napari_amvlm.cli import demo, evaluate, export, fine_tune, import_, measure, models, predict, report
from napari_amvlm.cli.console import complain, say
from napari_amvlm.errors import AmvlmError, InputError, ProjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DONE, FAILED, BAD_INPUT = 0, 1, 2

app = typer.Typer(
    name="napari-amvlm",
    help="Segment images by text prompt, score models, and teach them from corrections.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # whose tables leave the help texts a third of a terminal of 80 columns
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"napari-amvlm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


_COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "demo": (demo.demo, "Try the whole loop on sample images, in the real window."),
    "predict": (predict.predict, "Write what the prompts find in images: a label mask for each."),
    "evaluate": (evaluate.evaluate, "Score a model: Dice and IoU per image, then their mean."),
    "fine-tune": (fine_tune.fine_tune, "Fine-tune a model on labelled and unlabelled images."),
    "export": (export.export, "Write the accepted masks of a project."),
    "import": (import_.import_, "Enter the masks of other programs as corrections."),
    "measure": (measure.measure, "Measure objects: area, position, axes and intensity."),
    "report": (report.report, "Write a project as one web page."),
    "models": (models.models, "List the models: name, licence, prompts, size and SHA-256."),
}
for _name, (_command, _summary) in _COMMANDS.items():  # a summary fits into a line of 80 columns
    app.command(_name, short_help=_summary)(_command)

# The one base of everything that typer raises for a wrong argument; its place differs from release to release.
_USAGE_ERROR: Any = [kind for kind in typer.BadParameter.__mro__ if hasattr(kind, "format_message")][-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` are those of the process if not given."""
    command = typer.main.get_command(app)
    try:
        code = command.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except _USAGE_ERROR as error:
        # Where no argument was given the message is the help itself.
        if type(error).__name__ == "NoArgsIsHelpError":
            say(error.format_message())
        else:
            message = error.format_message().replace("Value error, ", "")  # the words of a library that typer uses
            complain(f"{message.rstrip('.')}; see --help.")
        return int(error.exit_code)
    except AmvlmError as error:
        complain(str(error))
        return exit_code(error)
    except BrokenPipeError:
        # The reader of the output has gone (`| head`); keep Python from failing again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        complain(_describe(error))
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        complain("Interrupted; nothing more was written.")
        return FAILED
    return int(code or DONE)


def exit_code(error: AmvlmError) -> int:
    """Return 2 for something wrong with what was given, else 1."""
    if isinstance(error, InputError) or type(error) is ProjectError:
        return BAD_INPUT
    return FAILED


def _describe(error: OSError) -> str:
    """Return one sentence for an error of the operating system."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}." if error.filename else f"{reason}."
