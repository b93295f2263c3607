"""What is timed on a machine, beside what: `make bench` runs `python -m training.benchmarks` (docs/benchmarks.md)."""
