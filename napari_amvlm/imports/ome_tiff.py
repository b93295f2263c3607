"""OME-TIFF labels, as the export writes them over slides and stacks, as answers for the images in their scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.exports.placing import mask_shape
from napari_amvlm.files import sha256_of_file
from napari_amvlm.imaging import image_name, open_labels
from napari_amvlm.imaging.folder import normal_form
from napari_amvlm.imaging.image_data import ImageData
from napari_amvlm.imports.label_images import image_table
from napari_amvlm.imports.nifti import classes_of, labels_on
from napari_amvlm.imports.scan_masks import ScanMasks, Scans, check_one_channel, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageSource


def is_called_ome_tiff(path: Path) -> bool:
    """Tell whether a file has the name of an OME-TIFF file."""
    return path.name.lower().endswith((".ome.tif", ".ome.tiff")) and not path.name.startswith(".")


def read_ome_tiff_labels(path: Path, prompt: str | None, scans: Scans) -> ScanMasks:
    """Return what OME-TIFF labels hold, on the planes of their scan.

    What their values mean is as in `read_nifti_labels`. The scan is called as `images.csv` says, or like the labels,
    and has as many pixels.

    Raises
    ------
    InputError
        It is not clear what the values mean, or there is no such scan.
    """
    classes = classes_of(path, prompt)
    stored = open_labels(path)
    known = image_table(path.parent, path.parent.parent).get(normal_form(image_name(path)), (image_name(path), None))
    name, shape = normal_form(known[0]), mask_shape(stored)
    called = [image for image in _called(name, scans) if mask_shape(image) == shape]
    if len(called) > 1 and known[1]:
        files = ((image, image.path) for image in called)
        called = [image for image, file in files if file and file.is_file() and sha256_of_file(file) == known[1]]
    if len(called) != 1:
        count = "no scan is" if not called else f"{len(called)} scans are"
        raise DatasetError(
            f"{path}: {count} called {name} with {stored.size} pixels: say with --images in which folder it lies."
        )
    return labels_on(path, prompt, classes, called[0], _labels)


def _called(name: str, scans: Scans) -> Iterator[ImageData]:
    """Yield the scans of a name, and the images of that name that the project keeps itself."""

    def is_called(source: ImageSource) -> bool:
        return name in (normal_form(source.name), normal_form(image_name(source.path)))

    yield from (image for _, image in scans.images(is_called))
    for record in scans.project.images.all():
        if record.source == "array" and normal_form(record.name) == name:
            pixels = np.asarray(scans.project.images.load(record))
            yield ImageData(pixels, record.name, record.path, pixels.ndim > len("YX"))


def _labels(path: Path, image: ImageData) -> NDArray[np.integer]:
    stored = open_labels(path)
    check_one_channel(stored)
    if mask_shape(stored) != mask_shape(image):
        raise LabelsError(f"{path} has other pixels than its scan {image.name}, {stored.size} and {image.size}.")
    return whole_numbers(np.asarray(stored.data), path)
