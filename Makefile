# What a newcomer, a contributor and CI run. Needs a Python 3.11 or later with venv, nothing else.
#
#   make run          the gateway with a demo behind it, and a tour to paste
#   make test         all tests
#   make check        format, lint, types, layers
#   make chaos        200 processes killed and stopped during releases under load, about 6 minutes
#   make bench        the figures of docs/performance.md, about 20 minutes
#   make bench-quick  CPU per request beside nginx and HAProxy, under a minute
#   make bench-check  has an operation become more expensive? Instructions, about 90 seconds
#   make fuzz         a million mutated messages against h11 and llhttp, about 5 minutes
#   make reliability  the figures of docs/reliability.md, about half an hour
#   make lock         pin the dependencies anew (needs uv)
#
# PYTHON=/path/to/python chooses the interpreter of the virtual environment.

VENV    := .venv
BIN     := $(VENV)/bin
SOURCES := gateway admin tests bench
PIP     := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --require-hashes --only-binary :all:
LOCK    := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
           --no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet

.PHONY: help run test check format chaos bench bench-quick bench-check bench-baseline reliability fuzz lock clean
.DELETE_ON_ERROR:

help:
	@sed -n '3,12s/^# *//p' Makefile

run: $(VENV)/ready
	@exec $(BIN)/python -m gateway demo

test: $(VENV)/ready-dev
	$(BIN)/python -m pytest tests

check: $(VENV)/ready-dev
	$(BIN)/python -m ruff format --check $(SOURCES)
	$(BIN)/python -m ruff check $(SOURCES)
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest tests/test_layers.py

format: $(VENV)/ready-dev
	$(BIN)/python -m ruff format $(SOURCES)
	$(BIN)/python -m ruff check --fix $(SOURCES)

chaos: $(VENV)/ready-dev
	GATEWAY_CHAOS_STRIKES=200 $(BIN)/python -m pytest tests/e2e/test_chaos.py tests/e2e/test_release_kills.py

bench: $(VENV)/ready-dev
	$(BIN)/python -m bench --install

bench-quick: $(VENV)/ready-dev
	$(BIN)/python -m bench --quick --install cpu

bench-check: $(VENV)/ready-dev
	$(BIN)/python -m bench.check --install

bench-baseline: $(VENV)/ready-dev
	$(BIN)/python -m bench.check --install --record

# With CONFORMANCE=/path/to/program its cases too.
reliability: $(VENV)/ready-dev
	$(BIN)/python -m bench reliability $(if $(CONFORMANCE),--conformance $(CONFORMANCE))

fuzz: $(VENV)/ready-dev
	$(BIN)/python -m tests.fuzz --inputs 1000000

lock:
	$(LOCK) --extra build -o requirements.lock
	$(LOCK) --extra build --extra dev -o requirements-dev.lock

clean:
	rm -rf $(VENV) .bench .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

# A link to a Python that was removed counts as missing: the environment is then made anew.
$(BIN)/python:
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making a virtual environment in $(VENV)/ with $$($$python --version)"; \
	    exec $$python -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "No Python 3.11 or later with venv was found: install one (Debian, Ubuntu: apt install" \
	     "python3 python3-venv) or say make PYTHON=/path/to/python" >&2; \
	exit 2

$(VENV)/ready: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the pinned packages of requirements.lock into $(VENV)/ (once, about 30 s)"
	@$(INSTALL) -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/ready-dev: requirements-dev.lock $(VENV)/ready
	@echo "Installing the pinned packages of requirements-dev.lock into $(VENV)/ (once)"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@
