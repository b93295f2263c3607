"""NIfTI label volumes as answers for the slices of a scan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import DatasetError, InputError, LabelsError
from napari_amvlm.imaging import ImageSource, from_file_axes, image_kind, image_name, open_images, to_file_axes
from napari_amvlm.imaging.folder import normal_form, prompt_folders, read_classes
from napari_amvlm.imaging.formats.lazy import reading
from napari_amvlm.imaging.formats.nifti_files import read_nifti_header, voxel_turn
from napari_amvlm.imports.label_images import beside
from napari_amvlm.imports.scan_masks import ScanMasks, Scans, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData


def is_called_nifti(path: Path) -> bool:
    """Tell whether a file has the name of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz")) and not path.name.startswith(".")


def read_nifti_labels(path: Path, prompt: str | None, scans: Scans) -> ScanMasks:
    """Return what a label volume holds, on the slices of its scan.

    Its values are classes where a `classes.csv` lies beside it or one folder higher, and the numbers of objects of
    `prompt` where that is given; `masks/`, `objects/` and `reviewed/` beside its folder are read too. The scan is the
    one of the same name, else the only one with the same voxels.

    Raises
    ------
    InputError
        It is not clear what the values mean, there is no such scan, or it lies elsewhere in space.
    """
    classes = classes_of(path, prompt)
    return labels_on(path, prompt, classes, _scan_of(path, scans), _labels)


def classes_of(path: Path, prompt: str | None) -> dict[int, str]:
    """Return what the values of a label volume mean; empty where `prompt` says what all of them show.

    Raises
    ------
    InputError
        Nothing says it.
    """
    if prompt:
        return {}
    classes = read_classes(path.parent / "classes.csv") or read_classes(path.parent.parent / "classes.csv")
    if not classes:
        raise InputError(f"{path} has no classes.csv that says what its values mean: add one, or give --prompt.")
    return dict(classes)


def labels_on(
    path: Path,
    prompt: str | None,
    classes: Mapping[int, str],
    image: ImageData,
    read: Callable[[Path, ImageData], NDArray[np.integer]],
) -> ScanMasks:
    """Return what a label volume, and those beside its folder, hold on the scan `image`; `read` gives their values."""
    labels = read(path, image)
    reviewed = beside(path, "reviewed")
    seen = None if reviewed is None else read(reviewed, image)
    if prompt:
        numbered = len(np.unique(labels[labels > 0])) > 1
        return ScanMasks(image, {prompt: labels}, {prompt: labels} if numbered else {}, seen)
    return replace(_by_class(path, labels, classes, image, read), reviewed=seen)


def _by_class(
    path: Path,
    labels: NDArray[np.integer],
    classes: Mapping[int, str],
    image: ImageData,
    read: Callable[[Path, ImageData], NDArray[np.integer]],
) -> ScanMasks:
    unknown = sorted(set(np.unique(labels).tolist()) - {0, *classes})
    if unknown:
        raise LabelsError(f"{path} has the values {unknown}, which classes.csv does not know: add them there.")
    folders = prompt_folders(list(classes.values()))
    masks: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    for value, prompt in classes.items():
        masks[prompt] = labels == value
        whole = beside(path, "masks", folders[prompt])
        if whole is not None:
            mask = read(whole, image) > 0
            # Label images that were changed since they were exported count more than the masks beside them.
            if mask[labels == value].all() and labels[mask].all():
                masks[prompt] = mask
        numbered = beside(path, "objects", folders[prompt])
        if numbered is not None:
            numbers = read(numbered, image)
            if np.array_equal(numbers > 0, masks[prompt]):
                objects[prompt] = numbers
    return ScanMasks(image, masks, objects)


def _scan_of(path: Path, scans: Scans) -> ImageData:
    header = _checked_header(path)
    name = normal_form(image_name(path))

    def is_scan(source: ImageSource) -> bool:
        if source.files or source.path.resolve() == path.resolve() or image_kind(source.path) != "nifti":
            return False
        return _called(source) == name or _fits(header, source.path)

    found = list(scans.images(is_scan))
    alike = [image for source, image in found if _called(source) == name] or [image for _, image in found]
    fitting = [one for one in alike if len(alike) == 1 or (one.path is not None and _fits(header, one.path))]
    if len(fitting) != 1:
        count = "no scan is" if not fitting else f"{len(fitting)} scans are"
        raise DatasetError(
            f"{path}: {count} called {name} or have its voxels: say with --images in which folder its scan lies, or "
            "call both alike."
        )
    scan_path = fitting[0].path
    if scan_path is not None and not _fits(header, scan_path):
        raise LabelsError(
            f"{path} has other voxels than its scan {scan_path}, by its size or affine: resample it to the scan."
        )
    return fitting[0]


def _called(source: ImageSource) -> str:
    return normal_form(image_name(source.path))


def _checked_header(path: Path) -> Any:
    with reading(path):
        header = read_nifti_header(path)
        affine = header.get_best_affine()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
        raise LabelsError(
            f"{path} has an affine that is zero or gives no volume, so nobody knows where its voxels lie: repair its "
            "header."
        )
    return header


def _fits(header: Any, scan: Path) -> bool:
    """Tell whether labels have the voxels of a scan, be it in another order of its axes."""
    with reading(scan):
        return voxel_turn(header, read_nifti_header(scan)) is not None


def _labels(path: Path, image: ImageData) -> NDArray[np.integer]:
    """Return the voxels of a label volume with the axes of its scan."""
    from nibabel.orientations import apply_orientation

    (stored,) = open_images(path)
    if stored.rgb:
        raise LabelsError(f"{path}: expected labels, but it has colours: save it as whole numbers.")
    with reading(path):
        turn = None if image.path is None else voxel_turn(read_nifti_header(path), read_nifti_header(image.path))
    if turn is None:
        raise LabelsError(f"{path} has other voxels than its scan {image.path}: resample it to the scan.")
    in_file = to_file_axes(np.asarray(stored.data), stored)
    return whole_numbers(from_file_axes(apply_orientation(in_file.T, turn).T, image), path)
