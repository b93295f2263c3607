"""OME-TIFF images whose planes lie in several files: whole, renamed, or with files that are missing."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_MAX_FILES = 2000
"""At most so many files beside one are asked for their identifier."""
_MEMBER = re.compile(r'<(?:\w+:)?UUID\b[^>]*?FileName="([^"]*)"[^>]*>\s*([^<\s]+)\s*<')
_ELSEWHERE = re.compile(r'<(?:\w+:)?BinaryOnly\b[^>]*?\sMetadataFile="([^"]+)"')
_XML_START = 10_000
_MAX_XML = 1 << 26
_OWN = re.compile(r'<(?:\w+:)?OME\b[^>]*?\sUUID="([^"]+)"')


def open_tiff_file(path: Path) -> Any:
    """Return tifffile's file; where it names others of its set that are not there, they are found by identifier."""
    import tifffile

    file = tifffile.TiffFile(path)
    if companion := _companion(path, file.ome_metadata or ""):
        file.close()
        file = tifffile.TiffFile(path, omexml=companion)
    xml = file.ome_metadata or ""
    members = dict(set_members(xml))
    missing = [number for number, name in members.items() if not (path.parent / name).is_file()]
    if not missing:
        return file
    renamed = {number: other for number, other in _identified(path.parent) if number in missing}
    if not renamed:
        return file
    text = _MEMBER.sub(lambda match: _with_name(match, renamed.get(match[2], match[1])), xml)
    file.close()
    return tifffile.TiffFile(path, omexml=text)


def _companion(path: Path, xml: str) -> str:
    """Return the OME-XML of a set that lies in a file beside its planes; empty where it does not, or is not there."""
    match = _ELSEWHERE.search(xml[:_XML_START])
    companion = path.parent / match[1] if match and "/" not in match[1] and "\\" not in match[1] else path
    if companion == path or not companion.is_file() or companion.stat().st_size > _MAX_XML:
        return ""
    return companion.read_text(encoding="utf-8", errors="replace")


def set_members(xml: str | None) -> Iterator[tuple[str, str]]:
    """Yield identifier and file name of every file that OME-XML names."""
    yield from ((match[2], match[1]) for match in _MEMBER.finditer(xml or ""))


def set_key(path: Path) -> frozenset[str]:
    """Return what the files of one set have in common; empty for a file that is no part of a set."""
    import tifffile

    try:
        with reading(path), tifffile.TiffFile(path) as file:
            xml = file.ome_metadata or ""
            members = frozenset(number for number, _ in set_members(_companion(path, xml) or xml))
    except ImageError:  # it is reported when it is opened
        return frozenset()
    return members if len(members) > 1 else frozenset()


def present_planes(series: Any) -> dict[str, NDArray[np.intp]]:
    """Return, for each axis before the planes of which some are missing, the indices that are there with all others.

    Empty where all planes are there. Indices are dropped, those with the most gaps first, until no gap is left.
    """
    pages = list(series.pages)
    if not any(page is None for page in pages):
        return {}
    lengths = series.shape[: len(series.shape) - series.keyframe.ndim]
    if int(np.prod(lengths)) != len(pages):
        return {}
    there = np.array([page is not None for page in pages]).reshape(lengths)
    axes = range(there.ndim)
    others = [tuple(other for other in axes if other != axis) for axis in axes]
    kept = [np.flatnonzero(there.any(axis=others[axis])) for axis in axes]
    while not (part := there[np.ix_(*kept)]).all():
        shares = [part.mean(axis=others[axis]) for axis in axes]
        worst = min((float(share.min()), axis) for axis, share in enumerate(shares) if len(share) > 1)[1]
        kept[worst] = np.delete(kept[worst], int(np.argmin(shares[worst])))
    return dict(zip(series.axes, kept, strict=False))


def absence(path: Path, file: Any, series: Any, kept: Mapping[str, NDArray[np.intp]]) -> str:
    """Return a sentence about the planes that are not there."""
    names = sorted({name for _, name in set_members(file.ome_metadata) if not (path.parent / name).is_file()})
    lengths = dict(zip(series.axes, series.shape, strict=True))
    fewer = {axis: indices for axis, indices in kept.items() if len(indices) < lengths[axis]}
    shown = ", ".join(f"{axis} {_listed(indices)} of {lengths[axis]}" for axis, indices in fewer.items())
    missing = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "other files"
    return f"{path} is part of a set of which {missing} are missing: only {shown} are there."


def _listed(indices: NDArray[np.intp]) -> str:
    numbers = ", ".join(str(index + 1) for index in indices[:8])
    return numbers + (" and more" if len(indices) > 8 else "")


def _identified(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield identifier and name of the OME-TIFF files in a folder."""
    import tifffile

    for path in itertools.islice(sorted(folder.glob("*.[tT][iI][fF]*")), _MAX_FILES):
        if path.name.startswith("."):
            continue
        try:
            with reading(path), tifffile.TiffFile(path) as file:
                match = _OWN.search((file.ome_metadata or "")[:_XML_START])
        except ImageError:
            continue
        if match is not None:
            yield match[1], path.name


def _with_name(match: re.Match[str], name: str) -> str:
    start, end = (position - match.start() for position in match.span(1))
    return match[0][:start] + name.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;") + match[0][end:]
