"""Timings, run by hand: `python -m training.benchmarks.prompt_latency`."""
