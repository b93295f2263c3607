"""PNG and JPEG files, and TIFF files in compressions that only Pillow knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.limits import MAX_PIXELS, check_size

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

LOSSY = b"\xff\xd8"
"""How the files start whose values are not kept exactly: JPEG."""

_FORMATS = ("PNG", "JPEG", "TIFF")
_BITS_PER_SAMPLE = 258


def decode_with_pillow(path: Path, *, indices: bool) -> NDArray[Any]:
    """Return the pixels of a file, without alpha; with `indices` those of a palette image are its indices.

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
            return _pixels(image, path, indices=indices)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: expected a PNG, JPEG or TIFF image, but it is none; save it as one.") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS) // 10**6
        raise ImageError(
            f"{path}: expected at most {limit} million pixels in such a file, but it has more; "
            "cut it into smaller images or save it as an uncompressed TIFF."
        ) from error


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
        return np.ascontiguousarray(_colour(image, path)[..., :3])
    if mode in ("CMYK", "YCbCr"):
        return np.array(image.convert("RGB"))
    if mode == "I" and image.format == "PNG":
        return np.array(image).astype(np.uint16)
    if mode in ("1", "L", "I", "F") or mode.startswith("I;16"):
        return np.array(image)
    raise ImageError(f"{path}: expected gray or RGB colours, but got {mode}; save it as RGB.")


def _colour(image: ImageFile, path: Path) -> NDArray[Any]:
    """Return the channels of a colour image; 16-bit PNG in two passes, for Pillow keeps one byte of each value."""
    from PIL import Image

    if image.format == "TIFF" and max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8:  # type: ignore[attr-defined]
        raise ImageError(
            f"{path}: 16-bit colour in this compression cannot be read; save it uncompressed, or install imagecodecs."
        )
    raw = str(image.tile[0].args) if image.format == "PNG" and image.tile else ""
    if not raw.endswith(";16B"):
        return np.array(image)
    high = np.array(image).astype(np.uint16)
    with Image.open(path, formats=("PNG",)) as again:
        # Read as little-endian, the byte that is kept is the other one.
        again.tile = [again.tile[0]._replace(args=raw.removesuffix("B") + "L")]
        return np.asarray((high << 8) | np.array(again))
