"""Images that the cells of a table refer to: by a path, by a URL, or by the bytes in the cell.

A table can come from an untrusted source. Unless the user allows more, a cell may name only files in the folder of the
table, and URLs of public servers.
"""

import os
from functools import cache
from pathlib import Path

from pixelwise.data.formats._outside import check_inside, outside_error
from pixelwise.data.io.network import check_chain, check_url, options_of_named_url
from pixelwise.data.io.parquet import ImageCell
from pixelwise.data.io.remote import RemoteFile, local_path
from pixelwise.data.schema import BytesSource


class CellResolver:
    """Finds the images of one table's cells. Each folder is listed only once, which is faster than a check per file.

    Args:
        table: path or URL of the table.
        allow_outside: True to accept absolute paths and "../" that leave the folder of the table, and servers with
            private addresses.
    """

    def __init__(self, table: Path | RemoteFile, allow_outside: bool = False) -> None:
        self._table = table
        self._allow_outside = allow_outside
        self._list_folder = cache(self._list_folder_uncached)

    def find(self, cell: str | ImageCell) -> tuple[BytesSource | None, str | None]:
        """Find the image of a cell.

        Args:
            cell: the value of the cell. A relative path is resolved from the folder of the table.

        Returns:
            (image, None) if there is an image, (None, path) if the cell names a local file that does not exist, or
            (None, None) if the cell is empty.

        Raises:
            AnnotationError: The cell names a file or URL that is not allowed. The caller adds the table and the row.
        """
        if isinstance(cell, ImageCell):
            if cell.cell is not None:
                return cell.cell, None
            cell = cell.path or ""
        if not cell:
            return None, None
        if "://" in cell:
            path = local_path(cell)
            return (self._named_url(cell), None) if path is None else self._find_local(str(path))
        if isinstance(self._table, RemoteFile):
            return self._beside(self._table, cell), None
        return self._find_local(cell)

    def _named_url(self, url: str) -> RemoteFile:
        check_url(url)
        table = self._table
        options = table.options if isinstance(table, RemoteFile) else {}
        return RemoteFile(url, options_of_named_url(url, str(table), options, self._allow_outside))

    def _beside(self, table: RemoteFile, path: str) -> RemoteFile:
        check_chain(path)
        url = table.beside(path)
        if not self._allow_outside and not table.is_inside(url):
            raise outside_error(path, table.url.rpartition("/")[0])
        return RemoteFile(url, table.options)

    def _find_local(self, cell: str) -> tuple[BytesSource | None, str | None]:
        for text in (cell, cell.replace("\\", "/")):  # Windows writes paths with backslashes
            self._check_local(text)
            parent, _, name = text.rpartition("/")
            folder, names = self._list_folder(f"{parent}/" if text.startswith("/") else parent)
            path = folder / name
            # Some file systems ignore case or Unicode normalization, so that a name can differ from the listed one.
            if name in names or _exists(path):
                return path, None
        return None, str(path)

    def _check_local(self, path: str) -> None:
        if isinstance(self._table, Path):
            check_inside(path, self._table.parent, self._allow_outside)
        elif not self._allow_outside:
            raise outside_error(path, self._table.url.rpartition("/")[0])

    def _list_folder_uncached(self, folder: str) -> tuple[Path, frozenset[str]]:
        # In a remote table, local paths come from file:// URLs, which are absolute.
        path = self._table.parent / folder if isinstance(self._table, Path) else Path(folder)
        try:
            return path, frozenset(os.listdir(path))  # noqa: PTH208 - only the names are needed
        except (OSError, ValueError):
            return path, frozenset()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
