"""Tests of the structure: the import rule, modules without torch, helpers of formats."""

import subprocess
import sys
from pathlib import Path

import pixelwise
from pixelwise.data.formats.registry import FORMATS

SOURCE = Path(pixelwise.__file__).parent
WITH_TORCH = {
    "augmentations", "cache", "image_versions", "mosaic", "resize", "samplers", "scaled_windows", "torch_dataset",
    "transforms", "validation_parts", "window_dataset", "window_images",
}  # fmt: skip
"""Modules of `pixelwise.data` that may import torch when they are imported."""


def test_folders_import_only_from_folders_below() -> None:
    # In a process of its own: import-linter disables all loggers.
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SOURCE.parents[1])
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_that_read_data_do_not_import_torch() -> None:
    modules = []
    for file in sorted((SOURCE / "data").rglob("*.py")):
        parts = file.relative_to(SOURCE / "data").with_suffix("").parts
        if parts[0] not in WITH_TORCH:
            modules.append(".".join(("pixelwise", "data", *parts)).removesuffix(".__init__"))
    assert len(modules) > 50
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    code += "    assert 'torch' not in sys.modules, name"
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_file_in_formats_is_a_registered_format_or_a_helper() -> None:
    readers = {FORMATS[name].component.__module__.rpartition(".")[2] for name in FORMATS}
    files = {file.stem for file in (SOURCE / "data" / "formats").glob("*.py")}
    assert {name for name in files if not name.startswith("_")} == readers | {"registry"}


def test_a_folder_has_few_long_files() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in SOURCE.rglob("*.py")}
    assert {str(file.relative_to(SOURCE)): length for file, length in lengths.items() if length > 350} == {}
