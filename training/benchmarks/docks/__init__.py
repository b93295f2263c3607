"""Benchmarks of the real window: only these know the docks."""
