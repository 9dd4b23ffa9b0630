# f2yaml: `make demo` runs the main job, `make test` the tests; both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
SHELL := /bin/bash
# Files of tests are spread over processes; those of a file share what it makes once.
SPREAD := -n $(JOBS) --dist loadfile --durations=20
COVERAGE := --cov --cov-report=term:skip-covered --cov-fail-under=90

.PHONY: demo test test-all test-oldest lint types docs kernels clean benchmark

$(BIN)/f2yaml: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("f2yaml needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(BIN)/f2yaml
	PATH="$(CURDIR)/$(BIN):$$PATH" bash benchmarks/demo.sh demo

lint: $(BIN)/f2yaml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(BIN)/f2yaml
	$(BIN)/mypy -p f2yaml

kernels: $(BIN)/f2yaml
	$(BIN)/f2yaml compile

test: lint types
	$(BIN)/f2yaml validate recipes/*.yaml recipes/*/*.yaml
	$(BIN)/python benchmarks/speed.py --quick
	$(BIN)/python -m pytest $(SPREAD) -m 'not full'

test-all: lint types
	$(BIN)/f2yaml validate recipes/*.yaml recipes/*/*.yaml
	F2YAML_TESTS=all $(BIN)/python -m pytest $(SPREAD) $(COVERAGE)

test-oldest:
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c .ci/oldest.txt
	build/oldest/bin/python -m pytest $(SPREAD) -m 'not full'

# The pages of docs/ and the reference, into build/site; warnings are errors.
$(BIN)/mkdocs: $(BIN)/f2yaml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

docs: $(BIN)/mkdocs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -f .ci/mkdocs.yml

benchmark: $(BIN)/f2yaml
	$(BIN)/python benchmarks/truth.py

clean:
	rm -rf build dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
