"""predictions.jsonl: one line per predicted image, with its mark and the entries of the files for all images.

The line of an image at a URL also has the version of the image, so that it is not downloaded again to compare it.

The first line has the model and the values of the masks. A file without a mark that has no line, in a directory with
this first line, is what a killed prediction has left.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pixelwise.errors import OutputExistsError, first_line
from pixelwise.inference.blocks import Block, Blocks
from pixelwise.inference.outputs import Mark
from pixelwise.inference.writers.base import Entry
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.files import write_errors

JOURNAL_FILE = "predictions.jsonl"


class JournalLine(NamedTuple):
    """The line of an image.

    Attributes:
        mark: its mark.
        entries: name of a writer → its entry.
        version: the version of an image at a URL, see `UrlImage`. Empty if it is unknown.
    """

    mark: Mark
    entries: dict[str, Entry]
    version: str = ""


class Journal:
    """The lines of a directory of predictions. A line is appended after each image, so a killed prediction can resume.

    Only the positions of the lines are in memory.

    Args:
        path: the file.
        head: the content of the first line.

    Attributes:
        exists: True if `load` has found the file.
    """

    def __init__(self, path: Path, head: Mapping[str, str]) -> None:
        self.path = path
        self._head = json.dumps(head).encode() + b"\n"
        self._lines = Blocks()
        self._file: BinaryIO | None = None
        self._size = 0
        self.exists = False
        self._is_replaced = False

    def load(self) -> None:
        """Find the lines that an earlier prediction has written. A line that was cut off is left out.

        Raises:
            OutputExistsError: The file exists and cannot be read, or has another first line.
        """
        try:
            with self.path.open("rb") as file:
                head = file.readline()
                if head != self._head:
                    raise OutputExistsError(
                        f"{self.path}: was not made by this model with these options; choose another `out`, or replace "
                        "it with `overwrite`"
                    )
                self.exists = True
                self._size = len(head)
                for line in file:
                    start, self._size = self._size, self._size + len(line)
                    content = _parse(line)
                    if content is not None:
                        self._lines.set(content["image"], Block(start, self._size))
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputExistsError(
                f"{self.path}: cannot be read ({first_line(error)}); move it away, or choose another `out`"
            ) from None

    def find(self, image: str) -> JournalLine | None:
        """Return the line of an image, or None if it has no line.

        Args:
            image: the cell of the image, see `image_cell`.
        """
        line = self._lines.get(image)
        if line is None:
            return None
        with self.path.open("rb") as file:
            content = _parse(_read(file, line)) or {}
        try:
            return JournalLine(Mark(**content["mark"]), content["entries"], content.get("version", ""))
        except (KeyError, TypeError):
            return None

    def keep(self, images: Iterable[str]) -> None:
        """Reduce the file to the lines of some images, in this order. The file is replaced atomically if it changes.

        If no lines are left, an existing file stays until the next line is written. A missing file is created.

        Args:
            images: cells of images. Those without a line are left out.
        """
        self.close()
        first = len(self._head)
        lines, starts = self._lines.arrange(images, first)
        has_size = self.path.exists() and self.path.stat().st_size == lines.end(first)
        is_unchanged = has_size and starts == lines.starts
        self._is_replaced = not lines and not self.exists and self.path.exists()
        if not self.path.exists():
            with atomic_write(self.path) as part:
                part.write_bytes(self._head)
        elif not is_unchanged and not self._is_replaced:
            with atomic_write(self.path) as part, self.path.open("rb") as old, part.open("wb") as new:
                new.write(self._head)
                for start, line in zip(starts, lines, strict=True):
                    new.write(_read(old, Block(start, start + line.stop - line.start)))
        self._lines = lines

    def append(self, image: str, line: bytes) -> None:
        """Append the line of an image, see `to_line`.

        Raises:
            OutputError: The file cannot be written.
        """
        with write_errors(self.path):
            if self._file is None:
                self._file = self.path.open("wb" if self._is_replaced else "ab")
                if self._is_replaced:
                    self._file.write(self._head)
                self._is_replaced = False
                self._size = self._file.tell()
            self._file.write(line)
            self._file.flush()
        self._lines.set(image, Block(self._size, self._size + len(line)))
        self._size += len(line)

    def remove_if_empty(self) -> None:
        """Remove the file if it has no lines and was not there before."""
        self.close()
        if not self._lines and not self.exists and not self._is_replaced:
            self.path.unlink(missing_ok=True)

    def entries(self, writer: str) -> "Entries":
        """Return the entries of a writer in the order of the lines."""
        self.close()
        return Entries(self, writer)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines in their order."""
        if not self._lines:
            return
        with self.path.open("rb") as file:
            for line in self._lines:
                content = _parse(_read(file, line))
                if content is not None:
                    yield content

    def close(self) -> None:
        """Close the file. `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Entries:
    """The entries of a writer. They can be iterated several times, and are read one at a time.

    Args:
        journal: the file with the entries.
        writer: the name of the writer.
    """

    def __init__(self, journal: Journal, writer: str) -> None:
        self._journal, self._writer = journal, writer

    def __iter__(self) -> Iterator[Entry]:
        for line in self._journal.lines():
            entry = line["entries"].get(self._writer)
            if entry is not None:  # a video has none
                yield entry


def to_line(image: str, line: JournalLine) -> bytes:
    """Return the text of a line.

    Args:
        image: the cell of the image, see `image_cell`.
        line: the content.
    """
    content = {"image": image, "mark": vars(line.mark), "entries": line.entries}
    if line.version:
        content["version"] = line.version
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _read(file: BinaryIO, line: Block) -> bytes:
    file.seek(line.start)
    return file.read(line.stop - line.start)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the content of a line, or None if it is not complete."""
    if not line.endswith(b"\n"):
        return None
    try:
        content = json.loads(line)
    except ValueError:
        return None
    is_valid = isinstance(content, dict) and isinstance(content.get("image"), str) and "mark" in content
    return content if is_valid and isinstance(content.get("entries"), dict) else None
