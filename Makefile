# make demo: set up and run the main job on the sample studies    make test: set up and run lint and every test
# Others: lint, test-fast (no peers), test-long, bench, sample-data, plug-in, clean. PYTHON=python3.12 chooses an interpreter.
# For a small CPU-only torch on Linux: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
PYTEST_WORKERS ?= 3
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-long lint bench sample-data plug-in peers clean

help:
	@sed -n '1,3p' Makefile | sed 's/^# //'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dicom_pipeline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || tests/peers/apt_install.sh python3-venv || \
	  { echo "Python's venv module is missing; on Debian: sudo apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version, so that an installed or local CPU build satisfies everything after it
$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing pinned dependencies into $(VENV) ..."
	@$(PIP) torch==2.13.0
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/dicom-pipeline demo --out demo-output

# What the system tests need beyond Python. Where apt cannot be used the tests that need them are skipped and say so.
peers:
	@tests/peers/apt_install.sh orthanc orthanc-python orthanc-dicomweb dcmtk dicom3tools pixelmed-apps default-jdk-headless \
	  chromium openssl jing systemd || \
	  echo "Some test peers are missing; the tests that need them will be skipped and named in the summary." >&2

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.installed-dev peers lint
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not long and not gpu"

test-fast: $(VENV)/.installed-dev
	$(BIN)/pytest -m "not long and not gpu and not system"

# The long tests, and the short ones' properties with examples that no earlier run had.
test-long: $(VENV)/.installed-dev peers
	$(BIN)/pytest --hypothesis-profile=searching -m "long or hypothesis"

bench: $(VENV)/.installed-dev peers
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

sample-data: $(VENV)/.installed
	$(BIN)/python sample_data/make.py

# The one file that Orthanc loads, from the parts in plugins/orthanc/medsiglip.
plug-in: $(VENV)/.installed
	$(BIN)/python plugins/orthanc/build.py

clean:
	rm -rf $(VENV) demo-output build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
