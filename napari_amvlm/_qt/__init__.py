"""Dock widgets for napari: the only code of this package that touches `viewer.layers`."""
