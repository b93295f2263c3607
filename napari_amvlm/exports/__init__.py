"""Accepted masks in the formats of other programs: label images, COCO, GeoJSON. Neither torch nor Qt."""

from napari_amvlm.exports.annotated import LEFT_OUT, AnnotatedImage, annotated_images
from napari_amvlm.exports.coco import export_coco
from napari_amvlm.exports.geojson import export_geojson
from napari_amvlm.exports.labels import export_labels

__all__ = ["LEFT_OUT", "AnnotatedImage", "annotated_images", "export_coco", "export_geojson", "export_labels"]
