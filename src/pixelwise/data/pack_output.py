"""The output of `pack`: a local folder or a URL, which is complete or absent."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixelwise.data.formats.webdataset import INDEX
from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import DataError, OutputError, OutputExistsError, PixelwiseError, first_line
from pixelwise.runtime.atomic import atomic_directory
from pixelwise.runtime.files import write_errors

UNFINISHED = ".pixelwise-unfinished"
"""Name of the file that marks a remote output as incomplete."""

_OUTPUT_FILE = re.compile(rf"(train|val|test)-\d{{6,}}\.tar|{re.escape(INDEX)}")
"""Pattern of the names of shards and of the index."""

WriteFile = Callable[[str, bytes], object]
"""A function (name, content) that writes a file of the output."""


@contextmanager
def open_output(out: str | Path | RemoteFile) -> Iterator[WriteFile]:
    """Yield a function that writes files of `out`.

    A local `out` is made only if the block succeeds. A remote `out` has the file `UNFINISHED` until it is complete, and
    the files of such an incomplete output are removed first.

    Args:
        out: folder or URL.

    Raises:
        DataError: `out` cannot be reached.
        OutputExistsError: `out` exists.
        OutputError: `out` cannot be written.
    """
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(str(out), **(out.options if isinstance(out, RemoteFile) else {}))
        base = path.rstrip("/")
        exists = system.exists(path) and not system.exists(f"{base}/{UNFINISHED}")
    except Exception as error:  # each protocol has its own exceptions
        raise DataError(f"{out}: cannot be reached ({first_line(error)})") from None
    if exists:
        raise OutputExistsError(f"{out}: exists already; choose another `out`, or remove it")
    try:
        if "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)):
            with write_errors(Path(path)), atomic_directory(Path(path)) as folder:
                yield lambda name, content: (folder / name).write_bytes(content)
        else:
            _remove_unfinished(system, base)
            system.pipe_file(f"{base}/{UNFINISHED}", b"pixelwise pack is writing this folder, or was stopped")
            yield lambda name, content: system.pipe_file(f"{base}/{name}", content)
            system.rm(f"{base}/{UNFINISHED}")
    except PixelwiseError:
        raise
    except Exception as error:
        raise OutputError(f"{out}: cannot be written ({first_line(error)})") from None


def _remove_unfinished(system: Any, base: str) -> None:
    """Remove the files that a stopped `pack` left in a remote folder, so that they do not mix with the new files."""
    for path in system.ls(base, detail=False) if system.exists(f"{base}/{UNFINISHED}") else ():
        if _OUTPUT_FILE.fullmatch(path.rpartition("/")[2]):
            system.rm(path)
