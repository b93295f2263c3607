"""Where masks to be measured come from: a project, or a folder of label images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import DatasetError, ImageError, InputError, ProjectError
from napari_amvlm.exports import LEFT_OUT, annotated_images
from napari_amvlm.imaging import image_name, open_images, open_labels, plane_of
from napari_amvlm.imaging.folder import normal_form, prompt_folders, read_classes
from napari_amvlm.imaging.formats.kinds import has_image_ending, image_kind
from napari_amvlm.imaging.formats.lazy import reading
from napari_amvlm.imaging.formats.nifti_files import read_nifti_header, voxel_turn
from napari_amvlm.imaging.sources import is_called_nifti
from napari_amvlm.imaging.whole_masks import is_whole_of
from napari_amvlm.measure.objects import MaskedImage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.exports import AnnotatedImage
    from napari_amvlm.imaging import ImageData, Plane
    from napari_amvlm.project import Project

_SUFFIXES = (".tif", ".tiff", ".png", ".nii", ".nii.gz")
_INSTANCES = "_instances"


def masks_in_project(project: Project, left_out: list[str]) -> Iterator[MaskedImage]:
    """Yield the accepted masks of a project, image by image.

    Parameters
    ----------
    left_out
        Receives a sentence for each image whose masks cannot be read.  An image whose file is gone or was changed is
        measured without intensities, with a sentence too.
    """
    for annotated in annotated_images(project, left_out):
        yield masked_image(project, annotated, left_out)


def masked_image(project: Project, annotated: AnnotatedImage, left_out: list[str]) -> MaskedImage:
    """Return the masks of an image with its file, where that is there as it was added; else say so in `left_out`."""
    try:
        image = _opened(project.images.locate(annotated.record))
    except (ImageError, ProjectError, OSError) as error:
        left_out.append(f"{annotated.stem}: measured without intensities and pixel size: {error}")
        image = None
    return MaskedImage(annotated.stem, annotated.objects, image)


def masks_in_folder(masks: Path, images: Path | None, notes: list[str] | None = None) -> Iterator[MaskedImage]:
    """Yield the label images of a file or folder, with their images where `images` has them.

    Understood are what `predict` writes (`NAME.tif` and `NAME_PROMPT_instances.tif` with `classes.csv`), what `export`
    writes (`labelcol/`, `masks/PROMPT/`, `objects/PROMPT/`, `classes.csv`), and plain label images: with `classes.csv`
    each value is a class, else each value is an object, and an image of one value is cut into its connected pieces.
    Where `masks/` has an image for some prompts, the others were not answered on it.

    Parameters
    ----------
    notes
        Receives a sentence for each label image that cannot be used, or has no image in `images`; without it, the
        first one that cannot be used is raised.

    Raises
    ------
    InputError
        A folder is not there.
    DatasetError
        It holds no label image.
    """
    for path in (masks, *([images] if images else ())):
        if not path.exists():
            raise InputError(f"There is no file or folder {path}; check the path.")
    root = masks if masks.is_dir() else masks.parent
    candidates = _images_by_stem(images) if images else {}
    prompts = dict(read_classes(root / "classes.csv"))
    folder = root / "labelcol" if (root / "labelcol").is_dir() else root
    files = _label_files(folder) if masks.is_dir() else [masks]
    stems = {image_name(file) for file in files}
    labels = [file for file in files if not _is_beside_labels(image_name(file), stems)]
    if not labels:
        raise DatasetError(f"{folder} holds no label image; expected files ending in {', '.join(_SUFFIXES)}.")
    _check_once(labels)
    failures: list[InputError] = []
    for file in labels:
        try:
            masked = _masked(file, root, folder, prompts)
            image = _image_of(file, candidates.get(normal_form(masked.name), []))
            opened = _opened_with(file, image) if image else None
        except InputError as error:
            if notes is None:
                raise
            failures.append(error)
            notes.append(f"{LEFT_OUT} {file.name}: {error}")
            continue
        if images and opened is None and notes is not None:
            notes.append(
                f"{file.name}: measured without intensities and pixel size: no image in {images} is called so."
            )
        yield replace(masked, image=opened)
    if len(failures) == len(labels):
        raise failures[0]


def _is_beside_labels(stem: str, stems: set[str]) -> bool:
    """Tell whether a file holds the numbers or probabilities that belong to the label image of another stem."""
    belongs = stem.endswith((_INSTANCES, "_probability"))
    return belongs and any(stem.startswith(f"{other}_") for other in stems - {stem})


def _masked(file: Path, root: Path, folder: Path, prompts: dict[int, str]) -> MaskedImage:
    """Return the objects of one label image in `folder`, with what lies beside it and in folders of `root`."""
    stem, array, folders = image_name(file), _labels(file), prompt_folders(list(prompts.values()))
    unknown = sorted(set(np.unique(array).tolist()) - {0, *prompts})
    if prompts and unknown:
        raise DatasetError(f"{file} holds the value {unknown[0]}, which classes.csv does not name; add it there.")
    objects = _by_class(array, prompts)
    answered = {prompt: _first_file(root / "masks" / folders[prompt] / stem) for prompt in prompts.values()}
    for value, prompt in prompts.items():
        whole = answered[prompt]
        if whole is not None:
            objects[prompt] = _whole(_labels(whole) > 0, array, value, objects[prompt])
        numbered = _first_file(
            folder / f"{stem}_{folders[prompt]}{_INSTANCES}", root / "objects" / folders[prompt] / stem
        )
        if numbered is not None:
            objects[prompt] = _labels(numbered)
    if any(answered.values()):
        objects = {prompt: numbers for prompt, numbers in objects.items() if answered[prompt] or numbers.any()}
    return MaskedImage(stem, objects)


def _by_class(labels: NDArray[np.integer], prompts: dict[int, str]) -> dict[str, NDArray[np.integer]]:
    from skimage.measure import label

    if prompts:
        return {prompt: label(labels == value, connectivity=1) for value, prompt in prompts.items()}
    one_value = labels.max(initial=0) == np.min(labels[labels > 0], initial=labels.max(initial=0))
    return {"object": label(labels > 0, connectivity=1) if one_value else labels}


def _whole(
    mask: NDArray[np.bool_], labels: NDArray[np.integer], value: int, visible: NDArray[np.integer]
) -> NDArray[np.integer]:
    """Return the pieces of a whole mask, or `visible` where the label image shows another one."""
    from skimage.measure import label

    return np.asarray(label(mask, connectivity=1)) if is_whole_of(mask, labels, value) else visible


def _first_file(*stems: Path) -> Path | None:
    """Return the first label image of these names without suffix, None where there is none."""
    files = (stem.with_name(stem.name + suffix) for suffix in _SUFFIXES for stem in stems)
    return next((file for file in files if file.is_file()), None)


def _labels(path: Path) -> NDArray[np.integer]:
    labels = open_labels(path)
    if any(axis in labels.axes for axis in "CT"):
        raise ImageError(
            f"{path}: expected a label image of a plane or a volume, but it has channels or times, {labels.size}; save "
            "each as a file of its own."
        )
    data = np.asarray(labels.data)
    if data.ndim not in (2, 3) or data.dtype.kind not in "biu":
        raise ImageError(
            f"{path}: expected a label image of whole numbers on two or three axes, but got {data.dtype} of the size "
            f"{'x'.join(map(str, data.shape))}; give the masks, not the images."
        )
    if data.dtype.kind == "i" and data.min(initial=0) < 0:
        raise ImageError(f"{path} has values below 0: number objects and classes from 1 on.")
    return data.astype(np.uint8) if data.dtype.kind == "b" else data


def _opened_with(labels: Path, path: Path) -> ImageData:
    """Return an image with its slices in the plane of its labels.

    Raises
    ------
    DatasetError
        The labels are NIfTI as the image is, and have other voxels.
    """
    if not image_kind(labels) == image_kind(path) == "nifti":
        return _opened(path)
    with reading(labels):
        same = voxel_turn(read_nifti_header(labels), read_nifti_header(path)) is not None
    if not same:
        raise DatasetError(
            f"{labels} has other voxels than its image {path}, by its size or affine: resample it to the image, or "
            "leave the image out."
        )
    return _opened(path, plane_of(open_labels(labels).orientation) or "acquired")


def _opened(path: Path, plane: Plane = "acquired") -> ImageData:
    opened = open_images(path, plane)
    if len(opened) > 1:
        raise ImageError(f"{path}: expected one image, but it holds {len(opened)}; save the one that is meant alone.")
    return opened[0]


def _label_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(_SUFFIXES)
    )


def _check_once(labels: list[Path]) -> None:
    """Raise `DatasetError` where two label images are of one image: its objects would count twice."""
    files: dict[tuple[str, bool], Path] = {}
    for file in labels:
        other = files.setdefault((normal_form(image_name(file)), is_called_nifti(file)), file)
        if other != file:
            raise DatasetError(f"{other} and {file.name} are both label images of {image_name(file)}; remove one.")


def _images_by_stem(images: Path) -> dict[str, list[Path]]:
    """Return the images of each name; other files, as tables beside them, do not count.

    Results of images that differ by their ending alone are called by it too: `a_png`.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(images.iterdir()) if images.is_dir() else [images]:
        if not path.name.startswith(".") and (path == images or has_image_ending(path) or image_kind(path)):
            found.setdefault(normal_form(image_name(path)), []).append(path)
    alike = [path for paths in found.values() if len(paths) > 1 for path in paths]
    return {normal_form(path.name.replace(".", "_")): [path] for path in alike} | found


def _image_of(labels: Path, images: list[Path]) -> Path | None:
    """Return the image of a label image out of those of its name; None where there is none.

    Raises
    ------
    DatasetError
        Several fit.
    """
    # Of a scan and a picture of one name, `predict` writes a NIfTI file and a TIFF file.
    fit = [path for path in images if is_called_nifti(path) == is_called_nifti(labels)] if len(images) > 1 else images
    if len(images) > 1 and len(fit) != 1:
        listed = ", ".join(path.name for path in images)
        raise DatasetError(f"{labels}: {listed} could each be its image; leave one of them in {images[0].parent}.")
    return fit[0] if fit else None
