# Two commands for a newcomer: `make demo` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
FOLDERS := $(wildcard src tests benchmarks examples)

PAGE    := src/catenary/serve/static/index.html
SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path 'web/tests/*' 2>/dev/null)

.PHONY: demo test lint types layers unit pages browser web docs clean

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

unit: $(STAMP) browser
	$(BIN)/python -m pytest -n 2

# What the tests of the web pages need, where it can be had; without it they skip, and say why.
NODE := node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a == 22 && b > 11) || (a == 20 && b > 18) ? 0 : 1)'
browser:
	@if ! command -v npm >/dev/null || ! $(NODE); then \
	  echo "the web pages are not built, so their tests are skipped: there is no Node.js 20.19, 22.12 or newer with npm"; \
	elif ! $(MAKE) --no-print-directory web/node_modules/.ready; then \
	  echo "the web pages are not built, so their tests are skipped: their packages cannot be had from the npm registry"; \
	else $(MAKE) --no-print-directory web; fi
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "installing Chromium for the tests of the web pages" && \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } || \
	  echo "there is no Chromium, so the tests of the web pages are skipped; on Debian and Ubuntu: apt install chromium"

# The pages' own tests, which need no browser.
pages: browser
	@if test -d web/node_modules/vitest; then cd web && npm test; fi

test: lint types layers unit pages

# The web pages, built once: again only when a source or the lock file changed.
web: $(PAGE)

web/node_modules/.ready: web/package-lock.json
	@command -v npm >/dev/null || { echo "the web pages need Node.js 20.19, 22.12 or newer with npm: https://nodejs.org" >&2; exit 1; }
	cd web && npm ci --no-audit --no-fund
	@touch $@

$(PAGE): web/node_modules/.ready $(SOURCES)
	cd web && npm run build
	@touch $@

# The pages that are made from the program.
docs: $(STAMP)
	$(BIN)/python -m catenary.cli.docs > docs/cli.md

clean:
	rm -rf $(VENV) web/node_modules src/catenary/serve/static build dist *.egg-info
