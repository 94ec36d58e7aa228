"""The files that a command writes: whether they are complete, and whether two results are equal."""

import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageSequence
from safetensors.torch import load

_TIMES = ("train_seconds", "images_per_second", "seconds", "training_seconds", "ms_per_image")
"""Columns and keys that differ between two equal runs."""

_SHOWN = (".png", ".gif", ".html", ".yaml")
"""Suffixes of files that may state times: only whether they exist is compared. Predicted masks are compared."""


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, by name."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def is_temporary(path: Path) -> bool:
    """Return True for a relative path that is or is in a temporary directory."""
    return any(part.startswith(".") or part in ("last.part", "last.old") for part in path.parts)


def half_written(folder: Path) -> list[str]:
    """Return the files under their final names that are not complete, with the fault of each."""
    faults = []
    for path in files_below(folder):
        name = path.relative_to(folder)
        if not is_temporary(name):
            try:
                _parse(path.suffix, path.read_bytes())
            except Exception as error:
                faults.append(f"{name}: {type(error).__name__}: {error}")
    return faults


def _parse(suffix: str, content: bytes) -> None:
    """Read all of a file. Raises any exception if it is not complete."""
    if suffix == ".json":
        json.loads(content)
    elif suffix == ".yaml":
        if not isinstance(yaml.safe_load(content), dict):
            raise ValueError("no mapping")
    elif suffix == ".csv":
        rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
        if not content.endswith(b"\n") or len(set(map(len, rows))) != 1:
            raise ValueError("rows differ in length")
    elif suffix == ".safetensors":
        load(content)
    elif suffix == ".tar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                part = archive.extractfile(member)
                if part is not None and len(part.read()) != member.size:
                    raise ValueError("cut")
            if not content.endswith(bytes(1024)):
                raise ValueError("no end mark")
    elif suffix == ".html":
        if not content.rstrip().endswith(b"</html>"):
            raise ValueError("cut")
    elif suffix in (".png", ".gif"):
        with Image.open(io.BytesIO(content)) as image:
            for frame in ImageSequence.Iterator(image):
                frame.load()


def result_of(folder: Path) -> dict[str, str]:
    """Return the relative path of every file → a text that is equal for equal results.

    Times are left out, and so is the content of drawings. Temporary files are part of the result: an uninterrupted
    command leaves none.
    """
    return {
        str(path.relative_to(folder)): _digest(path, folder)
        for path in files_below(folder)
        if path.parent.name != "tensorboard"  # a continued training adds a file, with a time in its name
    }


def _digest(path: Path, folder: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(_without_times(json.loads(content))).replace(str(folder), "OUT")
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(content.decode()))
        return json.dumps([_without_times(row) for row in rows])
    if path.suffix == ".safetensors":
        return _tensors_digest(content)
    if path.suffix in _SHOWN and "_mask" not in path.name:
        return ""
    return hashlib.sha256(content).hexdigest()


def _tensors_digest(content: bytes) -> str:
    """Return the header of a safetensors file without the times in its metadata, and the digest of its tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    metadata = {name: json.loads(text) for name, text in header.pop("__metadata__", {}).items()}
    return json.dumps([header, _without_times(metadata), hashlib.sha256(content[end:]).hexdigest()])


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in _TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def difference(result: dict[str, str], expected: dict[str, str]) -> str:
    """Return the files that differ between two results, or ""."""
    missing, extra = sorted(expected.keys() - result.keys()), sorted(result.keys() - expected.keys())
    changed = sorted(name for name in expected.keys() & result.keys() if expected[name] != result[name])
    parts = {"missing": missing, "extra": extra, "changed": changed}
    return "; ".join(f"{name}: {', '.join(files[:5])}" for name, files in parts.items() if files)
