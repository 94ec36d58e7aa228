"""Helpers of several commands: name and check output paths, print skipped files."""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.cli.flags import with_flags
from pixelwise.data.load import LEFT_OUT
from pixelwise.errors import ConfigError, OutputError, OutputExistsError
from pixelwise.runtime.files import expand_home

if TYPE_CHECKING:
    from pixelwise.data.analysis.inspection import DatasetReport
    from pixelwise.data.index import DatasetIndex


_MAX_NAME_BYTES = 200
"""Maximum length of a name made from that of the data set. File systems allow 255 bytes with suffixes."""


def data_name(data: str) -> str:
    """Return a short name for output files from the path or URL of a data set.

    >>> data_name("data/oxford-iiit-pet/"), data_name("s3://bucket/pets")
    ('oxford-iiit-pet', 'pets')
    """
    name = data.rstrip("/").rpartition("/")[2] if "://" in data else expand_home(data.rstrip("/")).resolve().stem
    return os.fsencode(name)[:_MAX_NAME_BYTES].decode(errors="ignore")


def check_output(out: Path) -> None:
    """Raise an error if a file or directory cannot be made at a path, before the work of a command.

    Args:
        out: the path. A missing parent directory can be made.

    Raises:
        ConfigError: It is a URL.
        OutputError: Its directory may not be written.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(out)):
        raise ConfigError(f"{out}: is a URL; choose a path on this machine")
    folder = out if out.is_dir() else next((each for each in out.absolute().parents if each.exists()), Path("/"))
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: may not be written; choose a path in another directory")


def check_absent(out: Path) -> None:
    """Raise OutputExistsError if an output path exists, and see `check_output`."""
    if out.exists():
        raise OutputExistsError(f"{out}: exists already; choose another `out`")
    check_output(out)


def has_left_out(data: "DatasetIndex") -> bool:
    """Return True if files of a data set were left out when it was loaded."""
    return any(message.startswith(LEFT_OUT) for message in data.messages)


def print_skipped(errors: Iterable[Exception]) -> None:
    """Print one line on stderr for each file that was skipped."""
    for error in errors:
        print(f"skipped: {error}", file=sys.stderr)


def messages_with_flags(data: "DatasetIndex") -> "DatasetIndex":
    """Return a data set whose messages name flags instead of arguments in backticks."""
    return replace(data, messages=tuple(map(with_flags, data.messages)))


def report_with_flags(report: "DatasetReport") -> "DatasetReport":
    """Return a report whose texts name flags instead of arguments in backticks."""
    issues = tuple(replace(issue, message=with_flags(issue.message)) for issue in report.issues)
    data = messages_with_flags(report.data)
    return replace(report, data=data, issues=issues, obstacle=with_flags(report.obstacle))
