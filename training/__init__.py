"""Recipes that build the released weights and benchmarks that measure them; not installed. Run them as `python -m training.NAME`."""
