"""Helpers that several commands share: names and checks of output paths, and messages with command-line flags."""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.cli.flags import with_flags
from pixelwise.errors import ConfigError, OutputError, OutputExistsError
from pixelwise.runtime.files import expand_home
from pixelwise.runtime.windows import portable_name

if TYPE_CHECKING:
    from pixelwise.data.analysis.inspection import DatasetReport
    from pixelwise.data.index import DatasetIndex


_MAX_NAME_BYTES = 200
"""Maximum length in bytes of an output name without its suffixes. File systems allow 255 bytes with suffixes."""


def data_name(data: str) -> str:
    """Derive a short name for output files from the path or URL of a data set.

    >>> data_name("data/oxford-iiit-pet/"), data_name("https://host/pets?key=1")
    ('oxford-iiit-pet', 'pets_key=1')
    """
    if "://" in data:
        name = portable_name(data.rstrip("/").rpartition("/")[2])
    else:
        name = expand_home(data.rstrip("/")).resolve().stem
    return os.fsencode(name)[:_MAX_NAME_BYTES].decode(errors="ignore")


def check_output(out: Path) -> None:
    """Raise an error if a file or directory cannot be created at a path. Commands call this before their work.

    Args:
        out: the path. Its parent directories may be missing, because they are created with the output.

    Raises:
        ConfigError: The path is a URL.
        OutputError: The process may not write to the path, or to its nearest existing parent directory.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(out)):
        raise ConfigError(f"{out}: is a URL; choose a path on this machine")
    folder = out if out.is_dir() else next((each for each in out.absolute().parents if each.exists()), Path("/"))
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: may not be written; choose a path in another directory")


def check_absent(out: Path) -> None:
    """Raise OutputExistsError if an output path exists. Otherwise call `check_output`."""
    if out.exists():
        raise OutputExistsError(f"{out}: exists already; choose another `out`")
    check_output(out)


def has_left_out(data: "DatasetIndex") -> bool:
    """Return True if loading left out files of a data set."""
    from pixelwise.data.load import LEFT_OUT  # takes 0.3 s, which most commands need not

    return any(message.startswith(LEFT_OUT) for part in data.sets or (data,) for message in part.messages)


def print_skipped(errors: Iterable[Exception]) -> None:
    """Print one line on stderr for each file that was skipped."""
    for error in errors:
        print(f"skipped: {error}", file=sys.stderr)


def messages_with_flags(data: "DatasetIndex") -> "DatasetIndex":
    """Return a copy of a data set whose messages name flags (--out) instead of arguments (`out`)."""
    return replace(data, messages=tuple(map(with_flags, data.messages)))


def report_with_flags(report: "DatasetReport") -> "DatasetReport":
    """Return a copy of a report whose messages name flags (--out) instead of arguments (`out`)."""
    issues = tuple(replace(issue, message=with_flags(issue.message)) for issue in report.issues)
    data = messages_with_flags(report.data)
    return replace(report, data=data, issues=issues, obstacle=with_flags(report.obstacle))
