"""The directory of the outputs of `predict_folder` on this machine. `UrlStore` is the same for a folder at a URL."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pixelwise.errors import OutputError
from pixelwise.inference.outputs import Mark, read_mark
from pixelwise.inference.sources import ImageSource
from pixelwise.runtime.atomic import temporary_directory
from pixelwise.runtime.files import write_errors


class OutputStore:
    """The output directory of a call of `predict_folder`.

    Writers write each file below `root`. The store knows which files exist already.

    Args:
        root: the directory.

    Attributes:
        is_local: True if the outputs stay below `root`.
        is_shared: True if other processes can read and write the outputs.
    """

    is_local = True
    is_shared = True

    def __init__(self, root: Path) -> None:
        self.root = root

    def exists(self, file: Path) -> bool:
        """Return True if there was an output file or directory when the prediction began."""
        return os.path.lexists(file)

    def names_in(self, folder: Path) -> list[str]:
        """Return the sorted names of the files in a directory of outputs."""
        return sorted(file.name for file in folder.iterdir())

    def read_mark(self, file: Path) -> Mark | None:
        """Return the mark of an output file that exists, see `read_mark`."""
        return read_mark(file)

    def identity(self, path: ImageSource) -> str:
        """Return a name that is equal for an image and an output file if they are the same file."""
        return os.path.realpath(path) if isinstance(path, Path) else str(path)

    def publish(self, files: Iterable[Path]) -> None:
        """Move files from `root` to the folder of the outputs. Does nothing if that is `root`.

        Raises:
            OutputError: A file cannot be written.
        """

    @contextmanager
    def staged(self) -> Iterator["OutputStore"]:
        """Yield the store for a process on any machine, whose writers use an existing directory there."""
        yield self

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield the absolute path of a temporary folder that all processes can read. It is removed after the block."""
        with temporary_directory(self.root) as folder:
            yield folder.absolute()

    def read_part(self, file: Path, start: int, stop: int) -> bytes:
        """Return the bytes of a file in the folder of `scratch`, which another process has written.

        Raises:
            OutputError: The file cannot be read.
        """
        try:
            with file.open("rb") as opened:
                opened.seek(start)
                return opened.read(stop - start)
        except OSError as error:
            raise OutputError(
                f"{file.parent.parent}: is not the same directory on each node of the Ray cluster "
                f"({error.strerror or error}); set `out` to a directory of a shared file system, or to a URL"
            ) from None

    def count_up(self, file: Path) -> int:
        """Return how often this method was called for a file in the folder of `scratch`, in all processes."""
        with write_errors(file), file.open("ab") as opened:
            opened.write(b".")
            return opened.tell()
