"""Tables of objects and images: counts, sizes, shapes and intensities, in pixels and in physical units."""

from napari_amvlm.measure.objects import MaskedImage, measure_image
from napari_amvlm.measure.report import write_report
from napari_amvlm.measure.sources import masks_in_folder, masks_in_project
from napari_amvlm.measure.tables import Tables, measure, write_plot, write_tables

__all__ = [
    "MaskedImage",
    "Tables",
    "masks_in_folder",
    "masks_in_project",
    "measure",
    "measure_image",
    "write_plot",
    "write_report",
    "write_tables",
]
