# Every target installs pixelwise into .venv first, if pyproject.toml has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

.PHONY: setup demo test chaos coverage check docs figures format clean

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

# Kills, damaged files, full disks. Takes about an hour.
chaos: setup
	$(BIN)/python -m tests.chaos --kills 200 --files 10000 --out chaos.json

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

# Measures the tables of docs/results.md on this machine, which must be idle: make figures DATA=oxford-iiit-pet. The
# comparison with TensorFlow also needs WEIGHTS, PEER_SCRIPT and PEER_PYTHON (benchmarks/README.md). FROM=FOLDER reads
# JSON files of earlier runs and measures nothing.
figures: setup
	$(BIN)/python benchmarks/figures.py --page docs/results.md $(if $(FROM),--from $(FROM)) $(if $(DATA),--data $(DATA)) \
		$(if $(WEIGHTS),--weights $(WEIGHTS)) $(if $(PEER_SCRIPT),--peer-script $(PEER_SCRIPT)) \
		$(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist site docs/generated .cache .pytest_cache .mypy_cache .ruff_cache .coverage
