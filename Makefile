# `make help` lists the targets; each works in a fresh clone.

PYTHON ?= python3
# More than a small machine has cores: most tests wait for a server.
JOBS ?= 3
SECONDS ?= 600
SEED ?= 1
RUNS ?= 100000
BIN := .venv/bin
LOCKED := .venv/.locked
INSTALLED := .venv/.installed
SOURCES = $(wildcard agent collector tests grafana docs)
COMPILE = pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	--python-version 3.11 --all-extras

.PHONY: help demo test check bench verify chaos fuzz tools tools-test lock audit clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    a site with simulated nodes, until Ctrl-C (ARGS="--for 20s": for so long)'
	@echo 'make test    all tests but the long ones (ARGS="tests/e2e": only those)'
	@echo 'make check   linter, formatter and types'
	@echo 'make verify  the long tests'
	@echo 'make bench   the benchmarks (QUICK=1: a short run)'
	@echo 'make chaos   faults drawn from a seed, and the ledger against the truth (SECONDS=40 SEED=7)'
	@echo 'make fuzz    made-up bytes for all that reads bytes (RUNS=1000000 TARGET=wire SEED=7)'
	@echo 'make tools   the servers that tests and benchmarks start, once per machine'
	@echo 'make lock    requirements.lock from pyproject.toml (ARGS=--upgrade: to newer versions)'
	@echo 'make audit   known vulnerabilities of the locked packages, or why nobody could be asked'
	@echo 'make clean   removes what the other targets made in this folder'

demo: $(INSTALLED)
	$(BIN)/meterhouse-collector demo $(ARGS)

test: $(INSTALLED) tools-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(SOURCES)

verify: $(INSTALLED) tools-test
	$(BIN)/python -m pytest -m verify --timeout 3600 $(ARGS)

bench: $(INSTALLED) tools
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(ARGS)

chaos: $(INSTALLED) tools-test
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED) $(ARGS)

fuzz: $(INSTALLED)
	@$(BIN)/python -m tests.fuzz --runs $(RUNS) --seed $(SEED) $(if $(TARGET),--target $(TARGET))

tools: tools-test
	@tests/tools/telegraf.sh
	@PYTHON='$(PYTHON)' tests/tools/nvitop.sh

tools-test:
	@tests/tools/debian.sh
	@tests/tools/influxd.sh

lock:
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/uv/bin/uv $(COMPILE) $(ARGS) pyproject.toml -o requirements.lock

audit:
	@PYTHON='$(PYTHON)' tests/tools/audit.sh

$(LOCKED): requirements.lock
	@PYTHON='$(PYTHON)' tests/tools/venv.sh
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +
