"""What a DICOM header says of an image: its size, how its values are shown, its pixel size and its orientation."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import need
from napari_amvlm.imaging.formats.limits import check_shape, check_size
from napari_amvlm.imaging.image_data import Spacing, known, spacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydicom.dataset import Dataset

_DEFLATED = "1.2.840.10008.1.2.1.99"
_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_MAX_INFLATED = 1 << 30
_DEFER = 1 << 18
"""Longer elements than this many bytes are not read with the header; lookup tables are shorter."""
_PARALLEL = 0.9998
"""Cosine of 1.1 degrees: directions that differ by less are those of one volume."""
_SIDES = ("LR", "PA", "SI")
"""Sides of the patient towards which DICOM's three coordinates grow, and away from which they do."""
_OF_A_FRAME = (
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PatientOrientation",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "DoseGridScaling",
    "PhotometricInterpretation",
    "BitsStored",
    "PixelRepresentation",
    "FrameType",
    "ImageType",
    "StackID",
    "EchoTime",
    "EffectiveEchoTime",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "TriggerTime",
    "AcquisitionNumber",
    "InstanceNumber",
)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True)
class Geometry:
    """Where an image lies in the patient, as far as its header says.

    Attributes
    ----------
    rows, columns
        Unit vectors, in DICOM's coordinates, along which the index of a column (X) and of a row (Y) grows; None where
        they are not known.
    corner
        Millimeters of the first pixel, None where it is not known.
    """

    rows: tuple[float, ...] | None
    columns: tuple[float, ...] | None
    corner: tuple[float, ...] | None

    @property
    def is_known(self) -> bool:
        """Whether it can be put together with others to a volume."""
        return self.rows is not None and self.columns is not None and self.corner is not None

    def is_parallel(self, other: Geometry) -> bool:
        """Tell whether two known planes have the same directions, but for what scanners round."""
        pairs = ((self.rows, other.rows), (self.columns, other.columns))
        return all(one and two and float(np.dot(one, two)) > _PARALLEL for one, two in pairs)

    def distance_of(self, other: Geometry) -> float:
        """Return how far along the normal of this known plane the corner of another one lies, in millimeters."""
        if self.rows is None or self.columns is None or other.corner is None:
            raise ValueError("the geometry is not known")
        return float(np.cross(self.rows, self.columns) @ np.array(other.corner))


def read_header(path: Path, *, pixels: bool = False) -> Dataset:
    """Read a DICOM file; its pixels stay where they are unless they are wanted.

    Raises
    ------
    ImageError
        pydicom is not installed, or the file inflates to an absurd size.
    """
    need("pydicom", path, "DICOM", "dicom")
    import pydicom

    with path.open("rb") as file:
        file.seek(128)
        preamble = file.read(4) == b"DICM"
    if preamble:
        _check_deflated(path)
    header = pydicom.dcmread(path, force=not preamble, defer_size=None if pixels else _DEFER)
    if "Rows" in header:
        for name, value in _usual(header).items():
            if header.get(name) is None:
                setattr(header, name, value)
    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        plain = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        header.file_meta.TransferSyntaxUID = plain if little else pydicom.uid.ExplicitVRBigEndian
    return header


def _usual(header: Dataset) -> dict[str, Any]:
    """Return what an image is whose header does not say it: programs that take names out may take out more.

    Colours tell the number of values in a pixel, and the other way round; without both, nothing is believed.
    """
    colours, count = header.get("PhotometricInterpretation"), header.get("SamplesPerPixel")
    usual: dict[str, Any] = {}
    if colours:
        usual["SamplesPerPixel"] = 1 if str(colours).startswith(("MONOCHROME", "PALETTE")) else 3
    elif count:
        usual["PhotometricInterpretation"] = "MONOCHROME2" if count == 1 else "RGB"
    if "PixelData" in header:  # real numbers have no bits to tell of
        usual |= {"PixelRepresentation": 0, "BitsStored": header.get("BitsAllocated")}
    return usual | ({"PlanarConfiguration": 0} if (count or usual.get("SamplesPerPixel", 1)) > 1 else {})


def check_not_masks(path: Path, header: Dataset) -> None:
    """Raise `ImageError` for a segmentation, which often lies beside the images that it is of."""
    if header.get("SOPClassUID") in SEGMENTATIONS:
        raise ImageError(f"{path} is a DICOM file without an image (a segmentation); open the images that it is of.")


def check_image(path: Path, header: Dataset) -> tuple[int, ...]:
    """Return frames, height, width and colours of an image that can be read.

    Raises
    ------
    ImageError
        The file holds no image, a whole slide, or one of absurd size.
    """
    if "DirectoryRecordSequence" in header:
        raise ImageError(f"{path} is a table of contents of DICOM files; open the folder of one of its series.")
    kind = getattr(header.get("SOPClassUID"), "name", None) or header.get("Modality") or "no known kind"
    if "Rows" not in header or "Columns" not in header or not any(name in header for name in _PIXELS):
        raise ImageError(f"{path} is a DICOM file without an image ({kind}); open the images that belong to it.")
    if header.get("SOPClassUID") == _SLIDE:
        raise ImageError(f"{path} is a slide in DICOM, whose tiles cannot be put together; save it as OME-TIFF.")
    frames = int(header.get("NumberOfFrames") or 1)
    height, width, colours = int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1)
    check_size(path, height, width)
    check_shape(path, (frames, height, width), (height, width))
    if colours not in (1, 3, 4):
        raise ImageError(f"{path}: expected 1 or 3 values in a pixel, but its header says {colours}; save it as gray.")
    return frames, height, width, colours


