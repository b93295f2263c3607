"""PNG and JPEG files, and TIFF files in compressions that only Pillow knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.limits import MAX_PIXELS, check_size
from napari_amvlm.imaging.formats.tiff_spacing import ON_ITS_SIDE, spacing_from_inches

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from napari_amvlm.imaging.image_data import Spacing

LOSSY = b"\xff\xd8"
"""How the files start whose values are not kept exactly: JPEG."""

_FORMATS = ("PNG", "JPEG", "TIFF")
_STARTS = {b"\x89PNG": "PNG", LOSSY: "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
FAX = (2, 3, 4)
"""TIFF compressions that know black and white ink only, so that 0 as white is no choice of the writer."""

_WEBP = 50001
"""A compression of TIFF that Pillow knows, and its own wheels cannot decode."""

_GRAY_STEPS = {"L;2": 85, "L;4": 17}
"""By what Pillow multiplies gray values of 2 and 4 bits of PNG files, so that they are shown from black to white."""

_BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 258, 259, 262, 274


def decode_with_pillow(path: Path, *, indices: bool) -> NDArray[Any]:
    """Return the pixels of a file, without alpha; with `indices`, values as they are stored.

    Raises
    ------
    ImageError
        Another kind of file, a stack, too many pixels, or colours that are neither gray nor RGB.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as image:
            check_size(path, image.height, image.width)
            frames = getattr(image, "n_frames", 1)
            # A JPEG with more than one frame is a photograph with previews.
            if frames > 1 and image.format in ("PNG", "TIFF"):
                raise ImageError(f"{path}: expected one image, but it is a stack of {frames}; save the one you mean.")
            pixels = _pixels(image, path, indices=indices)
            if indices and "A" in image.getbands():
                check_opaque(path, pixels, np.asarray(image.getchannel("A")))
            # Of TIFF files, Pillow turns the pixels itself. Of PNG files, the tag is known once they are read.
            return pixels if image.format == "TIFF" else upright(pixels, image.getexif().get(_ORIENTATION, 1))
    except UnidentifiedImageError as error:
        if kind := _called(path):
            what = f"this kind of {kind} is not read, or the file is damaged"
            raise ImageError(f"{path}: {what}; save it as PNG, or as TIFF with deflate.") from error
        raise ImageError(f"{path}: expected a PNG, JPEG or TIFF image, but it is none; save it as one.") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS) // 10**6
        raise ImageError(
            f"{path}: expected at most {limit} million pixels in such a file, but it has more; "
            "cut it into smaller images or save it as an uncompressed TIFF."
        ) from error


def check_compression(path: Path, compression: Any) -> None:
    """Raise `ImageError` for a compression of TIFF, a number that may have a name, that Pillow does not know."""
    from PIL.TiffImagePlugin import COMPRESSION_INFO

    if int(compression) not in COMPRESSION_INFO or int(compression) == _WEBP:
        name = getattr(compression, "name", f"number {int(compression)}")
        raise ImageError(f"{path}: expected a TIFF in a common compression, but got {name}; save it with deflate.")


