# Every target installs pixelwise into .venv first, if pyproject.toml has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

.PHONY: setup demo test coverage check docs format clean

setup: $(STAMP)

# Runs again if pyproject.toml changes.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "pixelwise needs Python 3.11 to 3.13; choose one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

demo: setup
	@$(BIN)/pixelwise demo

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

coverage: setup
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal --cov --cov-report=term

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(MAKE) docs

# The site, in site/. A link or a name that does not exist stops the build.
docs: setup
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --strict

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist site docs/generated .cache .pytest_cache .mypy_cache .ruff_cache .coverage
