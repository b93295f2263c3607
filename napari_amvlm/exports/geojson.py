"""GeoJSON as QuPath reads it: one file per image, every connected piece of a mask a polygon with its holes."""

from __future__ import annotations

import colorsys
import json
from typing import TYPE_CHECKING, Any

from napari_amvlm.exports.annotated import annotated_images, project_prompts, remarks
from napari_amvlm.exports.label_files import write_text
from napari_amvlm.exports.outlines import outline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.project import Project

_GOLDEN_ANGLE = 0.381966


def export_geojson(project: Project, root: Path) -> list[str]:
    """Write `STEM.geojson` into the folder `root` for every accepted image; coordinates are pixels.

    Returns
    -------
    list of str
        What a reader should know about single images.

    Raises
    ------
    DatasetError
        Nothing has been accepted.
    StorageError
        The disk refused.
    """
    prompts = project_prompts(project)
    found: list[str] = []
    for image in annotated_images(project):
        collection = {"type": "FeatureCollection", "features": list(_features(image, prompts))}
        write_text(root / f"{image.stem}.geojson", json.dumps(collection))
        found.extend(remarks(image, prompts))
    return found


def _features(image: AnnotatedImage, prompts: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield one feature for every connected piece of every mask."""
    from skimage.measure import label, regionprops

    for prompt, mask in image.masks.items():
        classification = {"name": prompt, "color": _colour(prompts.index(prompt))}
        for piece in regionprops(label(mask, connectivity=1)):
            top, left = piece.bbox[:2]
            rings = [[[x + left, y + top] for x, y in ring] for ring in outline(piece.image)]
            yield {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": rings},
                "properties": {"objectType": "annotation", "classification": classification},
            }


def _colour(index: int) -> list[int]:
    """Return a bright colour, 0 to 255, that differs well from those of the neighbouring indices."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_ANGLE % 1.0, 0.8, 0.9)
    return [round(255 * part) for part in (red, green, blue)]
