"""From files to what the network takes: reading, values in [0, 1], working scale, tiles, data folders, objects."""

from __future__ import annotations

from napari_amvlm.imaging.channels import choose_channel
from napari_amvlm.imaging.copies import Copies
from napari_amvlm.imaging.folder import DataFolder, ImagePair, binary_mask, read_folder
from napari_amvlm.imaging.formats.kinds import image_kind
from napari_amvlm.imaging.formats.ome_zarr import is_zarr
from napari_amvlm.imaging.image_data import ImageData, image_name
from napari_amvlm.imaging.instances import bounded_numbers, split_instances
from napari_amvlm.imaging.planes import Plane, from_file_axes, in_plane, plane_of, to_file_axes
from napari_amvlm.imaging.reading import file_spacing, open_images, open_labels, read_image, read_mask, read_reviewed
from napari_amvlm.imaging.scale import (
    WorkingScale,
    magnification_by_size,
    magnification_by_spacing,
    resize,
    tile_scale,
    whole_scale,
)
from napari_amvlm.imaging.slide_key import slide_key
from napari_amvlm.imaging.sources import ImageSource, find_sources, passed_over
from napari_amvlm.imaging.tiles import Tile, blend_window, tile_grid
from napari_amvlm.imaging.values import MIN_SIDE, count_nonfinite, is_gray, to_rgb01, value_limits
from napari_amvlm.imaging.whole_masks import answered_masks

__all__ = [
    "MIN_SIDE",
    "Copies",
    "DataFolder",
    "ImageData",
    "ImagePair",
    "ImageSource",
    "Plane",
    "Tile",
    "WorkingScale",
    "answered_masks",
    "binary_mask",
    "blend_window",
    "bounded_numbers",
    "choose_channel",
    "count_nonfinite",
    "file_spacing",
    "find_sources",
    "from_file_axes",
    "image_kind",
    "image_name",
    "in_plane",
    "is_gray",
    "is_zarr",
    "magnification_by_size",
    "magnification_by_spacing",
    "open_images",
    "open_labels",
    "passed_over",
    "plane_of",
    "read_folder",
    "read_image",
    "read_mask",
    "read_reviewed",
    "resize",
    "slide_key",
    "split_instances",
    "tile_grid",
    "tile_scale",
    "to_file_axes",
    "to_rgb01",
    "value_limits",
    "whole_scale",
]
