"""Small data sets, and the command line with a time limit, for tests of damaged and unusual files."""

import os
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

TIME_LIMIT = 60
"""Time in seconds after which a test has failed: it hangs."""

FAST = [
    *("--encoder", "test_efficientnet", "--encoder-weights", "none", "--encoder-training", "none", "--size", "64"),
    *("--epochs", "1", "--batch-size", "2", "--sample-predictions", "1", "--device", "cpu"),
]
"""Flags of a training of about a second."""


class CommandResult(NamedTuple):
    """Exit code and output of a command."""

    code: object
    out: str
    err: str


class RunCommand(Protocol):
    """The fixture `run_cli`: run the command line with these tokens."""

    def __call__(self, *tokens: object) -> CommandResult: ...


def draw_pair(seed: int, size: tuple[int, int] = (40, 50)) -> tuple[Image.Image, Image.Image]:
    """Draw an image with a bright block on dark noise, and its mask with the values 0 and 1, or 0 and 2."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    top, left = (rng.integers(0, max(1, side // 2)) for side in size)
    mask[top : top + max(1, size[0] // 2), left : left + max(1, size[1] // 2)] = 1 + seed % 2
    image = rng.integers(0, 60, (*size, 3)) + mask[..., None] * 90
    return Image.fromarray(image.astype(np.uint8)), Image.fromarray(mask)


def write_data_set(folder: Path, count: int = 8) -> Path:
    """Write pairs "no 0", "no 1", … with masks of 3 classes, in images/ and masks/."""
    for role in ("images", "masks"):
        (folder / role).mkdir(parents=True)
    for number in range(count):
        add_pair(folder, f"no {number}.png", number)
    return folder


def add_pair(data: Path, name: str, seed: int = 9, size: tuple[int, int] = (40, 50)) -> None:
    """Add a pair. The image has the format of the name's suffix. The mask is a PNG."""
    stem, _, suffix = name.rpartition(".")
    image, mask = draw_pair(seed, size)
    image.save(
        data / "images" / name, {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF"}.get(suffix.lower(), suffix.upper())
    )
    mask.save(data / "masks" / f"{stem}.{'png' if suffix == 'png' else 'PNG'}", "PNG")


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return time, mode, size and content of everything in a folder. Links and pipes are not opened."""
    entries: dict[str, tuple[object, ...]] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files, "."):
            path = Path(parent) / name
            stat = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            entries[str(path)] = stat.st_mtime_ns, stat.st_mode, stat.st_size, content
    return entries


def assert_one_line_error(result: CommandResult, *parts: Path | str) -> None:
    """Assert exit code 2 and one line on stderr that has these parts."""
    assert result.code == 2, result
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("pixelwise: error: ")
    for part in parts:
        assert str(part) in lines[0]
