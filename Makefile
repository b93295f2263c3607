# `make demo` and `make test` are all it takes on a fresh Debian or Ubuntu machine with Python 3.11 or newer.
.PHONY: help setup venv demo test check bench pictures clean
BIN := .venv/bin

help:
	@echo "make demo    the whole loop on sample data; in napari where there is a screen, else under a virtual one"
	@echo "make test    all tests but the slow ones"
	@echo "make check   ruff, mypy, import-linter, manifest"
	@echo "make bench   one table of what is timed on this machine (docs/benchmarks.md); ARGS=\"--only slides\" for a part"
	@echo "make pictures  the pictures of the manual, from the real interface, into docs/pictures"
	@echo "make clean   remove what builds, checks and the demo left behind (.venv stays)"

setup:
	@.ci/setup

venv:
	@.ci/setup venv

demo: setup
	$(BIN)/napari-amvlm demo

test: setup
	OMP_NUM_THREADS=1 .ci/display $(BIN)/python -m pytest -n 2 --dist loadgroup

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate napari.yaml

bench: setup
	$(BIN)/python -m training.benchmarks $(ARGS)

pictures: setup
	.ci/display $(BIN)/python -m tests._qt.manual_pictures docs/pictures

clean:
	rm -rf build dist demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find napari_amvlm training tests -name __pycache__ -type d -prune -exec rm -rf {} +
