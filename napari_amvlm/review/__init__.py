"""What a person decides about masks, as pure functions: states of pixels, objects, locks, overlaps of classes."""

from napari_amvlm.review.locks import locked_pixels, set_locked, visible_objects
from napari_amvlm.review.objects import (
    connected_objects,
    keep_numbers,
    merge_objects,
    relabel,
    replace_region,
    separate_pieces,
    split_at_line,
    split_by_probability,
    taken_objects,
)
from napari_amvlm.review.overlaps import OverlapRule, compose_classes, disputed_pixels
from napari_amvlm.review.states import PixelState, carry_states, pixel_states

__all__ = [
    "OverlapRule",
    "PixelState",
    "carry_states",
    "compose_classes",
    "connected_objects",
    "disputed_pixels",
    "keep_numbers",
    "locked_pixels",
    "merge_objects",
    "pixel_states",
    "relabel",
    "replace_region",
    "separate_pieces",
    "set_locked",
    "split_at_line",
    "split_by_probability",
    "taken_objects",
    "visible_objects",
]
