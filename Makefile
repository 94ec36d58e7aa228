# Every target installs pixelwise into .venv first, if pyproject.toml has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# uv installs in seconds, and PyTorch without CUDA on a machine without an NVIDIA GPU. UV= uses pip.
UV ?= $(shell command -v uv)
# The Python versions that `make test-all` looks for.
VERSIONS := 3.11 3.12 3.13 3.14

.PHONY: setup demo test test-all chaos coverage check docs figures gallery format clean

setup: $(STAMP)

# Runs again if pyproject.toml changes. A virtual environment that exists keeps what is installed in it.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "pixelwise needs Python 3.11 or later; choose one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
ifeq ($(strip $(UV)),)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
else
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --torch-backend auto --editable '.[all]' || { \
		echo "Installing from PyTorch's own index failed. Trying PyPI, where PyTorch for Linux is 3.0 GB." >&2; \
		$(UV) pip install --quiet --python $(BIN)/python --editable '.[all]'; }
endif
	@touch $@

demo: setup
	@$(BIN)/pixelwise demo

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

# The tests with each Python version on PATH, each in its own virtual environment: .venv-3.11 and so on.
test-all:
	@found=; for version in $(VERSIONS); do \
		python$$version -c '' 2>/dev/null || { echo "python$$version: not on PATH"; continue; }; \
		found=1; echo "python$$version:"; \
		$(MAKE) --no-print-directory test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	done; test -n "$$found"

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
	$(BIN)/zizmor --offline --strict-collection --quiet .github
	$(MAKE) docs

# The site, in site/. A link or a name that does not exist stops the build.
docs: setup
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --strict

# Measures the tables of docs/results.md on this machine, which must be idle: make figures DATA=oxford-iiit-pet. The
# comparison with TensorFlow also needs WEIGHTS, PEER_SCRIPT and PEER_PYTHON, that of predictions YOLO_PYTHON
# too, and that with segmentation_models_pytorch SMP_SCRIPT.
# FROM=FOLDER reads JSON files of earlier runs and measures nothing.
figures: setup
	$(BIN)/python benchmarks/figures.py --page docs/results.md $(if $(FROM),--from $(FROM)) $(if $(DATA),--data $(DATA)) \
		$(if $(WEIGHTS),--weights $(WEIGHTS)) $(if $(PEER_SCRIPT),--peer-script $(PEER_SCRIPT)) \
		$(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) $(if $(YOLO_PYTHON),--yolo-python $(YOLO_PYTHON)) \
		$(if $(SMP_SCRIPT),--smp-script $(SMP_SCRIPT))

# Draws two data sets, trains on them, and draws the images of docs/gallery.md.
gallery: setup
	$(BIN)/python docs/make_gallery.py $(if $(PHOTO),--photo $(PHOTO) --pets-run $(PETS_RUN))

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VERSIONS:%=.venv-%) build dist site docs/generated .cache .pytest_cache .mypy_cache .ruff_cache .coverage
