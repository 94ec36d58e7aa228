"""Helpers of several commands: name and check output paths, print skipped files."""

import sys
from collections.abc import Iterable
from pathlib import Path

from pixelwise.errors import OutputExistsError


def data_name(data: str) -> str:
    """Return a short name for output files from the path or URL of a data set.

    >>> data_name("data/oxford-iiit-pet/"), data_name("s3://bucket/pets")
    ('oxford-iiit-pet', 'pets')
    """
    if "://" in data:
        return data.rstrip("/").rpartition("/")[2]
    return Path(data.rstrip("/")).resolve().stem


def check_absent(out: Path | None) -> None:
    """Raise OutputExistsError if an output path exists."""
    if out is not None and out.exists():
        raise OutputExistsError(f"{out}: exists already; choose another `out`")


def print_skipped(errors: Iterable[Exception]) -> None:
    """Print one line on stderr for each file that was skipped."""
    for error in errors:
        print(f"skipped: {error}", file=sys.stderr)
