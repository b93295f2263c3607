"""`napari-amvlm predict`: label masks for images, slides and stacks from text prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_amvlm.cli.cluster import predict_on_cluster
from napari_amvlm.cli.console import (
    DeviceOption,
    ModelOption,
    TextModelOption,
    ViewsOption,
    complain,
    progress,
    remark,
    say,
    views_of,
)
from napari_amvlm.cli.predict_request import Outcome, Request, output_files, result_token, seg_file, store_folder
from napari_amvlm.cli.predicting import predict_file
from napari_amvlm.errors import AmvlmError, IncompleteError, InputError, OutOfMemoryError, PromptError, sentence
from napari_amvlm.exports.dicom_seg import need_highdicom
from napari_amvlm.exports.label_files import check_prompts, class_table, write_classes
from napari_amvlm.imaging.folder import normal_form
from napari_amvlm.prediction import split_prompts
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.imaging import ImageSource
    from napari_amvlm.models.text_prompted import TextPrompted
    from napari_amvlm.predictor import Predictor


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="PNG, JPEG, TIFF, SVS, DICOM, NIfTI or OME-Zarr files, or folders."),
    ],
    prompt: Annotated[
        list[str],
        typer.Option("--prompt", metavar="TEXT", help="What to find; several are parted by ; or given one by one."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder that the masks are written to.")
    ],
    model: ModelOption = None,
    instances: Annotated[
        bool,
        typer.Option(
            "--instances", "--objects", help="Also write every object of a prompt with its own number; of slides too."
        ),
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the probabilities, float16, one channel per prompt.")
    ] = False,
    dicom_seg: Annotated[
        bool,
        typer.Option("--dicom-seg", help="Of DICOM images: also write a DICOM segmentation that refers to them."),
    ] = False,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.01, max=0.99, help="Least probability of a pixel.")
    ] = 0.5,
    scale: Annotated[
        Literal["auto", "whole", "tiles"], typer.Option("--scale", help="Look at the image as a whole or in tiles.")
    ] = "auto",
    magnification: Annotated[
        float | None,
        typer.Option(
            "--magnification",
            min=0.05,
            max=20.0,
            help="Resize by this before looking in tiles; by default, as the file's pixel size asks for.",
        ),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Say which magnification may fit images without a pixel size; apply nothing."),
    ] = False,
    views: ViewsOption = "1",
    slices: Annotated[
        str | None, typer.Option("--slices", metavar="A[-B]", help="Of stacks: this slice or these alone, from 0.")
    ] = None,
    plane: Annotated[
        Literal["acquired", "axial", "coronal", "sagittal"],
        typer.Option("--plane", help="Of volumes: the plane of the slices; acquired: the two finest axes."),
    ] = "acquired",
    channel: Annotated[
        str | None,
        typer.Option("--channel", metavar="NAME", help='A channel by name or number, from 1, or "composite".'),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="NAME", help="Of files with several images: one, by name or number, from 1."),
    ] = None,
    stack: Annotated[
        bool, typer.Option("--stack", help="Files that differ by a number alone, img_001.tif and so on, are slices.")
    ] = False,
    region: Annotated[
        tuple[int, int, int, int] | None,
        typer.Option("--region", metavar="X Y W H", help="Of slides: this part alone, in pixels."),
    ] = None,
    every_tile: Annotated[
        bool, typer.Option("--every-tile", help="Of slides: look at what seems to be empty glass, too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do again what is done already; results are replaced.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Share the files out to the workers of a dask scheduler."),
    ] = None,
    text_model: TextModelOption = "",
    device: DeviceOption = "auto",
) -> None:
    """Write a label mask for every image: values 1..K in the order of the prompts, named in classes.csv.

    Where prompts overlap, the most probable one gets the pixel. A slide (an image with levels, or a large one) gives a
    zarr folder that goes on where it was stopped; a stack, a mask of every slice; a NIfTI file, a NIfTI file in the
    same space. What is done already is skipped. A file that cannot be used is reported and skipped; of one that is cut
    off between its pages, what is there is done. The exit code is then 1, or 2 if no file could be used.
    """
    from napari_amvlm.imaging import find_sources, passed_over

    request = Request(
        prompts=_prompts(prompt),
        output=output,
        threshold=threshold,
        scale=scale,
        magnification=magnification,
        views=views_of(views),
        instances=instances,
        probabilities=probabilities,
        overwrite=overwrite,
        slices=_slices(slices),
        plane=plane,
        channel=channel,
        image=image,
        region=region,
        every_tile=every_tile,
        text_model=_absolute(text_model),
        dicom_seg=dicom_seg,
        estimate=estimate,
    )
    if dicom_seg:
        need_highdicom()
    sources = _apart_from_results(find_sources(images, stacks=stack), images, output)
    check_outputs(sources, request)
    for folder in (path for path in images if path.is_dir()):
        # a folder without images of its own stands for those below it
        own = any(source.path == folder or source.path.parent in (folder, folder / "img") for source in sources)
        others = [other.name for other in passed_over(folder) if not output.resolve().is_relative_to(other.resolve())]
        if own and others:
            remark(f"{folder}: images in {', '.join(others)} are not looked at; give these folders too.")
    outcomes = _outcomes(sources, request, scheduler=scheduler, model=model, device=device)
    failed = []
    for outcome in outcomes:
        for line in outcome.remarks:
            remark(line)
        if outcome.error is None:
            for line in outcome.lines:
                say(line)
        else:
            message = str(outcome.error)
            complain(message if outcome.path.name in message else f"{outcome.path}: {message}")
            failed.append(outcome)
    if failed:
        remark(f"{len(failed)} of {len(sources)} images failed: {', '.join(str(outcome.path) for outcome in failed)}")
        bad_input = len(failed) == len(sources) and all(
            isinstance(outcome.error, InputError) and not isinstance(outcome.error, IncompleteError)
            for outcome in failed
        )
        raise typer.Exit(2 if bad_input else 1)


def _outcomes(
    sources: Sequence[ImageSource], request: Request, *, scheduler: str | None, model: str | None, device: str
) -> Iterator[Outcome]:
    """Predict all files, here or on a cluster, and yield what became of each."""
    if scheduler is None:
        from napari_amvlm.predictor import Predictor

        predictor = Predictor.from_file(model, device=device, views=request.views, text_model=request.text_model)
        _say_not_taught(predictor.model.config, request.prompts, predictor.text_model)
        write_classes(request.output / "classes.csv", request.prompts)
        yield from _predict_here(predictor, sources, request)
        return
    from napari_amvlm.models.catalog import find_model
    from napari_amvlm.models.model_info import read_info
    from napari_amvlm.models.text_prompted import load_text_model

    file = find_model(model)
    other = load_text_model(request.text_model) if request.text_model else None
    _say_not_taught(read_info(file).config, request.prompts, other)
    write_classes(request.output / "classes.csv", request.prompts)
    with progress("Predicting") as show:
        done = 0
        for outcome in predict_on_cluster(scheduler, sources, request, model=file, device=device):
            done += 1
            show(done / len(sources), outcome.path.name)
            yield outcome


def _say_not_taught(config: ModelConfig, prompts: Sequence[str], other: TextPrompted | None = None) -> None:
    """Say once, before the first image, who answers for words that were not taught, or that nothing is drawn."""
    from napari_amvlm.models.text_prompted import answering
    from napari_amvlm.models.words.taught import taught

    for prompt in prompts:
        if other is not None and answering(config, other, prompt):
            remark(f"{shortened(prompt)} is answered by {other.name} (licence: {other.licence}).")
        elif taught(config, prompt) is None:
            remark(
                f"{shortened(prompt)} is not taught yet, and no mask is drawn for it. Paint two strokes in napari, "
                "or choose a known word; napari-amvlm models lists them."
            )


def _absolute(text_model: str) -> str:
    """Return a source of a text model for any process: folders as whole paths."""
    if not text_model:
        return ""
    from napari_amvlm.models.text_prompted import HUB

    return text_model if text_model.startswith(HUB) else str(Path(text_model).expanduser().resolve())


def _predict_here(predictor: Predictor, sources: Sequence[ImageSource], request: Request) -> Iterator[Outcome]:
    with progress("Predicting") as show:
        for index, source in enumerate(sources):
            show(index / len(sources), source.name)

            def within(share: float, note: str, index: int = index) -> None:
                show((index + share) / len(sources), note)

            try:
                lines = predict_file(predictor, source, request, show=within, remark=remark)
                yield Outcome(source.path, tuple(lines))
            except PromptError:
                raise  # it would be the same with every image
            except (InputError, OutOfMemoryError) as error:
                yield Outcome(source.path, error=error)
            except AmvlmError:
                raise  # for instance a full disk
            except Exception as error:  # noqa: BLE001 - whatever a file leads to, the others are done
                yield Outcome(source.path, error=AmvlmError(f"{source.path}: {sentence(error)}"))


def _apart_from_results(sources: Sequence[ImageSource], given: Sequence[Path], output: Path) -> list[ImageSource]:
    """Return the sources without those that lie in the folder of the results, unless they were given by name.

    Raises
    ------
    InputError
        Results would lie among the images of a folder that was given.
    """
    results = output.resolve()
    kept = [source for source in sources if source.path in given or results not in source.path.resolve().parents]
    if not kept or any(path.is_dir() and results in (path.resolve(), (path / "img").resolve()) for path in given):
        raise InputError(f"Masks in {output} would be taken for images of that folder; give another -o.")
    return kept


def check_outputs(sources: Sequence[ImageSource], request: Request) -> None:
    """Make sure that no result would replace an image or another image's result.

    Raises
    ------
    InputError
        It would; the message names the files.
    """
    if request.output.exists() and not request.output.is_dir():
        raise InputError(f"{request.output} is a file, but a folder is needed; give another -o.")
    if not request.overwrite:
        _check_foreign_files(sources, request)
    inputs = {path.resolve() for source in sources for path in (source.path, *source.files)}
    owners: dict[str, Path] = {}
    for source in sources:
        seg = seg_file(source, request)
        targets = (*reversed(output_files(source, request)), store_folder(source, request), *([seg] if seg else ()))
        for target in targets:
            if target.resolve() in inputs:
                raise InputError(f"{target} is one of the images and would be replaced; give another folder with -o.")
            name = normal_form(target.name)
            if name in owners:
                raise InputError(
                    f"{source.path} and {owners[name]} would both write {target}; predict them into folders of their "
                    "own."
                )
            owners[name] = source.path


def _check_foreign_files(sources: Sequence[ImageSource], request: Request) -> None:
    """Make sure that what would be replaced was made by this command, for the same prompts."""
    for source in sources:
        labels = output_files(source, request)[-1]
        if labels.is_file() and result_token(labels) is None:
            raise InputError(f"{labels} was not made by predict; give another -o, or --overwrite to replace it.")
    classes = request.output / "classes.csv"
    if classes.is_file() and classes.read_bytes() != class_table(request.prompts).encode():
        raise InputError(f"{classes} names other prompts; give another -o, or --overwrite to replace it.")


def _prompts(given: Sequence[str]) -> tuple[str, ...]:
    """Return the prompts, checked."""
    parts = [split_prompts(text) for text in given]
    if not all(parts):
        raise PromptError('A prompt is empty; name what is to be found, for instance --prompt "nuclei".')
    return check_prompts([prompt for part in parts for prompt in part])


def _slices(given: str | None) -> tuple[int, int] | None:
    """Return the first and the last slice of "A-B" or "A"."""
    if given is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", given)
    if match is None:
        raise InputError(f'Expected --slices to be one slice or a range, for instance "7" or "3-9", but got {given!r}.')
    return int(match[1]), int(match[2] or match[1])
