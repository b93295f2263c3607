"""Recipes that build the released weights, and benchmarks; not installed. Run them as `python -m training.NAME`."""
