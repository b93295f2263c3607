"""What is timed on a machine, and beside what: `make bench` runs `python -m training.benchmarks` (docs/benchmarks.md)."""