def image_window(header: Dataset) -> tuple[float, float] | None:
    """Return the values shown as black and as white: the first window, else the range of the first lookup table.

    The limits are those of C.11.2.1.2 and C.11.2.1.3 of the standard, part 3.
    """
    center, width = first_number(header.get("WindowCenter")), first_number(header.get("WindowWidth"))
    if center is not None and width is not None and width > 0:
        if str(header.get("VOILUTFunction") or "LINEAR") == "LINEAR" and width > 1:
            return center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
        return center - width / 2, center + width / 2
    table = header.get("VOILUTSequence")
    if table and "LUTDescriptor" in table[0]:
        entries, start = (int(value) for value in list(table[0].LUTDescriptor)[:2])
        return (float(start), float(start + (entries or 65536) - 1))
    return None


def pixel_spacing(header: Dataset) -> dict[str, Spacing]:
    """Return the distance of pixels in the patient, or at the detector where there is no other, in millimeters."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = _numbers(header.get(name), 2)
        if values is not None:
            return known({axis: spacing(value, "mm") for axis, value in zip("YX", values, strict=True)})
    return {}


def frame_header(header: Dataset, frame: int) -> Dataset:
    """Return what a header says of one frame: of the frame itself, of all frames, or of the file, in this order."""
    from pydicom.dataset import Dataset

    result = Dataset()
    shared = list(header.get("SharedFunctionalGroupsSequence") or ())[:1]
    own = list(header.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
    sequences = [element.value for item in (*own, *shared) for element in item if element.VR == "SQ"]
    groups = [inner for sequence in sequences for inner in sequence[:1]]
    for name in _OF_A_FRAME:
        value = next((group[name] for group in (*groups, header) if name in group), None)
        if value is not None:
            result[name] = value
    return result


def geometry(header: Dataset) -> Geometry:
    """Return where an image lies in the patient."""
    directions = _numbers(header.get("ImageOrientationPatient"), 6)
    if directions is None:
        return Geometry(None, None, None)
    rows, columns = np.array(directions[:3]), np.array(directions[3:])
    lengths = float(np.linalg.norm(rows)), float(np.linalg.norm(columns))
    if not all(0.9 < length < 1.1 for length in lengths) or abs(float(rows @ columns)) > 0.01:
        return Geometry(None, None, None)
    unit = [tuple(float(part) for part in vector / np.linalg.norm(vector)) for vector in (rows, columns)]
    corner = _numbers(header.get("ImagePositionPatient"), 3)
    return Geometry(unit[0], unit[1], None if corner is None else tuple(corner))


def orientation(header: Dataset, where: Geometry) -> str:
    """Return the sides of the patient towards which Z, Y and X grow, by their main direction; else those of Y and X."""
    if where.rows is not None and where.columns is not None:
        normal = np.cross(np.array(where.rows), np.array(where.columns))
        return "".join(_side(vector) for vector in (normal, where.columns, where.rows))
    named = header.get("PatientOrientation")
    letters = [str(value)[:1].translate(str.maketrans("HF", "SI")) for value in named or ()]
    if len(letters) == 2 and all(letter and letter in "LRPASI" for letter in letters):
        return letters[1] + letters[0]
    return ""


def _side(vector: Sequence[float] | np.ndarray) -> str:
    main = int(np.argmax(np.abs(vector)))
    return _SIDES[main][0 if vector[main] > 0 else 1]


def first_number(value: Any) -> float | None:
    """Return the first of several numbers, None where there is none."""
    if value is None or value == "":
        return None
    many = value if not isinstance(value, (str, int, float)) and hasattr(value, "__len__") else [value]
    numbers = _numbers(list(many)[:1], 1)
    return None if numbers is None else numbers[0]


def _numbers(values: Any, count: int) -> list[float] | None:
    """Return `count` finite numbers, None where there are not so many."""
    if values is None or not hasattr(values, "__len__") or len(values) != count:
        return None
    try:
        # Some programs write a comma, as their language has it.
        numbers = [float(str(value).replace(",", ".")) for value in values]
    except (TypeError, ValueError):
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def _check_deflated(path: Path) -> None:
    """Refuse a deflated file that would fill the memory: pydicom inflates it as a whole."""
    from pydicom.filereader import read_file_meta_info

    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != _DEFLATED:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    with path.open("rb") as file:
        file.seek(144 + int(meta.get("FileMetaInformationGroupLength", 0)))
        waiting = file.read(1 << 16)
        while waiting and size <= _MAX_INFLATED:
            size += len(inflater.decompress(waiting, 1 << 20))
            waiting = inflater.unconsumed_tail or file.read(1 << 16)
    if size > _MAX_INFLATED:
        raise ImageError(
            f"{path}: expected at most {_MAX_INFLATED >> 20} MB behind its compression, but there is more; "
            "save it uncompressed."
        )
