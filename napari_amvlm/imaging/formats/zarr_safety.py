"""What a zarr folder may hold: its metadata is checked as plain JSON before zarr itself is asked to open it.

zarr can store Python objects (pickles) and can name codecs that are found by plugins; neither is ever opened here.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.limits import MAX_AXES, MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

METADATA = (".zgroup", ".zarray", ".zattrs", "zarr.json")

_MAX_JSON = 1 << 24
_MAX_DEPTH = 64
_CODECS_2 = frozenset(
    ("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "delta", "shuffle", "fixedscaleoffset", "bitround", "crc32")
)
_CODECS_3 = frozenset(("bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed"))
_NUMBER_2 = re.compile(r"[<>|=]?[buif][1248]")
_NUMBER_3 = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)")


def zarr_metadata(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the metadata that lie in a folder, by file name; empty for a folder that is no zarr.

    Raises
    ------
    ImageError
        A file is too long, nested too deeply, or no JSON object.
    """
    return {name: read_json(folder / name) for name in METADATA if (folder / name).is_file()}


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of limited length and depth."""
    size = path.stat().st_size
    if size > _MAX_JSON:
        raise ImageError(f"{path}: expected at most {_MAX_JSON >> 20} MB of metadata, but got {size >> 20} MB.")
    text = path.read_text(encoding="utf-8")
    if _depth(text) > _MAX_DEPTH:
        raise ImageError(f"{path}: expected at most {_MAX_DEPTH} levels of brackets, but got more; write it again.")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ImageError(f"{path}: expected a JSON object, but got {type(found).__name__}; write it again.")
    return found


def inside(root: Path, relative: object) -> Path:
    """Return the folder at `relative`, which must lie in `root` even where links are followed.

    Raises
    ------
    ImageError
        It does not, or is no folder.
    """
    place = root / str(relative)
    if not isinstance(relative, str) or not place.resolve().is_relative_to(root.resolve()):
        raise ImageError(f"{root}: expected its levels to lie in it, but one is at {relative!r}; write it again.")
    if not place.is_dir():
        raise ImageError(f"{root} is incomplete, its level {relative!r} is missing; copy it again.")
    return place


def check_array(folder: Path) -> None:
    """Refuse an array that holds anything but numbers, is packed in an unknown way, or in pieces of absurd size.

    Raises
    ------
    ImageError
        It does; the message says what.
    """
    metadata = zarr_metadata(folder)
    if "zarr.json" in metadata:
        _check_3(folder, metadata["zarr.json"])
    elif ".zarray" in metadata:
        _check_2(folder, metadata[".zarray"])
    else:
        raise ImageError(f"{folder}: expected a zarr array, but it has no metadata; copy it again.")


def _check_2(folder: Path, array: dict[str, Any]) -> None:
    dtype = array.get("dtype")
    if not isinstance(dtype, str) or not _NUMBER_2.fullmatch(dtype):
        raise ImageError(f"{folder}: expected an array of numbers, but it is one of {dtype!r}; write it as numbers.")
    used = [array.get("compressor"), *(array.get("filters") or ())]
    _check_codecs(folder, (codec.get("id") for codec in used if codec is not None), _CODECS_2)
    _check_sizes(folder, array.get("shape"), array.get("chunks"), np.dtype(dtype).itemsize)


def _check_3(folder: Path, array: dict[str, Any]) -> None:
    dtype = array.get("data_type")
    if array.get("node_type") != "array" or not isinstance(dtype, str) or not _NUMBER_3.fullmatch(dtype):
        raise ImageError(f"{folder}: expected an array of numbers, but it is one of {dtype!r}; write it as numbers.")
    if array.get("storage_transformers"):
        raise ImageError(f"{folder}: expected a plain array, but it has storage transformers; write it without.")
    if (array.get("chunk_grid") or {}).get("name") != "regular":
        raise ImageError(f"{folder}: expected pieces of one size, but got {array.get('chunk_grid')!r}; write it again.")
    chunk = array["chunk_grid"]["configuration"]["chunk_shape"]
    codecs = list(array.get("codecs") or ())
    for codec in codecs:
        if codec.get("name") == "sharding_indexed":
            inner = codec["configuration"]
            chunk = inner["chunk_shape"]
            codecs = [*codecs, *inner.get("codecs", ()), *inner.get("index_codecs", ())]
    names = [codec.get("name") for codec in codecs]
    if names.count("sharding_indexed") > 1:
        raise ImageError(f"{folder}: expected shards of pieces, but got shards within shards; write it again.")
    _check_codecs(folder, names, _CODECS_3)
    _check_sizes(folder, array.get("shape"), chunk, np.dtype(dtype).itemsize)


def _check_codecs(folder: Path, names: Iterable[Any], allowed: frozenset[str]) -> None:
    strangers = [name for name in names if name not in allowed]
    if strangers:
        raise ImageError(
            f"{folder}: expected a compression out of {', '.join(sorted(allowed))}, but got {strangers[0]!r}; "
            "write it with one of them."
        )


def _check_sizes(folder: Path, shape: Any, chunk: Any, itemsize: int) -> None:
    for sizes in (shape, chunk):
        whole = isinstance(sizes, list) and all(type(size) is int and size >= 1 for size in sizes)
        if not whole or len(sizes) > MAX_AXES:
            raise ImageError(f"{folder}: expected lengths of at least 1 along its axes, but got {sizes!r}.")
    if len(shape) != len(chunk) or math.prod(chunk) * itemsize > MAX_CHUNK_BYTES:
        raise ImageError(
            f"{folder}: expected pieces of at most {MAX_CHUNK_BYTES >> 20} MB along the axes of {shape}, but got "
            f"{chunk}; write it in smaller pieces."
        )


def _depth(text: str) -> int:
    """Return how deeply brackets are nested; brackets within strings count too, which no image's metadata minds."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
