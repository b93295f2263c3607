"""How much two pixels have to do with one another: the covariance of the Gaussian process.

    k(x, x') = (1 - a) exp(-|f - f'|^2 / 2 l_f^2 - |c - c'|^2 / 2 l_c^2 - |x - x'|^2 / 2 l_x^2)
               + a exp(-|g - g'|^2 / 2 l_g^2 - |x - x'|^2 / 2 l_r^2)

f are principal components of the network's maps, c is colour and g appearance, see `descriptors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch

from napari_amvlm.byte_cache import ByteCache

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_amvlm.config import ScaleName
    from napari_amvlm.strokes.descriptors import Descriptors

Reach = Literal["near", "whole"]
"""How far a stroke reaches: to what looks alike near it, or also to what looks alike anywhere in the image."""

_FEATURE, _COLOUR = 0.5, 0.5
"""Length scales l_f and l_c."""

_DISTANCE = 50.0
"""Length scale l_x, pixels at working scale."""


class _Setting(NamedTuple):
    """What depends on how far strokes reach.

    Attributes
    ----------
    share
        Share a of the appearance.
    appearance
        Length scale l_g.
    distance
        Length scale l_r, pixels at working scale.
    scatter
        Variance that the pixels of one stroke have in common: in tissue one stroke is one opinion of many objects.
    """

    share: float
    appearance: float
    distance: float
    scatter: float


_NEAR = _Setting(0.25, 0.3, 60.0, 0.0)
_WHOLE = _Setting(0.15, 0.3, float("inf"), 0.0)
_NEAR_TISSUE = _Setting(0.0, 0.5, 60.0, 0.0)
_TISSUE = _Setting(0.15, 0.5, float("inf"), 0.5)

_BYTES = 512 << 20
"""Columns beyond this size are computed again when they are needed."""


class Kernel:
    """The covariance of all N pixels of a grid with some of them; columns that were computed are kept.

    Attributes
    ----------
    scatter
        Variance that the pixels of one stroke have in common.
    """

    def __init__(self, descriptors: Descriptors, reach: Reach, scale: ScaleName) -> None:
        close, far = (_NEAR, _WHOLE) if scale == "whole" else (_NEAR_TISSUE, _TISSUE)
        setting = close if reach == "near" else far
        self.scatter = setting.scatter
        place = torch.from_numpy(np.indices(descriptors.size, np.float32).reshape(2, -1).T * 2)
        near = (descriptors.components / _FEATURE, descriptors.colour / _COLOUR, place / _DISTANCE)
        alike = (descriptors.appearance / setting.appearance, place / setting.distance)
        terms = ((1 - setting.share, near), (setting.share, alike))
        self._terms = [(share, *_with_squares(parts)) for share, parts in terms if share]
        self._columns: ByteCache[Tensor] = ByteCache(_BYTES)

    def columns(self, pixels: NDArray[np.int64]) -> Tensor:
        """Return k(x, x') of all pixels x and of the given x', float32 `(N, M)`."""
        return self._columns.get_or_make(pixels.tobytes(), lambda: self._computed(torch.from_numpy(pixels)))

    def _computed(self, pixels: Tensor) -> Tensor:
        total: Tensor | None = None
        for share, values, squares in self._terms:
            # exp(v.v' - |v|^2 / 2 - |v'|^2 / 2), in place: this is where the time goes
            product = torch.addmm(squares[pixels][None], values, values[pixels].T)
            term = product.add_(squares[:, None]).clamp_max_(0).exp_().mul_(share)
            total = term if total is None else total.add_(term)
        assert total is not None
        return total


def _with_squares(parts: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return descriptors side by side, `(N, D)`, and minus half of their squared lengths, `(N,)`."""
    values = torch.cat(parts, 1)
    return values, -0.5 * (values**2).sum(1)
