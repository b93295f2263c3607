"""What the image side of the network made of an image, laid out for strokes that spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from napari_amvlm.models.inference import EncodedImage


@dataclass(frozen=True)
class FeatureMaps:
    """Maps of one image, or of one part of it; no prompt was involved.

    Attributes
    ----------
    shape
        Height and width of the image (or of the part) at its own size, pixels.
    pixels
        The image at working scale with its padding, float32 `(3, H, W)` in [0, 1].
    content
        Where in `pixels` the image lies: top, left, height, width.
    maps
        Maps of the whole of `pixels` at different resolutions, `(C, h, w)`: the levels of the U-Net's encoder and the
        dense embedding.
    """

    shape: tuple[int, int]
    pixels: Tensor
    content: tuple[int, int, int, int]
    maps: tuple[Tensor, ...]


def feature_maps(encoded: EncodedImage) -> FeatureMaps:
    """Return the maps of an image that was encoded in one piece.

    Raises
    ------
    ImageError
        It was encoded in several tiles, or its features were too large to keep.
    """
    features = encoded.features[0] if len(encoded.features) == 1 else None
    if features is None:
        height, width = encoded.shape
        raise ImageError(
            f"Features of {height}x{width} pixels do not fit into one piece; ask for a smaller part of the image."
        )
    maps = tuple(m[0].float().cpu() for m in (*features.skips, features.dense))
    return FeatureMaps(encoded.shape, encoded.pixels.float().cpu(), encoded.content, maps)
