# `make demo` and `make test` are all it takes on a fresh Debian or Ubuntu machine with Python 3.11 or newer.
.PHONY: help setup venv demo test coverage check docs bench pictures clean
BIN := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)
PYTEST := OMP_NUM_THREADS=1 .ci/display $(BIN)/python -m pytest -n 2 --dist worksteal

help:
	@echo "make demo      the whole loop on sample data: in napari where there is a screen, else under a virtual one"
	@echo "make test      all tests but the slow ones"
	@echo "make coverage  the same, with the share of lines and branches that they reach (coverage.xml)"
	@echo "make check     ruff, formatting, mypy, import-linter, manifest"
	@echo "make docs      the manual as a site in build/site; warnings and broken links are errors"
	@echo "make bench     one table of what is timed on this machine (docs/benchmarks.md); ARGS=\"--only slides\" for a part"
	@echo "make pictures  the pictures of the manual, from the real interface, into docs/pictures"
	@echo "make clean     remove what builds, checks and the demo left behind (.venv stays)"

setup:
	@.ci/setup

venv:
	@.ci/setup venv

demo: setup
	$(BIN)/napari-amvlm demo

test: setup
	$(PYTEST)

coverage: setup
	$(PYTEST) --cov --cov-report=xml --cov-report=term:skip-covered

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate napari.yaml

docs: venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --site-dir build/site

bench: setup
	$(BIN)/python -m training.benchmarks $(ARGS)

pictures: setup
	.ci/display $(BIN)/python -m tests._qt.manual_pictures docs/pictures

clean:
	rm -rf build dist demo coverage.xml .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find napari_amvlm training tests -name __pycache__ -type d -prune -exec rm -rf {} +
