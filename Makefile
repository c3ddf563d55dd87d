# Everything here sets up what it needs by itself, once; `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
NODE_CLIENTS := tests/clients/node
NPM := cd web && $(abspath $(BIN))/python $(abspath .ci)/npm.py
# Locked and hashed: nothing is installed that is not named in requirements/ (and .ci/uv.txt, which the tests' packages come by).
INSTALL := .ci/install $(VENV)
PYTEST_ARGS ?=
WORKERS ?= 2
DEPTH ?= usual
ROUNDS ?= 5
SEED ?= 1
WAREHOUSE ?= duckdb
DELIVERY ?=
LOCK_ARGS ?=
PARTS ?=
DEMO_ARGS ?=

.PHONY: help demo install web api-types test check check-lint check-format check-types check-layers check-pages format pictures bench crash dbt lock setup clean

help:
	@echo "make demo      a server with a simulated month of campaigns in it (DEMO_ARGS=--exit)"
	@echo "make install   only what headrace needs to run, into $(VENV)"
	@echo "make web       build the console's pages anew, where they have changed, and check their types"
	@echo "make api-types write what web/ knows of the API, after it has changed"
	@echo "make test      every test (PYTEST_ARGS='tests/unit -k name' for some; DEPTH=full for more rounds, WORKERS=0 in one process)"
	@echo "make check     lint, formatting, types, layers"
	@echo "make format    write the formatting"
	@echo "make pictures  docs/pictures anew: the pages that the docs show, with demo data, dark and light"
	@echo "make bench     measure, beside nginx on the same machine (PARTS=collector,loads for some of it)"
	@echo "make crash     kill it again and again (ROUNDS=5 SEED=1 WAREHOUSE=postgresql, or DELIVERY=1)"
	@echo "make dbt       dbt itself over the package in deploy/dbt, on both engines (installs it into .venv-dbt)"
	@echo "make lock      write requirements/ from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)"
	@echo "make setup     only install what the above need"
	@echo "make clean     remove what was installed and cached here; never data"

demo: $(VENV)/.run
	@$(BIN)/python hatch_build.py
	$(BIN)/headrace demo $(DEMO_ARGS)

install: $(VENV)/.run

web: check-pages
	@$(BIN)/python hatch_build.py

api-types: $(VENV)/.test web/node_modules/.installed
	@$(BIN)/python -m headrace.console.describing > web/openapi.json
	@$(NPM) run --silent api-types
	@rm web/openapi.json

test: setup
	@$(BIN)/python hatch_build.py
	DEPTH=$(DEPTH) $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal $(PYTEST_ARGS)

check: check-lint check-format check-types check-layers check-pages

check-lint: $(VENV)/.test
	$(BIN)/ruff check

check-format: $(VENV)/.test
	$(BIN)/ruff format --check

check-types: $(VENV)/.test
	$(BIN)/mypy

check-layers: $(VENV)/.test
	$(BIN)/lint-imports

check-pages: $(VENV)/.run web/node_modules/.installed
	$(NPM) run --silent check

dbt: setup
	$(BIN)/python tests/dbt_run.py

format: $(VENV)/.test
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

pictures: setup web
	$(BIN)/python tests/browser/screenshots.py --docs docs/pictures

bench: $(VENV)/.test
	@.ci/debian nginx=nginx-light chromium pg_ctlcluster=postgresql
	$(BIN)/python bench/run.py "$(PARTS)"

crash: $(VENV)/.test
	@.ci/debian strace pg_ctlcluster=postgresql
	$(BIN)/python tests/crash/run.py --rounds $(ROUNDS) --seed $(SEED) --warehouse $(WAREHOUSE) $(if $(DELIVERY),--delivery)

lock: | .venv-lock/bin/uv
	.venv-lock/bin/python .ci/lock.py $(LOCK_ARGS)

setup: $(VENV)/.test $(NODE_CLIENTS)/node_modules/.installed
	@.ci/debian strace chromium-headless-shell zstd pg_ctlcluster=postgresql

clean:
	rm -rf $(VENV) .venv-lock $(NODE_CLIENTS)/node_modules web/node_modules src/headrace/console/static build dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@.ci/venv $(VENV)

$(VENV)/.run: requirements/build.txt requirements/run.txt pyproject.toml hatch_build.py web/package-lock.json | $(BIN)/python
	@echo "installing what headrace needs to run into $(VENV), and building its pages (once)"
	@$(INSTALL) --require-hashes -r requirements/build.txt -r requirements/run.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.uv/.tried: .ci/uv.txt | $(BIN)/python
	@.ci/install $(VENV) --uv
	@mkdir -p $(@D) && touch $@

# uv is first, so that it installs both; `make install` alone does without it.
$(VENV)/.test: $(VENV)/.uv/.tried $(VENV)/.run requirements/test.txt
	@echo "installing what the tests need into $(VENV) (once)"
	@$(INSTALL) --require-hashes -r requirements/test.txt
	@touch $@

$(NODE_CLIENTS)/node_modules/.installed: $(NODE_CLIENTS)/package-lock.json $(NODE_CLIENTS)/.npmrc $(VENV)/.test
	@echo "installing the real SDKs that the tests drive into $(NODE_CLIENTS) (once)"
	@cd $(NODE_CLIENTS) && $(abspath $(BIN))/python $(abspath .ci)/npm.py ci --ignore-scripts --loglevel=error
	@touch $@

web/node_modules/.installed: web/package-lock.json web/.npmrc $(VENV)/.run
	@$(NPM) ci --ignore-scripts --loglevel=error
	@touch $@

.venv-lock/bin/uv:
	@.ci/venv .venv-lock
	@.venv-lock/bin/python -m pip install --disable-pip-version-check --no-input --quiet uv
