"""Decoders for compressed DICOM images that neither pydicom nor Pillow can read.

These are lossless and 12-bit JPEG, JPEG-LS, and some JPEG 2000.

They are added to pydicom's own, by its interface for plugins: `is_available`, `DECODER_DEPENDENCIES`, and a function
from an encoded frame to its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.imaging.formats.frame_headers import frame_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_JPEG = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
PLUGIN = "napari-amvlm"

DECODER_DEPENDENCIES = dict.fromkeys((*_JPEG, *_JPEG_LS, *_JPEG_2000), ("imagecodecs",))


def chosen_plugin(uid: str) -> str:
    """Return which decoder pydicom is to use: that of this module, where Pillow's would only try; "" lets it choose."""
    return PLUGIN if uid in (*_JPEG, *_JPEG_LS) else ""


def is_available(_uid: str) -> bool:
    """Tell pydicom that what these decoders need is installed: imagecodecs is always."""
    return True


def add_decoders() -> None:
    """Add the decoders to pydicom, once."""
    from pydicom.pixels.decoders.base import get_decoder

    for uid in DECODER_DEPENDENCIES:
        decoder = get_decoder(uid)
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, "decode_frame"))


def decode_frame(source: bytes, runner: Any) -> bytes:
    """Return the pixels of one frame, colours by pixel.

    Parameters
    ----------
    runner
        pydicom's account of what the frame is to be.

    Raises
    ------
    ValueError
        The frame is damaged, or of another size than its file says.
    """
    shape = (runner.rows, runner.columns, runner.samples_per_pixel)
    if frame_shape(source) != shape:
        raise ValueError(f"a frame of {frame_shape(source)}, where {shape} was announced")
    pixels = _pixels(source, runner)
    if runner.samples_per_pixel > 1:
        if pixels.shape[0] == runner.samples_per_pixel and pixels.shape[1:] == shape[:2]:
            pixels = np.moveaxis(pixels, 0, -1)
        runner.set_option("planar_configuration", 0)
    if pixels.size != np.prod(shape) or pixels.dtype.kind not in "iu":
        raise ValueError(f"pixels of shape {pixels.shape}, where {shape} was announced")
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return np.ascontiguousarray(pixels).tobytes()


def _pixels(source: bytes, runner: Any) -> NDArray[Any]:
    import imagecodecs

    if runner.transfer_syntax in _JPEG_LS:
        return np.asarray(imagecodecs.jpegls_decode(source))
    if runner.transfer_syntax in _JPEG_2000:
        return _jpeg_2000(source, runner)
    # Said to be RGB in and out, so that no colours are changed: pydicom does that by the file's own header.
    colours = "RGB" if runner.samples_per_pixel == 3 else "GRAYSCALE"
    return np.asarray(imagecodecs.jpeg8_decode(source, colorspace=colours, outcolorspace=colours))


def _jpeg_2000(source: bytes, runner: Any) -> NDArray[Any]:
    """Return unsigned pixels; of signed ones pydicom and Pillow know what their files mean."""
    import imagecodecs

    pixels = np.asarray(imagecodecs.jpeg2k_decode(source))
    if pixels.dtype.kind != "u" or runner.pixel_representation:
        raise ValueError("signed pixels")
    if runner.photometric_interpretation in ("YBR_RCT", "YBR_ICT"):
        runner.set_option("photometric_interpretation", "RGB")
    return pixels
