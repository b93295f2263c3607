"""Accepted masks in the formats of other programs (`exports.formats` lists them). Neither torch nor Qt."""

from napari_amvlm.exports.annotated import LEFT_OUT, AnnotatedImage, annotated_images, count_left_out
from napari_amvlm.exports.coco import export_coco
from napari_amvlm.exports.formats import ExportOptions, FormatName, export_as
from napari_amvlm.exports.geojson import export_geojson
from napari_amvlm.exports.labels import export_labels

__all__ = [
    "LEFT_OUT",
    "AnnotatedImage",
    "ExportOptions",
    "FormatName",
    "annotated_images",
    "count_left_out",
    "export_as",
    "export_coco",
    "export_geojson",
    "export_labels",
]
