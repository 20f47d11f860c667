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
#   make compile      compile the data plane, where a C compiler is; what runs or tests does so by itself
#   make lock         pin the dependencies anew (needs uv)
#
# PYTHON=/path/to/python chooses the interpreter of the virtual environment.
# GATEWAY_INTERPRETED=1 has the data plane run interpreted, and compiles nothing.

VENV    := .venv
BIN     := $(VENV)/bin
SOURCES := gateway admin tests bench setup.py
PIP     := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --require-hashes --only-binary :all:
LOCK    := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
           --no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet

# What is compiled has a file of C types beside it.
TYPES   := $(wildcard gateway/*/*.pxd)
COMPILE := $(BIN)/python setup.py --quiet build_ext --inplace
IS_COMPILED := $(BIN)/python -c 'from gateway import compiled as c; raise SystemExit(c.finding().mode is not c.Mode.COMPILED)'

# Tests and benchmarks start many processes: with bytecode, as an installation has it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run compile test check format chaos bench bench-quick bench-check bench-baseline reliability fuzz lock clean
.DELETE_ON_ERROR:

help:
	@sed -n '3,16s/^# *//p' Makefile

run: $(VENV)/compiled
	@exec $(BIN)/python -m gateway demo

compile: $(VENV)/ready
	@$(COMPILE)
	@$(BIN)/python -c 'from gateway import compiled; print("data plane:", compiled.finding())'

# What only computes runs on all CPUs; what measures how requests fare has the machine to itself.
# Where the data plane is compiled, what concerns it is tested interpreted too.
test: $(VENV)/ready-dev $(VENV)/compiled
	$(BIN)/python -m pytest -n auto tests/unit tests/contract
	$(BIN)/python -m pytest --ignore=tests/unit --ignore=tests/contract tests
	@if $(IS_COMPILED); then \
	  set -x; GATEWAY_INTERPRETED=1 $(BIN)/python -m pytest -n auto -m data_plane tests/unit tests/integration; \
	fi

check: $(VENV)/ready-dev
	$(BIN)/python -m ruff format --check $(SOURCES)
	$(BIN)/python -m ruff check $(SOURCES)
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest tests/test_layers.py

format: $(VENV)/ready-dev
	$(BIN)/python -m ruff format $(SOURCES)
	$(BIN)/python -m ruff check --fix $(SOURCES)

chaos: $(VENV)/ready-dev $(VENV)/compiled
	GATEWAY_CHAOS_STRIKES=200 $(BIN)/python -m pytest tests/e2e/test_chaos.py tests/e2e/test_release_kills.py

bench: $(VENV)/ready-dev $(VENV)/compiled
	$(BIN)/python -m bench --install

bench-quick: $(VENV)/ready-dev $(VENV)/compiled
	$(BIN)/python -m bench --quick --install cpu

bench-check: $(VENV)/ready-dev $(VENV)/compiled
	$(BIN)/python -m bench.check --install

bench-baseline: $(VENV)/ready-dev $(VENV)/compiled
	$(BIN)/python -m bench.check --install --record

# With CONFORMANCE=/path/to/program its cases too.
reliability: $(VENV)/ready-dev $(VENV)/compiled
	$(BIN)/python -m bench reliability $(if $(CONFORMANCE),--conformance $(CONFORMANCE))

fuzz: $(VENV)/ready-dev $(VENV)/compiled
	$(BIN)/python -m tests.fuzz --inputs 1000000

lock:
	$(LOCK) --extra build -o requirements.lock
	$(LOCK) --extra build --extra dev -o requirements-dev.lock

clean:
	rm -rf $(VENV) .bench .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	rm -f gateway/*.seal gateway/*/*.so

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
	@GATEWAY_INTERPRETED=1 $(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Only what changed, by content. Without a compiler it is tried again the next time, which takes a second.
$(VENV)/compiled: $(TYPES) $(TYPES:.pxd=.py) gateway/compiled.py setup.py $(VENV)/ready
	@$(COMPILE)
	@if $(IS_COMPILED); then touch $@; fi

$(VENV)/ready-dev: requirements-dev.lock $(VENV)/ready
	@echo "Installing the pinned packages of requirements-dev.lock into $(VENV)/ (once)"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@
