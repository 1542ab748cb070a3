# headstream: every target sets up what it needs by itself.
SERVICES ?= embedded
SEGY ?=
ARGS ?=
# Test processes, each with a Kafka and a Blazegraph of its own: most of a test's time is waiting.
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
# The first interpreter on the path that the project supports; PYTHON=... overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

.PHONY: help setup demo test test-faults check format clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(VENV)/.ready ## Make the virtual environment from pinned constraints

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "headstream needs Python 3.11, 3.12 or 3.13; install one, or say PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# Apart: it wants an older rich than we do, for a command of its own that no test calls.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps roc-validator
	@touch $@

demo: setup ## Run the seismic use case and answer Q1 to Q6 (SERVICES=embedded|full, SEGY=FILE)
	$(BIN)/headstream demo --services $(SERVICES) $(if $(SEGY),--segy "$(SEGY)") $(ARGS)

test: setup ## Run the whole suite, real Kafka and Blazegraph included (ARGS="-k name")
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --durations 40 $(ARGS)

test-faults: setup ## Kill workers, sinks and the broker under load, full size (ARGS="-k broker --seed 7", or --lf)
	$(BIN)/pytest tests/faults --full -s -v $(ARGS)

check: setup ## Lint, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
