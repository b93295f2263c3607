"""What strokes spread on: the descriptors of planes, made in a thread, and the last few of them kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.predict.plane_thread import content_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.review.followed import Box, Stroke
    from napari_amvlm.strokes import Descriptors

    Limits = Callable[[], tuple[float, float] | None]

_KEPT = 3


@dataclass(frozen=True)
class Plane:
    """A plane, or a slice of a stack, and how a prompt is looked at on it."""

    image: Image
    place: tuple[int, ...]
    limits: Limits
    prompt: str
    settings: ScaleSettings


class Ground:
    """Descriptors of the planes that were painted on last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Descriptors] = OrderedDict()

    def describe(self, predictor: Predictor, plane: Plane, stroke: Stroke) -> tuple[Box | None, Descriptors]:
        """Return the part of a plane in which a stroke spreads, and its descriptors; for a thread.

        Raises
        ------
        ImageError
            The image cannot be used.
        OutOfMemoryError
            The device has not enough memory.
        """
        from napari_amvlm.review.followed import part_around
        from napari_amvlm.strokes import describe

        array = label_layers.pixels(plane.image, plane.place)
        limits, settings, model = plane.limits() if plane.place else None, plane.settings, predictor.model
        shape = (array.shape[0], array.shape[1])
        gray = array.ndim == 2 or bool(np.array_equal(array[..., 0], array[..., 1]))
        scale = predictor.scale_for(
            plane.prompt, shape, scale=settings.scale, gray=gray, magnification=settings.magnification
        )
        box = part_around(stroke, shape, scale, 2 * model.config.tile)
        pixels = (content_key(array), limits)
        key = (model, pixels, scale, box)
        if key not in self._kept:
            features = predictor.features(
                plane.prompt,
                scale=settings.scale,
                magnification=settings.magnification,
                box=box,
                image=array,
                key=pixels,
                limits=limits,
            )
            self._kept[key] = describe(features)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return box, self._kept[key]
