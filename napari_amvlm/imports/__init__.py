"""Masks of other programs as corrections of a project: label images, COCO, GeoJSON. Neither torch nor Qt."""

from napari_amvlm.imports.importing import ImportReport, import_files

__all__ = ["ImportReport", "import_files"]
