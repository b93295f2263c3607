"""Timings, run by hand; `make bench` runs `python -m training.benchmarks.prompt_latency`."""
