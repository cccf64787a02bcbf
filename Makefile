# The few verbs of this project; CI runs `lint` and `test`. `make` alone tells what there is.
# They need Python 3.11 or newer and nothing else: the first one makes a virtual environment in .venv from the lock
# file (with uv where it is installed, else with venv and pip).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast coverage promises mutants chaos simulate bench lint format pictures lock clean

help: ## Tell what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="..." is handed on, for example: make demo ARGS="--headless --duration 30"'

demo: $(READY) ## See it work: real Kafka, simulated Axle, traffic, and a charger service that checks us
	@$(BIN)/axle-processor demo $(ARGS)

test: $(READY) ## All tests, on a real broker that they start themselves
	@$(BIN)/pytest $(ARGS)
	@$(if $(ARGS),:,$(MAKE) --no-print-directory coverage)

test-fast: $(READY) ## Only the tests that need no broker
	@$(BIN)/pytest -m "not kafka" $(ARGS)

coverage: $(READY) ## That the core's own tests run every line and branch of it
	@$(BIN)/pytest -q --no-header tests/core --ignore=tests/core/test_promises.py --ignore=tests/core/test_permutations.py \
		--cov=processor.core --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

promises: $(READY) ## The promises under 5,000 random lives of 50 events each: about five minutes
	@HYPOTHESIS_PROFILE=long $(BIN)/pytest tests/core/test_promises.py $(ARGS)

mutants: $(READY) ## Break the core in 3,000 ways and see which of them the tests notice: about an hour
	@$(BIN)/python -m tests.mutants $(ARGS)

chaos: $(READY) ## Kills, zombies, storms, late commits: what was lost (about 1.5 hours; ARGS="--short": 8 min)
	@$(BIN)/python -m tests.chaos $(ARGS)

simulate: $(READY) ## Half an hour without Axle, on virtual time: who is called afterwards, in which order, how fast
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation $(ARGS)

bench: $(READY) ## How fast, beside yardsticks of the same run; needs Go (about 25 minutes; ARGS="--short": 5)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

lint: $(READY) ## Style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "some files are not formatted: make format"; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/reference.py --check
	@$(BIN)/python docs/table.py --check

format: $(READY) ## Put the code into shape
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

pictures: $(READY) ## Draw the pictures of the documentation anew
	@$(BIN)/python docs/pictures/timeline.py
	@$(BIN)/python -m docs.stories.draw
	@$(BIN)/python docs/table.py

lock: ## Pin all dependencies anew (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	@uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --quiet --upgrade --output-file requirements.lock

clean: ## Remove the virtual environment and all caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache .coverage

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; name yours: make PYTHON=python3.12 ..."; exit 1; }
	@echo "making $(VENV) from requirements.lock: once, about a minute" >&2
	@if command -v uv >/dev/null; then \
		uv venv --quiet --clear --python $(PYTHON) $(VENV) && \
		uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock && \
		uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .; \
	else \
		$(PYTHON) -m venv --clear $(VENV) && \
		$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock && \
		$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $(READY)
