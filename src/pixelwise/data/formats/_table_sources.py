"""What the cells of a table point at: a path, a URL, or the image itself."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pixelwise.data.io.parquet import ImageCell
from pixelwise.data.io.remote import RemoteFile, local_path
from pixelwise.data.schema import BytesSource


class CellResolver:
    """What cells of one table point at; folders are listed once instead of asked for file by file."""

    def __init__(self, table: Path | RemoteFile) -> None:
        self._table = table
        self._folder = cache(self._folder_of)

    def find(self, cell: str | ImageCell) -> tuple[BytesSource | None, str | None]:
        """The image, or the path of one that is not there; neither for an empty cell."""
        if isinstance(cell, ImageCell):
            if cell.cell is not None:
                return cell.cell, None
            cell = cell.path or ""
        if not cell:
            return None, None
        if "://" in cell:
            path = local_path(cell)
            return (RemoteFile(cell, self._options(cell)), None) if path is None else self._local(str(path))
        if isinstance(self._table, RemoteFile):
            return RemoteFile(self._table.beside(cell), self._table.options), None
        return self._local(cell)

    def _options(self, url: str) -> Mapping[str, Any]:
        """The table's own key and endpoint, for what lies where it lies."""
        same = isinstance(self._table, RemoteFile) and self._table.url.partition("://")[0] == url.partition("://")[0]
        return self._table.options if same and isinstance(self._table, RemoteFile) else {}

    def _local(self, cell: str) -> tuple[BytesSource | None, str | None]:
        for text in (cell, cell.replace("\\", "/")):  # as Windows writes paths
            above, _, name = text.rpartition("/")
            folder, names = self._folder(f"{above}/" if text.startswith("/") else above)
            path = folder / name
            # Some file systems know a name in more than one spelling.
            if name in names or _is_there(path):
                return path, None
        return None, str(path)

    def _folder_of(self, folder: str) -> tuple[Path, frozenset[str]]:
        assert isinstance(self._table, Path)
        path = self._table.parent / folder
        try:
            return path, frozenset(os.listdir(path))  # noqa: PTH208 - names are all that is wanted
        except (OSError, ValueError):
            return path, frozenset()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