def photo_spacing(path: Path) -> dict[str, Spacing]:
    """Return the pixel size of a PNG or JPEG file, where its resolution is finer than that of any print."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            x, y = (float(value) for value in image.info.get("dpi", (0, 0)))
            if image.getexif().get(_ORIENTATION, 1) in ON_ITS_SIDE:
                x, y = y, x
    except (OSError, ValueError, TypeError, SyntaxError):
        return {}
    return spacing_from_inches(1 / y if y else None, 1 / x if x else None)


def upright(pixels: Any, orientation: int, first: int = 0) -> Any:
    """Return pixels as viewers show them, for a value of the tag Orientation of EXIF and TIFF; others change nothing.

    Parameters
    ----------
    first
        The number of the axis of the rows; that of the columns follows.

    Examples
    --------
    >>> upright(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    lead, mirrored = (slice(None),) * first, slice(None, None, -1)
    if orientation in ON_ITS_SIDE:
        pixels = pixels.swapaxes(first, first + 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[(*lead, slice(None), mirrored)]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[(*lead, mirrored)]
    return pixels


def _called(path: Path) -> str:
    """Return which kind of image a file is by how it starts, empty where it is another one."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for begin, name in _STARTS.items() if start.startswith(begin)), "")


def check_opaque(path: Path, labels: NDArray[Any], alpha: NDArray[Any]) -> None:
    """Raise `ImageError` for labels `(H, W)` or `(H, W, C)` of which alpha `(H, W)` says something else.

    Drawing programs keep a colour where nothing was drawn, or draw in black on nothing: alpha alone knows then. Alpha
    that is the same everywhere says nothing.
    """
    shown = labels if labels.ndim == 2 else labels.max(axis=-1)
    hidden = alpha == 0
    if hidden.any() and not hidden.all() and ((shown[hidden] > 0).any() or not shown.any()):
        raise ImageError(
            f"{path}: expected labels in the values of its pixels, but it is transparent where they are not 0, or has "
            "no other values; save it without transparency, on black."
        )


def gray_if_equal(colours: NDArray[Any]) -> NDArray[Any]:
    """Return one channel of `(H, W, 3)` where all three are equal, else all."""
    if (colours == colours[..., :1]).all():
        return np.ascontiguousarray(colours[..., 0])
    return np.ascontiguousarray(colours)


def _pixels(image: ImageFile, path: Path, *, indices: bool) -> NDArray[Any]:
    """Return the pixels of an opened image."""
    mode = image.mode
    if mode in ("P", "PA"):
        if indices:
            return np.array(image.getchannel(0) if mode == "PA" else image)
        return gray_if_equal(np.array(image.convert("RGBA"))[..., :3])
    if mode in ("LA", "La"):
        return np.array(image.getchannel("L"))
    if mode in ("RGBA", "RGBa", "RGBX", "RGB"):
        return _colour(image, path)
    if mode in ("CMYK", "YCbCr"):
        return np.array(image.convert("RGB"))
    if mode == "I" and image.format == "PNG":
        return np.array(image).astype(np.uint16)
    if mode in ("1", "L", "I", "F") or mode.startswith("I;16"):
        step = _GRAY_STEPS.get(str(image.tile[0].args), 1) if indices and image.format == "PNG" and image.tile else 1
        pixels = np.array(image)
        return np.invert(pixels) if indices and _shown_inverted(image) else pixels // step if step > 1 else pixels
    raise ImageError(f"{path}: expected gray or RGB colours, but got {mode}; save it as RGB.")


def _shown_inverted(image: ImageFile) -> bool:
    """Tell whether Pillow inverted the values, as it does for TIFF files in which 0 is white; fax is always so."""
    if image.format != "TIFF" or image.mode not in ("1", "L"):
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    return tags.get(_PHOTOMETRIC) == 0 and tags.get(_COMPRESSION, 1) not in FAX


def _colour(image: ImageFile, path: Path) -> NDArray[Any]:
    """Return the colours of an image, without alpha."""
    if image.format == "TIFF" and max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8:  # type: ignore[attr-defined]
        raise ImageError(
            f"{path}: 16-bit colour in this compression cannot be read; save it uncompressed, or install imagecodecs."
        )
    raw = str(image.tile[0].args) if image.format == "PNG" and image.tile else ""
    colours = np.array(image)
    if raw == "LA;16B":
        # The two bytes of gray and the two of alpha, read as four channels.
        pairs = _png_bytes(path, "RGBA")
        return (pairs[..., 0] << 8) | pairs[..., 1]
    if raw.endswith(";16B"):
        # Pillow keeps the first byte of each value; as little-endian, the first byte is the low one.
        colours = (colours.astype(np.uint16) << 8) | _png_bytes(path, raw.removesuffix("B") + "L")
    return np.ascontiguousarray(colours[..., :3])


def _png_bytes(path: Path, raw: str) -> NDArray[np.uint16]:
    """Return the channels of a PNG file whose bytes are taken to be of the raw mode `raw`."""
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as image:
        image.tile = [image.tile[0]._replace(args=raw)]
        return np.array(image).astype(np.uint16)
