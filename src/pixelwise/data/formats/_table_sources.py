"""What the cells of a table point at: a path, a URL, or the picture itself."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pixelwise.data.io.parquet import PictureCell
from pixelwise.data.io.remote import Remote, local_path
from pixelwise.data.schema import Source


class Sources:
    """What cells of one table point at; folders are listed once instead of asked for file by file."""

    def __init__(self, table: Path | Remote) -> None:
        self._table = table
        self._folder = cache(self._folder_of)

    def find(self, cell: str | PictureCell) -> tuple[Source | None, str | None]:
        """The picture, or the path of one that is not there; neither for an empty cell."""
        if isinstance(cell, PictureCell):
            if cell.cell is not None:
                return cell.cell, None
            cell = cell.path or ""
        if not cell:
            return None, None
        if "://" in cell:
            path = local_path(cell)
            return (Remote(cell, self._options(cell)), None) if path is None else self._local(str(path))
        if isinstance(self._table, Remote):
            return Remote(self._table.beside(cell), self._table.options), None
        return self._local(cell)

    def _options(self, url: str) -> Mapping[str, Any]:
        """The table's own key and endpoint, for what lies where it lies."""
        same = isinstance(self._table, Remote) and self._table.url.partition("://")[0] == url.partition("://")[0]
        return self._table.options if same and isinstance(self._table, Remote) else {}

    def _local(self, cell: str) -> tuple[Source | None, str | None]:
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
