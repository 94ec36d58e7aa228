"""The files of the page: an HTML file, a script, a service worker, the model, and ONNX Runtime Web."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pixelwise.errors import ConfigError
from pixelwise.export.web.runtime import VERSION
from pixelwise.models.config import ModelConfig

MODEL_FILE = "model.onnx"
"""Name of the model in the folder."""

NO_INT8 = "8-bit integers give other masks in WebAssembly than here; export without `int8`"
"""Why a page has no model with 8-bit integers."""

_PAGE = Path(__file__).parent / "page"
_HTML, _SCRIPT, _WORKER = "index.html", "page.js", "service-worker.js"
_RUNTIME_FOLDER = "ort"


def write_page(folder: Path, config: ModelConfig, runtime: Mapping[str, bytes], kept: tuple[str, ...]) -> None:
    """Write the files of the page into a folder that has its model.

    Args:
        folder: the folder, with `MODEL_FILE`. Files of the page that exist are replaced.
        config: the configuration of the model.
        runtime: the files of ONNX Runtime Web, see `read_runtime`.
        kept: names in `runtime` of the files that the page keeps on a device at the first visit. The others are kept
            when they are used.
    """
    (folder / _RUNTIME_FOLDER).mkdir(exist_ok=True)
    for name, content in runtime.items():
        (folder / _RUNTIME_FOLDER / name).write_bytes(content)
    shutil.copyfile(_PAGE / _SCRIPT, folder / _SCRIPT)
    settings = {"title": _title(config), "background": list(config.background), "runtime": VERSION}
    # "<" would end the element if a class name contained "</script>".
    text = json.dumps(settings).replace("<", "\\u003c")
    _fill(_HTML, folder, "{}</script>", f"{text}</script>")
    files = ["./", _SCRIPT, MODEL_FILE, *(f"{_RUNTIME_FOLDER}/{name}" for name in kept)]
    _fill(_WORKER, folder, "FILES = []", f"FILES = {json.dumps(files)}")
    _fill(_WORKER, folder, "VERSION", _digest(folder), source=folder)


def is_page(folder: Path) -> bool:
    """Return True if a folder has the files of a page, or is empty."""
    return not any(folder.iterdir()) or all((folder / name).is_file() for name in (_HTML, _WORKER, MODEL_FILE))


def check_images(config: ModelConfig) -> None:
    """Raise ConfigError if a model takes images that browsers cannot decode."""
    if len(config.mean) != 3 or config.band_ranges:
        raise ConfigError(
            f"the model takes images of {len(config.mean)} bands, scaled to 8 bits, and browsers decode RGB images of "
            "8 bits only; export it to onnx"
        )


def _title(config: ModelConfig) -> str:
    shown = [name for index, name in enumerate(config.classes) if index not in config.background]
    return f"Find {', '.join(shown[:3])}{' …' if len(shown) > 3 else ''}"


def _fill(name: str, folder: Path, old: str, new: str, source: Path = _PAGE) -> None:
    """Write a file of the page with one text replaced."""
    before, found, after = (source / name).read_text(encoding="utf-8").partition(old)
    assert found, f"{name} has no {old}"
    (folder / name).write_text(before + new + after, encoding="utf-8", newline="\n")


def _digest(folder: Path) -> str:
    """Return a hash of all files, so that a browser replaces those that it keeps if one changes."""
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
