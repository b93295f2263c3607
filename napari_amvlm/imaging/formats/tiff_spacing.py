"""Pixel sizes and channel names out of TIFF files: OME-XML, ImageJ, Aperio, resolution tags."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from napari_amvlm.imaging.image_data import INCHES, Spacing, known, spacing

if TYPE_CHECKING:
    from collections.abc import Mapping

_PER_UNIT = {3: "cm", 4: "mm", 5: "um"}
"""Values of the tag ResolutionUnit."""
_INCH = 2
_UM_PER_INCH = 25_400.0
_FINEST_PRINT = 5.0
"""Micrometers: larger pixels in inches tell how large an image is printed, not how large a pixel was."""

_PRINTS = (25.4, 72.0, 96.0, 150.0, 200.0, 300.0, 600.0)
"""Dots per inch of screens and printers; 25.4 is the one per millimeter that libvips writes by itself."""
_ROUNDED = 2e-3

_MPP = re.compile(r"\bMPP\s*=\s*([-+0-9.,eE]+)")
_PHILIPS = re.compile(r'DICOM_PIXEL_SPACING"[^>]*>[^0-9]*([-+0-9.eE]+)[^0-9]+([-+0-9.eE]+)')
"""Distance of rows and of columns in the XML of Philips, millimeters; the first one is that of the whole slide."""
ON_ITS_SIDE = (5, 6, 7, 8)
"""Values of the tag Orientation with which rows are stored as columns."""
_MAX_XML = 1 << 26


def tiff_spacing(file: Any, series: Any, index: int) -> dict[str, Spacing]:
    """Return what the file says of the distances along the axes of series `index`, by axis letter."""
    distances = _as_stored(file, series, index)
    if tiff_orientation(series.keyframe) in ON_ITS_SIDE:
        return {{"X": "Y", "Y": "X"}.get(axis, axis): distance for axis, distance in distances.items()}
    return distances


def tiff_orientation(page: Any) -> int:
    """Return the value of the tag Orientation, 1 where there is none."""
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None else 1


def _as_stored(file: Any, series: Any, index: int) -> dict[str, Spacing]:
    if series.kind == "ome":
        return ome_spacing(_ome_pixels(file, index))
    if file.is_imagej:
        return _imagej(file.imagej_metadata or {}, series.keyframe)
    if file.is_svs and (match := _MPP.search(series.keyframe.description)):
        return known(dict.fromkeys("YX", spacing(match[1].replace(",", "."), "um")))
    if file.is_philips and (match := _PHILIPS.search(file.philips_metadata or "")):
        return known({axis: spacing(float(size) * 1e3, "um") for axis, size in zip("YX", match.groups(), strict=True)})
    return _from_microscope(file) or _from_tags(series.keyframe)


def _from_microscope(file: Any) -> dict[str, Spacing]:
    """Return the distances that an electron or a laser scanning microscope wrote into tags of its own, in meters."""
    scan = (file.fei_metadata or {}).get("Scan", {})
    sem, lsm = file.sem_metadata or {}, file.lsm_metadata or {}
    size = sem.get("ap_image_pixel_size", sem.get("ap_pixel_size"))
    distances = {"X": spacing(scan.get("PixelWidth"), "m"), "Y": spacing(scan.get("PixelHeight"), "m")}
    if isinstance(size, tuple) and len(size) > 2:
        distances = dict.fromkeys("YX", spacing(size[1], str(size[2])))
    if lsm:
        distances = {axis: spacing(lsm.get(f"VoxelSize{axis}"), "m") for axis in "XYZ"}
        distances["T"] = spacing(lsm.get("TimeIntervall"), "s")
    return known(distances)


def tiff_channels(file: Any, series: Any, index: int) -> tuple[str, ...]:
    """Return the names of the channels, empty where the file has none."""
    if series.kind == "ome":
        elements = (element for element in _ome_pixels(file, index) or () if _local(element.tag) == "Channel")
        names = [element.get("Name", "") for element in elements]
    else:
        labels = (file.imagej_metadata or {}).get("Labels", ()) if file.is_imagej else ()
        names = [str(label) for label in labels]
    axes: dict[str, int] = dict(zip(series.axes, series.shape, strict=True))
    return tuple(names) if len(names) == axes.get("C") and all(names) else ()


def ome_spacing(pixels: ElementTree.Element | None) -> dict[str, Spacing]:
    """Return the distances that an OME `Pixels` element gives; its units are micrometers and seconds unless it says."""
    if pixels is None:
        return {}
    distances = {axis: _attribute(pixels, f"PhysicalSize{axis}", "um") for axis in "XYZ"}
    return known(distances | {"T": _attribute(pixels, "TimeIncrement", "s")})


def _attribute(pixels: ElementTree.Element, name: str, unit: str) -> Spacing | None:
    return spacing(pixels.get(name), pixels.get(f"{name}Unit", unit))


def _ome_pixels(file: Any, index: int) -> ElementTree.Element | None:
    """Return the `Pixels` element of series `index`, None where the XML has none.

    Images whose planes are not there are no series.
    """
    text = file.ome_metadata or ""
    if len(text) > _MAX_XML:
        return None
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError:
        return None
    images = [element for element in root if _local(element.tag) == "Image"]
    if len(images) != len(file.series):
        rest = iter(images)
        images = [image for series in file.series for image in rest if _is_of(image, series)]
    children = images[index] if index < len(images) else ()
    return next((element for element in children if _local(element.tag) == "Pixels"), None)


def _is_of(image: ElementTree.Element, series: Any) -> bool:
    """Tell whether a series has the name and the size of an image."""
    lengths = dict(zip(series.axes, series.shape, strict=True))
    sizes = {f"Size{axis}": str(lengths.get(axis, 1)) for axis in "YX"}
    pixels = next((element for element in image if _local(element.tag) == "Pixels"), image)
    return image.get("Name", "") == series.name and all(pixels.get(name) == size for name, size in sizes.items())


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _imagej(metadata: Mapping[str, Any], page: Any) -> dict[str, Spacing]:
    unit = str(metadata.get("unit", ""))
    # ImageJ names the units of Y, Z and time where they are others.
    y_unit, z_unit, t_unit = (
        str(metadata.get(f"{axis}unit", usual)) for axis, usual in (("y", unit), ("z", unit), ("t", "s"))
    )
    along = known({"Z": spacing(metadata.get("spacing"), z_unit), "T": spacing(metadata.get("finterval"), t_unit)})
    x, y = _size(page, "XResolution"), _size(page, "YResolution")
    if unit.strip().lower() in INCHES:
        return along | spacing_from_inches(y, x)
    plane = known({"X": spacing(x, unit), "Y": spacing(y, y_unit)}) if unit else _from_tags(page)
    return plane | along


def _from_tags(page: Any) -> dict[str, Spacing]:
    tag = page.tags.get("ResolutionUnit")
    code = int(tag.value) if tag is not None else 0
    sizes = {axis: _size(page, f"{axis}Resolution") for axis in "YX"}
    if code == _INCH:
        return spacing_from_inches(sizes["Y"], sizes["X"])
    size = {axis: spacing(length, _PER_UNIT.get(code)) for axis, length in sizes.items()}
    return {axis: _micrometers(value) for axis, value in known(size).items() if not _is_print(value)}


def spacing_from_inches(y: float | None, x: float | None) -> dict[str, Spacing]:
    """Return the spacing for pixels of these lengths in inches; empty for those that are as large as printed ones.

    Examples
    --------
    >>> spacing_from_inches(1 / 101600, 1 / 101600), spacing_from_inches(1 / 300, 1 / 300)
    ({'Y': (0.25, 'micrometer'), 'X': (0.25, 'micrometer')}, {})
    """
    sizes = {axis: length * _UM_PER_INCH for axis, length in (("Y", y), ("X", x)) if length is not None}
    return known({axis: spacing(size, "um") for axis, size in sizes.items() if size <= _FINEST_PRINT})


def _is_print(value: Spacing) -> bool:
    """Tell whether a distance in centimeters is what programs write where nobody told them one."""
    dots = 2.54 / value[0] if value[1] == "centimeter" else 0.0
    return any(math.isclose(dots, usual, rel_tol=_ROUNDED) for usual in _PRINTS)


def _micrometers(value: Spacing) -> Spacing:
    """Return a distance in micrometers, as slides have it, where it is given in centimeters."""
    return (value[0] * 10_000, "micrometer") if value[1] == "centimeter" else value


def _size(page: Any, name: str) -> float | None:
    """Return the length of a pixel in the unit of its resolution tag, a fraction of pixels per unit."""
    tag = page.tags.get(name)
    if tag is None:
        return None
    pixels, units = tag.value
    return units / pixels if pixels else None
