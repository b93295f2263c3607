"""Fits the head that tells touching objects apart, on weights that stay as they are."""
