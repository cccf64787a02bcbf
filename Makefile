# The few verbs of this project; CI runs `lint` and `test`. `make` alone tells what there is.
# They need Python 3.11 or newer and nothing else: the first one makes a virtual environment in .venv from the lock
# file (with uv where it is installed, else with venv and pip).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPOSE := docker compose -f deploy/compose.yaml
IMAGE_LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet \
	--constraint requirements.lock
ARGS ?=
COVERING := $(filter-out %/test_promises.py %/test_permutations.py,$(sort $(wildcard tests/core/test_*.py)))
ALONE := tests/kafka tests/benchmarks
.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-fast coverage promises mutants chaos simulate bench lint format pictures lock clean up down \
	deploy-check manifests

help: ## Tell what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="..." is handed on, for example: make demo ARGS="--headless --duration 30"'

demo: $(READY) ## See it work: real Kafka, simulated Axle, traffic, and a charger service that checks us
	@$(BIN)/axle-processor demo $(ARGS)

test: $(READY) ## All tests, on a real broker that they start themselves
	@$(if $(ARGS),$(BIN)/pytest $(ARGS),$(MAKE) --no-print-directory test-all)

# What `coverage` runs anyway is not run twice. Tests that tell times, or that need the machine's cores for what they
# start, have it to themselves; all others are run two at a time.
test-all: $(READY)
	@$(BIN)/pytest -n 2 --dist loadfile $(ALONE:%=--ignore=%) $(COVERING:%=--ignore=%)
	@$(BIN)/pytest $(ALONE)
	@$(MAKE) --no-print-directory coverage

test-fast: $(READY) ## Only the tests that need no broker
	@$(BIN)/pytest -m "not kafka" $(ARGS)

coverage: $(READY) ## That the core's own tests run every line and branch of it
	@$(BIN)/pytest -q --no-header $(COVERING) \
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
	@$(BIN)/python docs/contract.py --check
	@$(BIN)/python deploy/generate.py --check
	@$(BIN)/python deploy/grafana/build.py --check

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
	@uv pip compile pyproject.toml --extra fast --extra otel --extra registry $(IMAGE_LOCK) --output-file deploy/requirements.lock
	@echo hatchling | uv pip compile - $(IMAGE_LOCK) --output-file deploy/build.lock

up: ## All of it in Docker: Kafka, registry, simulator, processor, traffic, Prometheus, Grafana
	@$(COMPOSE) up --build --detach --wait traffic grafana
	@echo "the processor's page: http://127.0.0.1:8080   Grafana: http://127.0.0.1:3000   to end it: make down"

down: ## End what `make up` began, and remove all that it kept
	@$(COMPOSE) down --volumes --remove-orphans

deploy-check: $(READY) ## The image, the chart and the compose file for real, with the tools that are installed
	@DEPLOY_CHECK=1 $(BIN)/pytest tests/deploy -rs $(ARGS)

manifests: $(READY) ## Render the chart into deploy/kubernetes (needs helm)
	@$(BIN)/python deploy/generate.py
	@$(BIN)/python deploy/render.py

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
