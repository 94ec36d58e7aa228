"""Windows: names that no file can have, and file locks."""

import importlib
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, cast

_OS: Any = os  # some flags exist on Windows only

_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
"""Characters that a file name on Windows cannot have."""

_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
"""Names of devices. A file with such a name and any suffix cannot be made on Windows."""


def portable_name(name: str) -> str:
    """Return a name from a URL as a file name that every operating system accepts.

    >>> portable_name("a:b?.png"), portable_name("nul.png"), portable_name("cat. ")
    ('a_b_.png', '_nul.png', 'cat')
    """
    name = _REFUSED.sub("_", name).rstrip(". ")
    is_device = name.partition(".")[0].rstrip().upper() in _DEVICES
    return f"_{name}" if is_device or not name else name


def lock_beside(path: Path) -> BinaryIO | None:
    """Lock the file `path` with the ending ".lock" until the returned file is closed. Windows then removes it.

    Returns:
        The open file, or None if another process has locked it.
    """
    msvcrt: Any = importlib.import_module("msvcrt")
    flags = os.O_RDWR | os.O_CREAT | _OS.O_BINARY | _OS.O_TEMPORARY
    try:
        descriptor = os.open(path.with_name(f"{path.name}.lock"), flags)
    except PermissionError:  # another process has just closed it, and Windows is removing it
        return None
    file = os.fdopen(descriptor, "r+b", buffering=0)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError:
        file.close()
        return None
    return cast(BinaryIO, file)
