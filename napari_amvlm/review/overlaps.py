"""Several classes on one image: which one a pixel has that several masks claim."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class OverlapRule(StrEnum):
    """Who wins a pixel that several masks claim."""

    SMALLEST = "smallest"
    """The smallest mask, so that a part ("left lung") is not lost in its whole ("lungs")."""
    PRIORITY = "priority"
    """The prompt that comes first in the project's order."""


@dataclass(frozen=True)
class Overlaps:
    """Who wins a pixel that several prompts claim; `order` has the prompts from the one that wins on."""

    rule: OverlapRule = OverlapRule.SMALLEST
    order: tuple[str, ...] = ()


def compose_classes(
    masks: Mapping[str, NDArray[np.bool_]],
    values: Mapping[str, int],
    *,
    rule: OverlapRule = OverlapRule.SMALLEST,
    order: Sequence[str] = (),
) -> NDArray[Any]:
    """Return one label image `(H, W)` of several masks, in the smallest unsigned type that holds the values.

    Parameters
    ----------
    masks
        For each prompt a mask `(H, W)`; at least one.
    values
        The label value of each prompt, above 0.
    order
        Prompts from the one that wins to the one that loses, for `OverlapRule.PRIORITY`; prompts that are not in it
        lose to those that are.

    Raises
    ------
    LabelsError
        No mask was given, or their shapes differ.

    Examples
    --------
    >>> lungs, left = np.array([[True, True, False]]), np.array([[False, True, False]])
    >>> compose_classes({"left lung": left, "lungs": lungs}, {"lungs": 1, "left lung": 2})
    array([[1, 2, 0]], dtype=uint8)
    >>> compose_classes({"left lung": left, "lungs": lungs}, {"lungs": 1, "left lung": 2},
    ...                 rule=OverlapRule.PRIORITY, order=["lungs", "left lung"])
    array([[1, 1, 0]], dtype=uint8)
    """
    shape = _one_shape(masks)
    labels = np.zeros(shape, np.min_scalar_type(max(values.values())))
    for prompt in _painting_order(masks, rule, order):
        labels[masks[prompt]] = values[prompt]
    return labels


def disputed_pixels(masks: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return the pixels that more than one mask claims, bool `(H, W)`."""
    claims = np.zeros(_one_shape(masks), np.uint16)
    for mask in masks.values():
        claims += mask
    return claims > 1


def _one_shape(masks: Mapping[str, NDArray[np.bool_]]) -> tuple[int, ...]:
    shapes = {mask.shape for mask in masks.values()}
    if len(shapes) != 1:
        raise LabelsError(f"the masks of one image must have one shape, but have {sorted(shapes)}: check the image.")
    return shapes.pop()


def _painting_order(masks: Mapping[str, NDArray[np.bool_]], rule: OverlapRule, order: Sequence[str]) -> list[str]:
    """Return the prompts from the one that loses to the one that wins."""
    if rule is OverlapRule.SMALLEST:
        return sorted(masks, key=lambda prompt: -np.count_nonzero(masks[prompt]))
    rank = {prompt: number for number, prompt in enumerate(order)}
    return sorted(masks, key=lambda prompt: -rank.get(prompt, len(order)))
