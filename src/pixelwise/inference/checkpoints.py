"""Copies of the growing files of a prediction at a URL, so that a killed prediction can continue from another machine.

An object store cannot append to a file. So each copy writes the bytes that were appended since the copy before to new
files in the folder `WORK_FOLDER`. The folder is removed when the prediction is complete.
"""

import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pixelwise.errors import OutputError
from pixelwise.inference.url_store import WORK_FOLDER, UrlStore
from pixelwise.runtime.atomic import temporary_directory

SECONDS = 30.0
"""Time between two copies. A killed prediction repeats the images of this time."""

_PARTS = f"{WORK_FOLDER}/parts"


class Checkpoints:
    """Copy the files that grow during a prediction to the URL of the outputs, at most once in `SECONDS`.

    Args:
        store: the folder at the URL.
        files: the growing files below its `root`, the journal last. A line of the journal is appended after those of
            the same image in the others.
    """

    def __init__(self, store: UrlStore, files: Sequence[Path]) -> None:
        self._store, self._files = store, tuple(files)
        self._copied: dict[Path, int] | None = None
        self._number = 0
        self._keeps_parts = self._is_first = self._has_lines = False
        self._time = time.monotonic()

    def restore(self) -> None:
        """Download the files with all that was appended to them.

        Raises:
            OutputError: A file cannot be read.
        """
        parts = self._store.names(_PARTS)
        self._number = max((int(name.partition("-")[0]) for name in parts), default=0)
        self._keeps_parts = True
        for file in self._files:
            names = [file.name] if self._store.exists(file) else []
            names += [f"{_PARTS}/{name}" for name in parts if name.partition("-")[2] == file.name]
            with temporary_directory(self._store.root) as folder:
                for name in names:
                    self._store.download(name, folder / "part")
                    with file.open("ab") as joined, (folder / "part").open("rb") as part:
                        shutil.copyfileobj(part, joined)

    def begin(self) -> None:
        """Copy the files if there are none at the URL, to check before the first image that it can be written.

        Raises:
            OutputError: A file cannot be written.
        """
        if not self._store.exists(self._files[-1]):
            self._is_first = True
            self.copy()

    def step(self) -> None:
        """Copy the new lines if the last copy was `SECONDS` ago. Must be called after lines were appended.

        Raises:
            OutputError: A file cannot be written.
        """
        self._has_lines = True
        if time.monotonic() - self._time >= SECONDS:
            self.copy()

    def close(self) -> None:
        """Copy the new lines. Errors are suppressed, so that the error that ended the prediction is raised."""
        if self._has_lines:
            with suppress(OutputError):
                self.copy()

    def copy(self) -> None:
        """Copy the whole files at the first call, and the bytes appended since the last copy at later calls.

        Lines that are in a file twice are harmless: the last ones count.

        Raises:
            OutputError: A file cannot be written.
        """
        sizes = {file: file.stat().st_size if file.exists() else 0 for file in self._files}
        if self._copied is None:
            if not self._keeps_parts:  # those of another model
                self._store.remove(self._store.root / _PARTS)
            for file in self._files:
                self._store.upload(file)
            self._store.remove(self._store.root / _PARTS)
        else:
            self._number += 1
            for file, size in sizes.items():
                start = self._copied[file]
                if size > start:
                    with file.open("rb") as opened:
                        opened.seek(start)
                        self._store.write(f"{_PARTS}/{self._number:08}-{file.name}", opened.read(size - start))
        self._copied, self._time = sizes, time.monotonic()

    def finish(self, files: Iterable[Path]) -> None:
        """Upload the complete files in this order, and remove the folder `WORK_FOLDER`.

        Raises:
            OutputError: A file cannot be written.
        """
        for file in dict.fromkeys((*self._files, *files)):
            self._store.upload(file)
        self._store.remove(self._store.root / WORK_FOLDER)

    def discard(self) -> None:
        """Remove the files that `begin` wrote, because no image could be predicted."""
        if self._is_first:
            for file in (*self._files, self._store.root / WORK_FOLDER):
                self._store.remove(file)
