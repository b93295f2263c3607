"""What a person decides about masks, as pure functions: states of pixels, objects, locks, overlaps of classes."""

from napari_amvlm.review.locks import apply_prediction, locked_pixels, set_locked, visible_objects
from napari_amvlm.review.objects import (
    connected_objects,
    merge_objects,
    relabel,
    replace_region,
    split_at_line,
    split_by_probability,
)
from napari_amvlm.review.overlaps import OverlapRule, compose_classes, disputed_pixels
from napari_amvlm.review.states import PixelState, carry_states, pixel_states

__all__ = [
    "OverlapRule",
    "PixelState",
    "apply_prediction",
    "carry_states",
    "compose_classes",
    "connected_objects",
    "disputed_pixels",
    "locked_pixels",
    "merge_objects",
    "pixel_states",
    "relabel",
    "replace_region",
    "set_locked",
    "split_at_line",
    "split_by_probability",
    "visible_objects",
]
