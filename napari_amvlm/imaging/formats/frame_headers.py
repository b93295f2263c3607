"""Sizes in the headers of JPEG, JPEG-LS and JPEG 2000 frames, which lie within TIFF and DICOM files.

A frame announces a size of its own, for which its decoder takes memory whatever the file around it says.
"""

from __future__ import annotations

import struct

_JPEG_START = b"\xff\xd8"
_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""JPEG markers among those of frame headers that are none."""
_JPEG_LS_FRAME = 0xF7
_JPEG_2000_START = b"\xff\x4f\xff\x51"
_BOXES = 4096
"""JPEG 2000 may lie in boxes, of which the header needs no more bytes than this."""
_CODING_STYLE, _FIRST_TILE = 0xFF52, 0xFF90
"""Marker of the part of a JPEG 2000 header that names the transforms, and the one that ends the header."""


def frame_shape(source: bytes) -> tuple[int, int, int] | None:
    """Return height, width and number of colours in the header of a frame; None where it has none."""
    if not source.startswith(_JPEG_START):
        begin = source[:_BOXES].find(_JPEG_2000_START)
        header = source[begin : begin + 42] if begin >= 0 else b""
        if len(header) < 42:
            return None
        right, lower, left, upper = struct.unpack(">4I", header[8:24])
        return lower - upper, right - left, int.from_bytes(header[40:], "big")
    place = 2
    while place + 10 <= len(source) and source[place] == 0xFF:
        marker = source[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME) or marker == _JPEG_LS_FRAME:
            height, width = (int.from_bytes(source[place + at : place + at + 2], "big") for at in (5, 7))
            return height, width, source[place + 9]
        place += 2 + int.from_bytes(source[place + 2 : place + 4], "big")
    return None


def is_untransformed(source: bytes) -> bool:
    """Tell whether a bare JPEG 2000 frame holds its colours as they were given: its decoder undoes no transform."""
    if not source.startswith(_JPEG_2000_START):
        return False
    place = 2
    while place + 9 <= len(source):
        marker, length = struct.unpack(">2H", source[place : place + 4])
        if marker == _CODING_STYLE:
            return source[place + 8] == 0
        if marker == _FIRST_TILE:
            break
        place += 2 + length
    return False
