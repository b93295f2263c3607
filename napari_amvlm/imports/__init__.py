"""Masks of other programs as corrections of a project, of label images and JSON and XML. Neither torch nor Qt."""

from napari_amvlm.imports.importing import ImportReport, import_files

__all__ = ["ImportReport", "import_files"]
