"""Damaged annotation files, class files, tables and lists, read as data sets."""

import hashlib
import io
import random
import shutil
from collections.abc import Collection, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.index import DatasetIndex
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import MAX_CLASS_NAME, SPLITS
from pixelwise.errors import PixelwiseError
from pixelwise.reporting.console import print_dataset_report
from tests.chaos.damage import BYTES, damage_structure, damage_text
from tests.chaos.forks import check_in_forks
from tests.chaos.verdicts import Try, Verdict, judge_error
from tests.data.formats.writers import annotations, folders, labeling, tables, value_images
from tests.data.formats.writers.folders import Sample

PART = "label files"

_WRITERS = (
    folders.WRITERS
    | annotations.WRITERS
    | labeling.WRITERS
    | value_images.WRITERS
    | {name: writer for name, writer in tables.WRITERS.items() if writer[0] == "table"}
)

_TEXTS = (".json", ".xml", ".yaml", ".yml", ".csv", ".tsv", ".txt")
_TABLES = (".xlsx", ".parquet")

_CLASS_FILES = {
    "classes.json": '["background", "cat", "dog"]',
    "id2label.json": '{"0": "background", "1": "cat", "2": "dog"}',
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:1,1,1::\ndog:2,2,2::\n",
    "classes.txt": "background\ncat\ndog\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\ncat,1,1,1\ndog,2,2,2\n",
}
"""Files that name the classes of a folder of images and a folder of masks."""

_URLS = ("http://127.0.0.1", "memory://x")
"""Files that a table can name after damage. A message about such a file names it, not the table."""

_INSPECTED = 6
"""One in so many damaged data sets is inspected too."""


def write_data_sets(root: Path, names: Collection[str]) -> dict[str, list[Path]]:
    """Write a good data set of each kind that has label files. Return its folder's name → its label files."""
    random_numbers = np.random.default_rng(2)
    samples = []
    for index, split in enumerate(("train", "train", "train", "val", "test")):
        image = random_numbers.integers(0, 256, (40, 60, 3), np.uint8)
        mask = np.kron(random_numbers.integers(0, 3, (4, 6)), np.ones((10, 10))).astype(np.uint8)
        samples.append(Sample(f"scene {index}", split, image, mask))
    labels: dict[str, list[Path]] = {}
    for name in names:
        if name in _WRITERS:
            _WRITERS[name][1](root / name, samples, ("background", "cat", "dog"))
        else:
            folders.write_two_folders(root / name, samples, ("background", "cat", "dog"))
            (root / name / name).write_text(_CLASS_FILES[name], encoding="utf-8")
    for folder in sorted(root.iterdir()):
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in (*_TEXTS, *_TABLES)]
        if files:
            labels[folder.name] = [path.relative_to(folder) for path in files]
    return labels


KINDS = (*_WRITERS, *_CLASS_FILES)
"""Names of the kinds of data sets. Those without label files are left out."""


def damage_labels(root: Path, tries: int, seed: int, names: Collection[str] = KINDS) -> Iterator[Try]:
    """Damage one label file of a data set and read the data set.

    Args:
        root: an empty folder.
        tries: number of files.
        seed: random seed.
        names: kinds of data sets, of `KINDS`.
    """
    rng = random.Random(seed)
    labels = write_data_sets(root / "good", names)
    expected = {name: _digest(load_dataset(root / "good" / name)) for name in labels}
    kinds, checks = [], []
    for index in range(tries):
        name = rng.choice(list(labels))
        file = rng.choice(labels[name])
        content = _damage(rng, (root / "good" / name / file).read_bytes(), file.suffix)
        checks.append(partial(_check, root, index, name, file, content, expected[name]))
        kinds.append((file.suffix[1:], f"{name}, {file}, try {index}"))
    for index, verdict, detail in check_in_forks(checks, batch=100):
        yield Try(PART, kinds[index][0], verdict, f"{kinds[index][1]}: {detail}")
        shutil.rmtree(root / f"{index}", ignore_errors=True)


def _damage(rng: random.Random, content: bytes, suffix: str) -> bytes:
    action = rng.random()
    if suffix in _TEXTS and content and action < 0.7:
        return damage_structure(rng, content, suffix) if action < 0.5 else damage_text(rng, content)
    return BYTES[rng.choice(list(BYTES))](rng, content or b"\n")


def _check(root: Path, index: int, name: str, file: Path, content: bytes, expected: str) -> tuple[Verdict, str]:
    folder = root / f"{index}" / "data"
    shutil.copytree(root / "good" / name, folder)
    (folder / file).write_bytes(content)
    verdict = _judge(folder, file, expected, is_inspected=index % _INSPECTED == 0)
    shutil.rmtree(folder.parent)
    return verdict


def _judge(folder: Path, file: Path, expected: str, is_inspected: bool) -> tuple[Verdict, str]:
    try:
        data = load_dataset(folder)
        digest = _digest(data)
        verdict, detail = (Verdict.READ, "") if digest == expected else (Verdict.CHANGED, "")
        if verdict is Verdict.CHANGED and data.messages:
            verdict = Verdict.WARNED
        if any(not 1 <= len(name) <= MAX_CLASS_NAME for name in data.classes):
            verdict, detail = Verdict.UNUSABLE, ascii([name[:99] for name in data.classes])
        elif file.stem in SPLITS and not getattr(data, file.stem) and not data.messages:
            verdict, detail = Verdict.LOST, f"no images in {file.stem}"
    except PixelwiseError as error:
        verdict, detail = judge_error(error, str(folder), file.name, *_URLS)
    for check in (_read_leniently, *((_inspect,) if is_inspected else ())):
        if not verdict.is_fault:
            try:
                check(folder)
            except PixelwiseError as error:
                second, text = judge_error(error, str(folder), file.name, *_URLS)
                verdict, detail = (second, text) if second.is_fault else (verdict, detail)
    return verdict, detail


def _read_leniently(folder: Path) -> None:
    """Read all that can be read."""
    data = load_dataset(folder, skip_unreadable=True)
    for split in SPLITS:
        for record in getattr(data, split):
            data.read(record)


def _inspect(folder: Path) -> None:
    """Inspect and print. Raises ValueError for characters that control a terminal."""
    text = io.StringIO()
    with redirect_stdout(text), redirect_stderr(text):
        print_dataset_report(inspect(folder, skip_unreadable=True))
    if "\x1b" in text.getvalue() or "\x07" in text.getvalue():
        raise ValueError(f"control characters are printed: {text.getvalue()!r}")


def _digest(data: DatasetIndex) -> str:
    """Return a text that is equal for data sets with equal classes, images and masks."""
    digest = hashlib.sha256(repr(data.classes).encode("utf-8", "surrogatepass"))
    for split in SPLITS:
        digest.update(split.encode())
        for record in getattr(data, split):
            for pixels in data.read(record):
                digest.update(pixels.tobytes())
    return digest.hexdigest()
