"""Paths in files of a data set that lead out of its folder. They need the user's permission."""

import os
from pathlib import Path

from pixelwise.errors import AnnotationError


def check_inside(path: str, folder: Path, allow_outside: bool = False) -> None:
    """Refuse a path that a table or list names if it leaves the folder of that file. Nothing is read.

    A data set can be a stranger's: its lists must not select other files of this machine, and on Windows even the check
    whether a network path exists would contact a server.

    Args:
        path: the path as text, relative to the folder, or absolute. "/" and the system's separator separate folders.
        folder: the folder of the file that names the path.
        allow_outside: accept any path.

    Raises:
        AnnotationError: The path is absolute or has "../", and is not in the folder. The caller adds the file's name.

    >>> check_inside("images/../masks/1.png", Path("data"))
    >>> check_inside("../masks/1.png", Path("data"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pixelwise.errors.AnnotationError: ../masks/1.png is outside the folder of this file, data; move it there, ...
    """
    if allow_outside:
        return
    base = os.path.abspath(folder)  # noqa: PTH100 - links are kept as they are
    full = os.path.normpath(os.path.join(base, path))  # noqa: PTH118
    if full != base and not full.startswith(base.rstrip(os.sep) + os.sep):
        raise outside_error(path, str(folder))


def outside_error(path: str, folder: str) -> AnnotationError:
    """Return the error about a path that leaves a folder, which may be a URL."""
    return AnnotationError(
        f"{path} is outside the folder of this file, {folder}; move it there, or set `allow_outside` if you trust this "
        "data set"
    )
