"""A CSV file with a block of rows per image. Rows are appended after each image, so a killed prediction can resume."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import OutputExistsError, first_line
from pixelwise.inference.blocks import Block, Blocks
from pixelwise.inference.tables import to_csv
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.files import write_errors


class CsvFile:
    """A CSV file whose first column is the image.

    Args:
        path: the file. It is created with the first rows.
        columns: the other columns.

    Attributes:
        blocks: first cell of the rows of an image → the position of its rows in the file.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.blocks = Blocks()
        self._columns = ["image", *columns]
        self._header = to_csv("image", [columns]).encode()
        self._file: BinaryIO | None = None
        self._size = 0
        self._is_replaced = False

    def load(self) -> None:
        """Find the rows that an earlier prediction has written. A row that was cut off is left out.

        Raises:
            OutputExistsError: The file exists and has other columns, or cannot be read.
        """
        try:
            self._find_blocks()
        except FileNotFoundError:
            return
        except (OSError, csv.Error) as error:
            raise OutputExistsError(
                f"{self.path}: cannot be read ({first_line(error)}); move it away, or choose another `out`"
            ) from None

    def _find_blocks(self) -> None:
        with self.path.open("rb") as file:
            position = 0

            def lines() -> Iterator[str]:
                nonlocal position
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    position += len(line)
                    yield line.decode("utf-8", "replace")

            rows = csv.reader(lines())
            if next(rows, self._columns) != self._columns:
                raise OutputExistsError(
                    f"{self.path}: has other columns; use the same `pixel_size`, choose another `out`, or replace it "
                    "with `overwrite`"
                )
            start = position
            for row in rows:
                if len(row) == len(self._columns):
                    before = self.blocks.get(row[0])
                    follows = before is not None and before.stop == start
                    first, count = (before.start, before.rows) if before is not None and follows else (start, 0)
                    self.blocks.set(row[0], Block(first, position, count + 1))
                start = position

    def keep(self, images: Iterable[str]) -> None:
        """Reduce the file to the rows of some images, in this order. The file is replaced atomically if it changes.

        If no rows are left, the file stays until the next rows are written.

        Args:
            images: keys of `blocks`. Images that are not in `blocks` are left out.
        """
        self.close()
        first = len(self._header)
        blocks, starts = self.blocks.arrange(images, first)
        has_size = self.path.exists() and self.path.stat().st_size == blocks.end(first)
        self._is_replaced = not blocks
        if blocks and not (has_size and starts == blocks.starts):
            with atomic_write(self.path) as part, self.path.open("rb") as old, part.open("wb") as new:
                new.write(self._header)
                for start, block in zip(starts, blocks, strict=True):
                    old.seek(start)
                    new.write(old.read(block.stop - block.start))
        self.blocks = blocks

    def remove_if_empty(self) -> None:
        """Remove the file if no rows are left."""
        if not self.blocks:
            self.close()
            self.path.unlink(missing_ok=True)

    def append(self, image: str, text: str, rows: int) -> None:
        """Append the rows of an image.

        Args:
            image: the first cell of the rows.
            text: the rows, see `to_csv`.
            rows: number of rows. An image without rows gets no block.

        Raises:
            OutputError: The file cannot be written.
        """
        with write_errors(self.path):
            if self._file is None:
                self._file = self.path.open("wb" if self._is_replaced else "ab")
                self._is_replaced = False
                if self._file.seek(0, os.SEEK_END) == 0:
                    self._file.write(self._header)
                self._size = self._file.tell()
            data = text.encode()
            self._file.write(data)
            self._file.flush()
        if rows:
            self.blocks.set(image, Block(self._size, self._size + len(data), rows))
        self._size += len(data)

    def close(self) -> None:
        """Close the file. `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None
