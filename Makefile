# Two commands for a newcomer: `make demo` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
FOLDERS := $(wildcard src tests benchmarks examples)

.PHONY: demo test lint types layers unit docs clean

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON); install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.11 demo" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "catenary needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another: make PYTHON=python3.11 demo")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV): torch and the other packages, several GB and some minutes, this once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,dev]'
	@touch $@

demo: $(STAMP)
	@rm -rf runs/demo
	@$(BIN)/catenary demo --out runs/demo

lint: $(STAMP)
	$(BIN)/ruff check $(FOLDERS)
	$(BIN)/ruff format --check $(FOLDERS)

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/python -m pytest -n 2

test: lint types layers unit

# The pages that are made from the program.
docs: $(STAMP)
	$(BIN)/python -m catenary.cli.docs > docs/cli.md

clean:
	rm -rf $(VENV) build dist *.egg-info
