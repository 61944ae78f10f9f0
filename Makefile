# Everything a fresh machine with Python 3.11+ needs, in two commands: make demo, make test.
# uv users: `uv run runner demo` and `uv run pytest` do the same.

PYTHON ?= python3
VENV   := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: help demo test lint types unit soak bench lock clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.ready ## the main job, on the simulator in the box: no key, no network
	$(BIN)/runner demo

test: lint types unit ## what CI runs

lint: $(VENV)/.ready-dev ## style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.ready-dev ## types
	$(BIN)/mypy

unit: $(VENV)/.ready-dev ## tests
	$(BIN)/python -m pytest -q -m "not soak"

soak: $(VENV)/.ready-dev ## the crash and simulation tests, larger
	$(BIN)/python -m pytest -q -m soak

bench: $(VENV)/.ready-dev ## speed, as ratios to floors taken in the same run
	$(BIN)/python -m tests.benchmarks

lock: $(VENV)/.ready-dev ## pin the newest allowed releases, with hashes
	$(BIN)/python -m pip install -q uv
	$(COMPILE) --group build -o requirements.lock
	$(COMPILE) --group build --group dev -o requirements-dev.lock

COMPILE = $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate pyproject.toml

# An environment of the project's own. The package itself is linked, so an edit needs no new install.
$(VENV)/.ready: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

clean: ## remove what was built, not what was bought
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
