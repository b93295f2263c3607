"""Small pictures of a project's images, made in a thread.  Knows no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import AmvlmError
from napari_amvlm.imaging import to_rgb01

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_amvlm.project import Project

SIDE = 64
"""Longer side of a thumbnail, pixels."""


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return a small picture, uint8 (h, w, 3), of an image (H, W) or (H, W, 3): the means of blocks of pixels."""
    step = -(-max(image.shape[:2]) // SIDE)
    down, across = (min(step, side) for side in image.shape[:2])
    height, width = image.shape[0] // down, image.shape[1] // across
    blocks = to_rgb01(image)[: height * down, : width * across].reshape(height, down, width, across, 3)
    return np.asarray((255 * blocks.mean(axis=(1, 3))).round(), dtype=np.uint8)


def thumbnails(project: Project, image_ids: Iterable[int]) -> dict[int, np.ndarray]:
    """Return the thumbnails of images; one that cannot be read is an empty gray square."""
    pictures: dict[int, np.ndarray] = {}
    for image_id in image_ids:
        try:
            pictures[image_id] = thumbnail(project.images.load(project.images.get(image_id)))
        except AmvlmError:
            pictures[image_id] = np.full((SIDE, SIDE, 3), 110, np.uint8)
    return pictures
