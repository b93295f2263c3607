"""`napari-amvlm fine-tune`: a better model from labelled and unlabelled images, or from a project's corrections."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_amvlm.cli.console import DeviceOption, ModelOption, TextModelOption, progress, remark, say
from napari_amvlm.cli.replay import check_parent, find_replay, parent_file
from napari_amvlm.errors import Cancelled, InputError, ModelFileError, ProjectError
from napari_amvlm.generators import drain
from napari_amvlm.wording import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from napari_amvlm.cli.replay import Replay
    from napari_amvlm.config import LearningConfig
    from napari_amvlm.learning.data import LearningData
    from napari_amvlm.learning.reports import FineTuneResult, Report
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project

MINUTES = 5.0


@dataclass(frozen=True)
class Source:
    """Where the learning data come from: a project, or folders."""

    project: Path | None
    labelled: Path | None
    unlabelled: Path | None
    prompts: tuple[str, ...]
    run: int | None = None


def fine_tune(
    project: Annotated[Path | None, typer.Argument(metavar="[PROJECT]", help="A project folder NAME.amvlm.")] = None,
    labelled: Annotated[
        Path | None, typer.Option("--labelled", metavar="DIR", help="LViT layout: img/ and labelcol/.")
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option("--unlabelled", metavar="DIR", help="More images; masks in it are not looked at.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", metavar="TEXT", help="What the masks show; with classes.csv: all its prompts."),
    ] = None,
    model: ModelOption = None,
    minutes: Annotated[float | None, typer.Option("--minutes", metavar="N", help="Learning time. [default: 5]")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Number of steps, instead of a time.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Of every random choice.")] = 0,
    run: Annotated[
        int | None,
        typer.Option("--run", metavar="N", min=0, help="Do run N of the project again; 0: the last that gave a model."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="MODEL.safetensors", help="The new model. [required]")
    ] = None,
    text_model: TextModelOption = "",
    device: DeviceOption = "auto",
) -> None:
    """Fine-tune a model and print one JSON object about the run.

    The first Ctrl+C ends the run early and keeps what was learnt; a second one ends the program at once.
    """
    source = check_source(Source(project, labelled, unlabelled, tuple(prompt or ()), run))
    if run is not None and (minutes is not None or steps is not None or seed or text_model):
        raise InputError("With --run the ledger sets all of it; leave --minutes, --steps, --seed and --text-model out.")
    config = learning_config(minutes, steps, seed).model_copy(update={"text_model": text_model})
    target = check_output(output)
    with _opened(source.project) as opened:
        replay = None if opened is None or run is None else find_replay(opened, run)
        predictor, data = _prepare(source, opened, model, device, replay)
        config = config if replay is None else replay.config
        result = _run(predictor, data, config, last_step=None if replay is None else replay.steps)
    if not result.steps:
        raise Cancelled("Stopped before the first step, so nothing was learnt and no model was written.")
    say(json.dumps(_write(result, target, predictor, data, config)))


def check_source(source: Source) -> Source:
    """Return `source` if it names a project or a labelled folder, and not both.

    Raises
    ------
    InputError
        It names none, both, or something that is not there.
    """
    if (source.project is None) == (source.labelled is None):
        raise InputError("Give either a PROJECT folder or --labelled DIR to learn from.")
    if source.run is not None and source.project is None:
        raise InputError("--run goes with a PROJECT, whose ledger has the run; give one, or leave --run out.")
    if source.project is not None:
        if source.unlabelled is not None or source.prompts:
            raise InputError(
                "A project brings its own unlabelled images and prompts; leave --unlabelled and --prompt out."
            )
        if not source.project.is_dir():
            raise InputError(f"There is no project folder {source.project}; check the path.")
    return source


def check_output(output: Path | None) -> Path:
    """Return the path of the new model, after finding out that it can be written.

    A model of an earlier run that is there will be replaced, which is said.

    Raises
    ------
    InputError
        It is missing, of another type, in a folder that cannot be written, or another file that is there.
    """
    if output is None:
        raise InputError("Say where the new model goes, for instance -o better.safetensors.")
    if output.suffix != ".safetensors":
        raise InputError(f"{output} must end in .safetensors; choose another -o.")
    if output.is_dir():
        raise InputError(f"{output} is a folder, but a file is needed; choose another -o.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output.parent} cannot be made ({error.strerror}); choose another -o.") from error
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"{output.parent} cannot be written to; choose another -o.")
    if output.exists() and output.stat().st_size:  # an empty file only keeps a name, as those of mktemp do
        _check_earlier(output)
    return output


def _check_earlier(output: Path) -> None:
    """Say that a model of an earlier run will be replaced; raise `InputError` where the file is something else."""
    from napari_amvlm.models.model_info import read_info

    try:
        learnt = read_info(output).parent is not None
    except ModelFileError:
        learnt = False
    if not learnt:
        raise InputError(f"{output} was not made by fine-tune; give another -o, or move it away.")
    remark(f"{output} is the model of an earlier run; the new one will replace it.")


def learning_config(minutes: float | None, steps: int | None, seed: int) -> LearningConfig:
    """Return the configuration of the run.

    Raises
    ------
    InputError
        Both budgets were given, or a number is out of range.
    """
    from pydantic import ValidationError

    from napari_amvlm.config import LearningConfig

    if minutes is not None and steps is not None:
        raise InputError("Give either --minutes or --steps, not both.")
    if minutes is None and steps is None:
        minutes = MINUTES
    try:
        return LearningConfig(minutes=minutes, steps=steps, seed=seed)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{first['loc'][0]}" if first["loc"] else "The options"
        raise InputError(f"{option} cannot be {first['input']!r}: {first['msg'].lower()}.") from error


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[Project | None]:
    """Open the project for reading, if there is one."""
    if path is None:
        yield None
        return
    from napari_amvlm.project import Project

    with Project.open(path, read_only=True) as project:
        yield project


def _prepare(
    source: Source, project: Project | None, model: str | None, device: str, replay: Replay | None
) -> tuple[Predictor, LearningData]:
    """Return the model to start from and what it is to learn."""
    if project is not None:
        return _from_project(project, model, device, replay)
    # What is wrong with the folder is said before torch is loaded.
    from napari_amvlm.imaging import read_folder

    if source.labelled is None:
        raise InputError("Give either a PROJECT folder or --labelled DIR to learn from.")
    folder = read_folder(source.labelled)
    from napari_amvlm.cli.labelled_folder import folder_data, folder_prompts
    from napari_amvlm.predictor import Predictor

    prompts = folder_prompts(folder, source.prompts)
    predictor = Predictor.from_file(model, device=device)
    return predictor, folder_data(predictor, folder, prompts, source.unlabelled, on_message=remark)


def _from_project(
    project: Project, model: str | None, device: str, replay: Replay | None
) -> tuple[Predictor, LearningData]:
    from napari_amvlm.models.catalog import installed_model
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.session import learning_data

    served = project.models.served()
    serving = served or installed_model(project.models.installed())
    start = (serving.path if serving else None) if replay is None else parent_file(project, replay.run)
    predictor = Predictor.from_file(model or start, device=device)
    info = predictor.info
    if served is not None and model is None and replay is None and info is not None and info.sha256 != served.sha256:
        raise ProjectError(
            f"The file {served.path} is not the model {served.name} that serves in the project any more; restore it "
            "from a backup, or name the model to start from with --model."
        )
    if replay is not None:
        check_parent(predictor, replay.run)
        if not replay.exact:
            remark(f"Run {replay.run.id} had a budget of time: its {replay.steps} steps give a close model only.")
    data = learning_data(
        project,
        predictor_scales=lambda prompt, shape, gray: predictor.scale_for(prompt, shape, gray=gray).name,
        on_problem=lambda problem: remark(f"Left out: {problem}"),
        run=None if replay is None else replay.run,
    )
    data.check()
    return predictor, data


def _run(
    predictor: Predictor, data: LearningData, config: LearningConfig, *, last_step: int | None = None
) -> FineTuneResult:
    """Learn, with a progress bar and Ctrl+C, and return the result; `last_step` ends it as a person did then."""
    from napari_amvlm.learning import fine_tune
    from napari_amvlm.learning.reports import StepReport
    from napari_amvlm.models.text_prompted import load_text_model

    remark(
        f"Learning {', '.join(map(shortened, data.prompts))} from {counted(len(data.labelled), 'labelled image')} "
        f"and {counted(len(data.unlabelled), 'unlabelled image')}."
    )
    other = load_text_model(config.text_model, device=predictor.device) if config.text_model else None
    if other is not None:
        remark(f"{other.name} (licence: {other.licence}) labels what the model was not taught.")
    with stop_on_interrupt() as stopped, progress("Learning") as show:
        taken = 0

        def should_stop() -> bool:
            return stopped() or (last_step is not None and config.steps != last_step and taken >= last_step)

        def on_report(report: Report) -> None:
            nonlocal taken
            if isinstance(report, StepReport):
                taken = report.step
                show(report.fraction, f"step {report.step}, loss {report.loss:.3f}, {report.seconds_left:.0f} s left")

        run = fine_tune(
            predictor.model,
            data,
            config,
            device=predictor.device,
            should_stop=should_stop,
            on_message=remark,
            text_model=other,
        )
        return drain(run, on_report)


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether Ctrl+C was pressed; a second press interrupts as usual."""
    pressed = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        remark("Stopping after this step; press Ctrl+C again to end at once.")

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _write(
    result: FineTuneResult, output: Path, predictor: Predictor, data: LearningData, config: LearningConfig
) -> dict[str, Any]:
    """Write the new model and return what the command prints."""
    from napari_amvlm.models.checkpoint import save_model
    from napari_amvlm.session import judge

    judgement = judge(result.pairs(data.prompts))
    if result.unchanged:
        remark("Nothing better was found; the model is unchanged.")
    else:
        remark(f"The new model is {judgement}.")
    parent = predictor.info
    added = f"fine-tuned on {len(data.labelled)} labelled and {len(data.unlabelled)} unlabelled images of the user"
    info = save_model(
        result.model,
        output,
        name=output.stem,
        licence=parent.licence if parent else "unknown",
        training_data=f"{parent.training_data}; {added}" if parent else added,
        parent=parent.sha256 if parent else None,
        parent_title=parent.title if parent else "",
        scores={} if result.after is None else {"held-out Dice": result.after},
    )
    return {
        "model": str(info.path),
        "sha256": info.sha256,
        "parent": info.parent,
        "prompts": list(data.prompts),
        "labelled": len(data.labelled),
        "unlabelled": len(data.unlabelled),
        "held_out": len(data.validation),
        "dice_before": result.before,
        "dice_after": result.after,
        "verdict": "nothing better" if result.unchanged else judgement.verdict.value,
        "judged": [asdict(each) for each in judgement.prompts],
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "seed": config.seed,
        "device": str(predictor.device),
        "stopped": result.stopped,
    }
