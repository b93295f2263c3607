"""One description of an image, whatever file it came from."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Spacing = tuple[float, str]
"""Distance of neighbours along an axis, and its unit by its English name: "micrometer", "millimeter", "second"."""

NO_SPACING: Spacing = (1.0, "pixel")

MICROMETERS = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
"""Micrometers in each unit of length."""

_UNITS = {
    "nanometer": ("nm", "nanometer", "nanometre"),
    "micrometer": ("um", "µm", "μm", "\\u00b5m", "micron", "micrometer", "micrometre"),
    "millimeter": ("mm", "millimeter", "millimetre"),
    "centimeter": ("cm", "centimeter", "centimetre"),
    "meter": ("m", "meter", "metre"),
    "second": ("s", "sec", "second"),
    "millisecond": ("ms", "msec", "millisecond"),
    "minute": ("min", "minute"),
    "hour": ("h", "hour"),
}
INCHES = ("in", "inch", "inches")

_OTHER_UNITS = {
    "pm": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "angstroms": 1e-4,
    "dm": 1e5,
    "ft": 304_800.0,
    "thou": 25.4,
    "pt": 25_400 / 72,
    **dict.fromkeys(INCHES, 25_400.0),
}
"""Micrometers in further units, in which nobody wants to see an image."""
_UNIT_OF = {spelling: unit for unit, spellings in _UNITS.items() for spelling in spellings}


@dataclass(frozen=True)
class Turn:
    """How the spatial axes of a volume were moved since its file was read.

    Attributes
    ----------
    axes
        For each of Z, Y and X, the number of the file's axis, from 0, the slowest, to 2.
    mirrored
        For each of Z, Y and X, whether its index runs against that of the file's axis.
    """

    axes: tuple[int, ...] = (0, 1, 2)
    mirrored: tuple[bool, ...] = (False, False, False)


@dataclass(frozen=True)
class ImageData:
    """An image as it is stored, or as it is shown where the file says how.

    Attributes
    ----------
    data
        The image at full resolution: a numpy array, or a dask array that is read where it is looked at.  One dimension
        for each letter of `axes`, then 3 colours if `rgb`.  Values in their own type; 1-bit images are uint8 with
        0 and 255.
    name
        Stem of the file, with the name of the series where the file holds several.
    path
        The file or folder, None for an image that has none.
    rgb
        Whether the last axis is colour.
    axes
        A letter for each axis but that of colour: T time, C channel, Z, Y, X, or another for a sequence of which the
        file does not say what it is.
    spacing
        By axis letter: distance of neighbours and its unit.  Axes that are left out have none.
    smaller
        The same image at lower resolutions, falling, for those that have a pyramid.
    orientation
        A letter for each of the axes Z, Y and X that the image has: the side of the patient towards which its index
        grows, R L (right, left), A P (front, back), S I (head, feet).  Empty where it is not known.
    window
        Values to be shown as black and as white, None where the file does not say.
    channels
        Names along the axis C; may be empty.
    turn
        Of a volume that is not shown with the axes of its file: how they were moved.
    origins
        Of DICOM images: the file of each plane and its frame in it, from 0, in the order of the file's leading axes.
    """

    data: Any
    name: str
    path: Path | None
    rgb: bool
    axes: str = "YX"
    spacing: Mapping[str, Spacing] | None = None
    smaller: tuple[Any, ...] = ()
    orientation: str = ""
    window: tuple[float, float] | None = None
    channels: tuple[str, ...] = ()
    turn: Turn | None = None
    origins: tuple[tuple[Path, int], ...] = ()

    @property
    def levels(self) -> tuple[Any, ...]:
        """All resolutions, the full one first."""
        return (self.data, *self.smaller)

    @property
    def scale(self) -> tuple[float, ...]:
        """Distance of neighbours along each axis, 1 where it is not known."""
        return tuple(self._along(axis)[0] for axis in self.axes)

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each axis, "pixel" where it is not known."""
        return tuple(self._along(axis)[1] for axis in self.axes)

    @property
    def patient_left(self) -> str | None:
        """The side of the picture, "left" or "right", on which the patient's left is; None where it is not known."""
        return {"L": "right", "R": "left"}.get(self.orientation[-1:])

    @property
    def size(self) -> str:
        """Lengths along the axes, for messages: "Z30xY512xX512"."""
        return "x".join(f"{axis}{length}" for axis, length in zip(self.axes, self.data.shape, strict=False))

    @property
    def channel_titles(self) -> tuple[str, ...]:
        """The names of the channels, no two alike, or their numbers from 1; empty for an image without the axis C."""
        if "C" not in self.axes:
            return ()
        count = self.data.shape[self.axes.index("C")]
        return distinct(self.channels) or tuple(f"channel {number}" for number in range(1, count + 1))

    def of_channel(self, index: int) -> Self:
        """Return one channel of an image that has the axis C."""
        position = self.axes.index("C")
        key = (slice(None),) * position + (index,)
        return replace(
            self,
            data=self.data[key],
            smaller=tuple(level[key] for level in self.smaller),
            axes=self.axes.replace("C", ""),
            name=f"{self.name} {self.channel_titles[index]}",
            channels=(),
        )

    def _along(self, axis: str) -> Spacing:
        return (self.spacing or {}).get(axis, NO_SPACING)


def distinct(titles: Sequence[str]) -> tuple[str, ...]:
    """Return titles, with their number, from 1, behind those that are alike but for capital letters.

    Examples
    --------
    >>> distinct(["DAPI", "GFP", "dapi"])
    ('DAPI 1', 'GFP', 'dapi 3')
    """
    plain = [title.casefold() for title in titles]
    found = tuple(f"{t} {n}" if plain.count(t.casefold()) > 1 else t for n, t in enumerate(titles, 1))
    return found if len({title.casefold() for title in found}) == len(found) else distinct(found)


def image_name(path: Path) -> str:
    """Return what an image is called after its file: the name without its endings, of which some come in pairs.

    A number is no ending: DICOM files are often called by numbers with dots.

    Examples
    --------
    >>> from pathlib import Path
    >>> [image_name(Path(name)) for name in ("a.b.tif", "a.nii.gz", "a.ome.tif", "a.ome.zarr", "1.2.840")]
    ['a.b', 'a', 'a', 'a', '1.2.840']
    """
    if path.suffix[1:].isdecimal():
        return path.name
    stem = path.stem
    for ending in (".nii", ".ome"):
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)]
    return stem


def spacing(size: object, unit: str | None) -> Spacing | None:
    """Return a spacing in the terms of `ImageData`, None where the size is no length or the unit is not known.

    Examples
    --------
    >>> spacing("0.25", "µm"), spacing(0, "mm"), spacing(1, "furlong")
    ((0.25, 'micrometer'), None, None)
    """
    unit = unicodedata.normalize("NFC", unit or "").strip().lower()
    name = "micrometer" if unit in _OTHER_UNITS else _UNIT_OF.get(unit) or _UNIT_OF.get(unit.removesuffix("s"))
    try:
        length = float(size) * _OTHER_UNITS.get(unit, 1.0)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return (length, name) if name and math.isfinite(length) and 1e-9 < length < 1e9 else None


def known(found: Mapping[str, Spacing | None]) -> dict[str, Spacing]:
    """Return the spacings without those that are not known."""
    return {axis: value for axis, value in found.items() if value is not None}
