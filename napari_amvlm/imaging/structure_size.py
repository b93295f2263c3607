"""An estimate of the magnification from the image itself, for files that give no pixel size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ESTIMATE_DOUBT = "such estimates are off by a factor of 1.5, and of 3 on some tissue"
"""What to say beside an estimate; factors are the root mean square of the logarithm."""

_SIDE, _LEAST = 512, 128
_LEVEL = 0.5
_TAUGHT_WIDTH = 6.9 * 0.25
"""Micrometers: the width of structures in stained tissue, geometric mean of 20 tiles of MoNuSeg at 0.25 micrometers."""
_MOST = 8.0
_DARKEST = 0.02


def estimated_magnification(pixels: NDArray[Any], micrometers: float) -> float | None:
    """Estimate at which magnification stained tissue has structures as fine as a model was taught.

    The distance at which the autocorrelation of the optical density falls to one half is a measure of the size of
    nuclei and what lies between them. It differs from organ to organ and from stain to stain: on the six tiles of
    MoNuSeg's validation, part of what it was set by, the estimate is off by a factor of 1.45 (root mean square of the
    logarithm; 1.53 on parts of 256x320 pixels), on the twelve samples of the plugin, whose nuclei are larger and lie in
    clusters, by 3.0: it says 0.35 on average where 1 works. It is to be offered, not to be applied.

    Parameters
    ----------
    pixels
        uint8 colours `(H, W, 3)`; the middle is looked at.
    micrometers
        Of a pixel that the model was taught at.

    Returns
    -------
    float or None
        None for other images, for those that are too small or too even to tell, and for estimates beyond a factor of 8.
    """
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or min(pixels.shape[:2]) < _LEAST:
        return None
    top, left = (max(0, (length - _SIDE) // 2) for length in pixels.shape[:2])
    part = pixels[top : top + _SIDE, left : left + _SIDE].astype(np.float32) / 255
    width = _correlation_width(-np.log(np.maximum(part, _DARKEST)).sum(axis=-1))
    if width is None:
        return None
    factor = _TAUGHT_WIDTH / micrometers / width
    return factor if 1 / _MOST <= factor <= _MOST else None


def _correlation_width(density: NDArray[np.float32]) -> float | None:
    """Return the distance, pixels, at which the autocorrelation falls to one half; None where it does not."""
    from scipy import fft, ndimage

    window = np.outer(*(np.hanning(length) for length in density.shape))
    padded = [2 * length for length in density.shape]
    powers = [np.abs(fft.rfft2(image, padded)) ** 2 for image in ((density - density.mean()) * window, window)]
    correlation, weight = (fft.irfft2(power, padded) for power in powers)
    reach = min(density.shape) // 4
    y, x = np.indices((reach, reach))
    distance = np.rint(np.hypot(y, x)).astype(int)
    mean = correlation[:reach, :reach] / np.maximum(weight[:reach, :reach], 1e-9 * weight[0, 0])
    profile = ndimage.mean(mean, distance, np.arange(reach))
    below = np.flatnonzero(profile < _LEVEL * profile[0])
    if profile[0] <= 1e-6 or not len(below):
        return None
    at = int(below[0])
    return float(at - 1 + (profile[at - 1] - _LEVEL * profile[0]) / (profile[at - 1] - profile[at]))
