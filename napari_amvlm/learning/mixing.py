"""Views that are put together from two crops (CutMix), for the student alone.

A rectangle of one crop is pasted into another, and with it the person's answers and the teacher's pseudo-labels
(CutMix: Yun et al., ICCV 2019; as a strong view of semi-supervised segmentation: French et al., BMVC 2020). What the
student says of a pixel must then not hang on what surrounds it in the labelled images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

_AREA = (0.1, 0.5)
"""Share of a crop that a pasted rectangle takes."""


@dataclass(frozen=True)
class Mixture:
    """What is pasted where, for B crops.

    Attributes
    ----------
    partner
        The crop that each takes its rectangle from, int64 `(B,)`.
    inside
        Bool `(B, 1, H, W)`, True where the partner's pixels are.
    """

    partner: Tensor
    inside: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mixed `(B, C, H, W)`."""
        return torch.where(self.inside, x[self.partner], x)


def draw_mixture(
    meanings: Sequence[str], size: tuple[int, int], probability: float, generator: torch.Generator
) -> Mixture | None:
    """Draw partners and rectangles; None where nothing is mixed.

    Parameters
    ----------
    meanings
        What is asked of each of B crops: only crops that are asked for the same can be mixed, for the answers come
        along.
    size
        Height and width of the crops, pixels.
    probability
        How often a crop gets a rectangle.
    """
    partner = torch.arange(len(meanings))
    inside = torch.zeros(len(meanings), 1, *size, dtype=torch.bool)
    for row, meaning in enumerate(meanings):
        others = [k for k, m in enumerate(meanings) if m == meaning and k != row]
        wanted = float(torch.rand(1, generator=generator)) < probability
        if wanted and others:
            partner[row] = others[int(torch.randint(len(others), (1,), generator=generator))]
            inside[row, 0][_rectangle(size, generator)] = True
    return Mixture(partner, inside) if bool(inside.any()) else None


def _rectangle(size: tuple[int, int], generator: torch.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a rectangle of random area and shape."""
    area, shape, top, left = torch.rand(4, generator=generator).tolist()
    share = _AREA[0] + area * (_AREA[1] - _AREA[0])
    stretch = math.exp((shape - 0.5) * math.log(3.0))
    sides = [min(1.0, math.sqrt(share) * s) for s in (stretch, 1 / stretch)]
    height, width = (max(1, round(side * length)) for side, length in zip(sides, size, strict=True))
    y, x = round(top * (size[0] - height)), round(left * (size[1] - width))
    return slice(y, y + height), slice(x, x + width)
