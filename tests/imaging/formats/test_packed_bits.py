"""TIFF files whose values of 10, 12 or 14 bits lie close together, as cameras write them."""

import struct

import numpy as np
import pytest

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import open_images


def _packed(plane, bits):
    """Return rows of bytes; a row begins at a byte."""
    places = np.arange(bits - 1, -1, -1)
    return np.packbits((plane[..., None] >> places & 1).astype(np.uint8).reshape(len(plane), -1), axis=1)


def _write(path, planes, bits, order="<", white=1):
    content = bytearray({"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 0))
    link = 4
    for plane in planes:
        samples = plane.shape[2] if plane.ndim == 3 else 1
        start = len(content)
        content += _packed(plane.reshape(len(plane), -1), bits).tobytes()
        length = len(content) - start
        content += b"\0" * (len(content) % 2)
        numbers = struct.pack(f"{order}{samples}H", *[bits] * samples)
        if samples > 1:
            content += numbers
            numbers = struct.pack(f"{order}I", len(content) - len(numbers))
        single = ((259, 1), (262, 2 if samples > 1 else white), (277, samples))
        short = [(258, samples, numbers), *((tag, 1, struct.pack(f"{order}HH", value, 0)) for tag, value in single)]
        long = [(256, plane.shape[1]), (257, len(plane)), (273, start), (278, len(plane)), (279, length)]
        tags = [(tag, 3, count, value.ljust(4, b"\0")) for tag, count, value in short]
        tags += [(tag, 4, 1, struct.pack(f"{order}I", value)) for tag, value in long]
        content[link : link + 4] = struct.pack(f"{order}I", len(content))
        content += struct.pack(f"{order}H", len(tags))
        content += b"".join(struct.pack(f"{order}HHI", *tag[:3]) + tag[3] for tag in sorted(tags))
        link = len(content)
        content += b"\0\0\0\0"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("width", [32, 31])
def test_planes_stacks_and_colours_have_their_values(tmp_path, bits, order, width):
    values = np.random.default_rng(bits).integers(0, 2**bits, (24, width, 3)).astype(np.uint16)
    planes = list(values.transpose(2, 0, 1))

    plane = open_images(_write(tmp_path / "a.tif", planes[:1], bits, order))[0]
    stack = open_images(_write(tmp_path / "b.tif", planes, bits, order))[0]
    colours = open_images(_write(tmp_path / "c.tif", [values], bits, order))[0]
    white = open_images(_write(tmp_path / "d.tif", planes[:1], bits, order, white=0))[0]

    np.testing.assert_array_equal(plane.data, planes[0])
    np.testing.assert_array_equal(stack.data, planes)
    np.testing.assert_array_equal(colours.data, values)
    np.testing.assert_array_equal(white.data, 2**bits - 1 - planes[0])


def test_24_bits_are_refused_by_name(tmp_path):
    values = np.full((24, 32), 77_777, np.uint32)

    for planes in ([values], [values] * 2):
        with pytest.raises(ImageError, match="at most 16, 32 or 64 bits in a value, but got 24"):
            open_images(_write(tmp_path / "a.tif", planes, 24))
