"""Images that the cells of a table refer to: by a path, by a URL, or by the bytes in the cell."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pixelwise.data.io.parquet import ImageCell
from pixelwise.data.io.remote import RemoteFile, local_path
from pixelwise.data.schema import BytesSource


class CellResolver:
    """Finds the images of one table's cells. Each folder is listed once, which is faster than a check per file."""

    def __init__(self, table: Path | RemoteFile) -> None:
        self._table = table
        self._list_folder = cache(self._list_folder_uncached)

    def find(self, cell: str | ImageCell) -> tuple[BytesSource | None, str | None]:
        """Find the image of a cell.

        Args:
            cell: the value of the cell. A relative path starts in the folder of the table.

        Returns:
            (image, None), or (None, path) if there is no file at that path, or (None, None) for an empty cell.
        """
        if isinstance(cell, ImageCell):
            if cell.cell is not None:
                return cell.cell, None
            cell = cell.path or ""
        if not cell:
            return None, None
        if "://" in cell:
            path = local_path(cell)
            return (RemoteFile(cell, self._options_for(cell)), None) if path is None else self._find_local(str(path))
        if isinstance(self._table, RemoteFile):
            return RemoteFile(self._table.beside(cell), self._table.options), None
        return self._find_local(cell)

    def _options_for(self, url: str) -> Mapping[str, Any]:
        """Return the table's options (key, endpoint) if the URL has the same protocol as the table."""
        if isinstance(self._table, RemoteFile) and self._table.url.partition("://")[0] == url.partition("://")[0]:
            return self._table.options
        return {}

    def _find_local(self, cell: str) -> tuple[BytesSource | None, str | None]:
        for text in (cell, cell.replace("\\", "/")):  # Windows writes paths with backslashes
            parent, _, name = text.rpartition("/")
            folder, names = self._list_folder(f"{parent}/" if text.startswith("/") else parent)
            path = folder / name
            # Some file systems ignore case or Unicode normalization in names.
            if name in names or _exists(path):
                return path, None
        return None, str(path)

    def _list_folder_uncached(self, folder: str) -> tuple[Path, frozenset[str]]:
        assert isinstance(self._table, Path)
        path = self._table.parent / folder
        try:
            return path, frozenset(os.listdir(path))  # noqa: PTH208 - only the names are needed
        except (OSError, ValueError):
            return path, frozenset()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
