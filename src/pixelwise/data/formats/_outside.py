"""Checks of paths that a table or list contains. Paths outside its folder need the user's permission."""

import os
from pathlib import Path

from pixelwise.errors import AnnotationError


def check_inside(path: str, folder: Path, allow_outside: bool = False) -> None:
    """Raise an error if a path in a table or list is outside the folder of that file. The disk is not accessed.

    A data set can come from an untrusted source, so its lists must not select other files of this machine. On Windows,
    the test whether a network path exists would contact a server.

    Args:
        path: the path as text, absolute or relative to the folder. "/" and the system's separator separate folders.
        folder: the folder of the table or list.
        allow_outside: True to accept any path.

    Raises:
        AnnotationError: The path is outside the folder. The caller adds the name of the table or list.

    >>> check_inside("images/../masks/1.png", Path("data"))
    >>> check_inside("../masks/1.png", Path("data"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pixelwise.errors.AnnotationError: ../masks/1.png is outside the folder of this file, data; move it there, ...
    """
    if allow_outside:
        return
    base = os.path.abspath(folder)  # noqa: PTH100 - links are not resolved
    full = os.path.normpath(os.path.join(base, path))  # noqa: PTH118
    if full != base and not full.startswith(base.rstrip(os.sep) + os.sep):
        raise outside_error(path, str(folder))


def outside_error(path: str, folder: str) -> AnnotationError:
    """Return the error about a path outside a folder.

    Args:
        path: the path as the table or list contains it.
        folder: the folder of the table or list, which can be a URL.
    """
    return AnnotationError(
        f"{path} is outside the folder of this file, {folder}; move it there, or set `allow_outside` if you trust this "
        "data set"
    )
