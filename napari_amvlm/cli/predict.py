"""`napari-amvlm predict`: label masks for images from text prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from napari_amvlm.cli.console import DeviceOption, MagnificationOption, ModelOption, complain, progress, remark, say
from napari_amvlm.errors import InputError, PromptError
from napari_amvlm.exports.label_files import check_prompts, file_slug, write_classes, write_tiff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.predictor import Prediction, Predictor

PRESENT = 0.5


@dataclass(frozen=True)
class Request:
    """What is wanted of every image."""

    prompts: tuple[str, ...]
    output: Path
    threshold: float
    scale: Literal["auto"] | ScaleName
    magnification: float
    instances: bool
    probabilities: bool


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="PNG, JPEG, TIFF, DICOM, NIfTI or OME-Zarr planes, or folders."),
    ],
    prompt: Annotated[
        list[str], typer.Option("--prompt", metavar="TEXT", help="What to find; may be given many times.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder that the masks are written to.")
    ],
    model: ModelOption = None,
    instances: Annotated[
        bool,
        typer.Option("--instances", help="Also write one file per prompt in which every object has its own number."),
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the probabilities, float16, one channel per prompt.")
    ] = False,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.01, max=0.99, help="Least probability of a pixel.")
    ] = 0.5,
    scale: Annotated[
        Literal["auto", "whole", "tiles"], typer.Option("--scale", help="Look at the image as a whole or in tiles.")
    ] = "auto",
    magnification: MagnificationOption = 1.0,
    device: DeviceOption = "auto",
) -> None:
    """Write a label mask for every image: values 1..K in the order of the prompts, named in classes.csv.

    Where prompts overlap, the most probable one gets the pixel. A file that cannot be used is reported and skipped; the
    exit code is then 1, or 2 if it was so with all of them.
    """
    request = Request(_prompts(prompt), output, threshold, scale, magnification, instances, probabilities)
    paths = image_paths(images)
    check_outputs(paths, request)
    from napari_amvlm.predictor import Predictor

    predictor = Predictor.from_file(model, device=device)
    write_classes(output / "classes.csv", request.prompts)
    failures: dict[Path, InputError] = {}
    with progress("Predicting") as show:
        for index, path in enumerate(paths):
            show(index / len(paths), path.name)
            try:
                say(predict_file(predictor, path, request))
            except PromptError:
                raise  # it would be the same with every image
            except InputError as error:
                complain(str(error))
                failures[path] = error
    if failures:
        remark(f"{len(failures)} of {len(paths)} images failed: {', '.join(str(path) for path in failures)}")
        raise typer.Exit(2 if len(failures) == len(paths) else 1)


def predict_file(predictor: Predictor, path: Path, request: Request) -> str:
    """Write the files of one image and return the line that tells about it."""
    from napari_amvlm.imaging import count_nonfinite, read_image

    image = read_image(path).data
    predictor.set_image(image, key=str(path.resolve()))
    if unusable := count_nonfinite(image):
        remark(f"{path}: {unusable} values are not finite numbers; they count as the lowest value that is one.")
    found = [
        predictor.predict(prompt, scale=request.scale, magnification=request.magnification)
        for prompt in request.prompts
    ]
    probabilities = [prediction.probability for prediction in found]
    target, *others = output_files(path, request)
    write_tiff(target, label_image(probabilities, request.threshold), axes="YX")
    if request.probabilities:
        write_tiff(others.pop(0), np.stack(probabilities).astype(np.float16), axes="CYX")
    for probability, file in zip(probabilities, others, strict=False):
        write_tiff(file, _instances(probability, request.threshold), axes="YX")
    return f"{path}: {', '.join(_presence(prediction) for prediction in found)} -> {target}"


def label_image(probabilities: Sequence[NDArray[np.float32]], threshold: float) -> NDArray[Any]:
    """Return values 1..K, `(H, W)`, where a probability reaches `threshold`; the greatest wins, 0 is background.

    Examples
    --------
    >>> label_image([np.float32([[0.6, 0.1]]), np.float32([[0.9, 0.2]])], 0.5)
    array([[2, 0]], dtype=uint8)
    """
    stack = np.stack(list(probabilities))
    labels = np.where(stack.max(axis=0) >= threshold, stack.argmax(axis=0) + 1, 0)
    return np.asarray(labels.astype(np.min_scalar_type(len(stack))))


def image_paths(given: Sequence[Path]) -> list[Path]:
    """Return the files given, each once, with every folder replaced by the images in it.

    Raises
    ------
    DatasetError
        A folder holds no image.
    """
    from napari_amvlm.imaging import is_zarr, read_folder

    found: list[Path] = []
    for path in given:
        if path.is_dir() and not is_zarr(path):
            found.extend(pair.image for pair in read_folder(path, masks="none").pairs)
        else:
            found.append(path)
    return list({path.resolve(): path for path in found}.values())


def check_outputs(images: Sequence[Path], request: Request) -> None:
    """Make sure that no result would replace an image or another image's result.

    Raises
    ------
    InputError
        It would; the message names the files.
    """
    if request.output.exists() and not request.output.is_dir():
        raise InputError(f"{request.output} is a file, but a folder is needed; give another -o.")
    inputs = {image.resolve() for image in images}
    owners: dict[Path, Path] = {}
    for image in images:
        for target in output_files(image, request):
            if target.resolve() in inputs:
                raise InputError(f"{target} is one of the images and would be replaced; give another folder with -o.")
            if target in owners:
                raise InputError(
                    f"{image} and {owners[target]} would both write {target}; predict them into folders of their own."
                )
            owners[target] = image


def output_files(image: Path, request: Request) -> list[Path]:
    """Return the label file of an image, then its probabilities and its instances where they are wanted."""
    from napari_amvlm.imaging import image_name

    stem = image_name(image)
    names = [f"{stem}.tif"]
    if request.probabilities:
        names.append(f"{stem}_probability.tif")
    if request.instances:
        names.extend(f"{stem}_{file_slug(prompt)}_instances.tif" for prompt in request.prompts)
    return [request.output / name for name in names]


def _prompts(given: Sequence[str]) -> tuple[str, ...]:
    """Return the prompts, checked."""
    if any(not prompt.strip() for prompt in given):
        raise PromptError('A prompt is empty; name what is to be found, for instance --prompt "nuclei".')
    return check_prompts(given)


def _presence(prediction: Prediction) -> str:
    """Return for instance "nuclei present 0.97"."""
    word = "present" if prediction.presence >= PRESENT else "absent"
    return f"{prediction.prompt} {word} {prediction.presence:.2f}"


def _instances(probability: NDArray[np.float32], threshold: float) -> NDArray[Any]:
    """Return numbered objects, `(H, W)`, uint16, or uint32 where there are too many of them."""
    from napari_amvlm.imaging import split_instances

    objects = split_instances(probability, threshold)
    return objects.astype(np.uint16 if objects.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32)
