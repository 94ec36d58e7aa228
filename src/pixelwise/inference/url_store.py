"""A folder at a URL for the outputs of `predict_folder`: s3://bucket/masks, gs://, az:// and other URLs of fsspec."""

import re
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pixelwise.data.io.network import is_http, retry_once
from pixelwise.data.io.remote import file_system, open_url
from pixelwise.errors import ConfigError, OutputError, OutputExistsError, PixelwiseError, first_line
from pixelwise.inference.output_store import OutputStore
from pixelwise.inference.outputs import Mark, read_mark
from pixelwise.inference.sources import ImageSource
from pixelwise.runtime.atomic import remove_abandoned, temporary_directory

T = TypeVar("T")

WORK_FOLDER = ".pixelwise"
"""Folder at the URL with what a prediction needs until it is complete. Then it is removed."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def is_url(out: object) -> bool:
    """Return True if an output directory is a URL, also one whose "//" a Path has made "/".

    >>> is_url("s3://bucket/masks"), is_url(Path("s3://bucket/masks")), is_url("masks"), is_url("C:/masks")
    (True, True, False, False)
    """
    return _URL.match(str(out)) is not None


def output_place(out: str | Path) -> Path | str:
    """Return the output directory as a Path, or as text if it is a URL of another machine. Nothing is written.

    Args:
        out: a path, or a URL that fsspec opens. A file:// URL is a directory of this machine.

    Raises:
        ConfigError: The protocol is for reading only, or the URL is a chain of protocols.
        DataError: fsspec does not support the protocol, or the package that fsspec needs for it is not installed.
    """
    url = str(out)
    if not is_url(url):
        return Path(out)
    if "::" in url:
        raise ConfigError(f"{url}: is a chain of protocols (::); set `out` to the URL of one folder")
    if "://" not in url:
        raise ConfigError(f"{url}: is a URL in a Path, which removes a slash; set `out` to the URL as text")
    if is_http(url) or url.lower().startswith("hf:"):
        raise ConfigError(
            f"{url}: cannot be written file by file; set `out` to a directory, or to the URL of a folder in a bucket "
            "such as s3://bucket/masks"
        )
    opened = open_url(url)
    return opened if isinstance(opened, Path) else url


@contextmanager
def open_store(place: Path | str) -> Iterator[OutputStore]:
    """Yield the store of an output directory or of a folder at a URL.

    Args:
        place: see `output_place`.

    Raises:
        OutputError: The folder at the URL cannot be listed.
        OutputExistsError: The block has raised it. The message names the URL in place of the temporary directory.
    """
    if isinstance(place, Path):
        yield OutputStore(place)
        return
    with _temporary_root() as root:
        store = UrlStore(place, root)
        store.list_files()
        try:
            yield store
        except OutputExistsError as error:
            raise OutputExistsError(str(error).replace(str(root), store.url)) from None


@contextmanager
def _temporary_root() -> Iterator[Path]:
    """Yield a temporary directory that only this user can read. Those of killed processes are removed."""
    parent = Path(tempfile.gettempdir())
    remove_abandoned(parent)
    with temporary_directory(parent) as root:
        root.chmod(0o700)
        yield root


class UrlStore(OutputStore):
    """A folder at a URL. Each file is written below `root`, and moved to the URL when it is complete.

    The file at the URL is complete or absent: object stores show a file when its upload is complete, and in a file
    system with its own move, the file is uploaded under another name.

    Args:
        url: the URL of the folder.
        root: a temporary directory.
    """

    is_local = False

    def __init__(self, url: str, root: Path) -> None:
        super().__init__(root)
        self.url = url.rstrip("/")
        self._names: frozenset[str] = frozenset()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments only. Another process does not list the files."""
        return UrlStore, (self.url, self.root)

    @property
    def is_shared(self) -> bool:  # type: ignore[override]
        """False for memory://, which each process has for itself."""
        return not self.url.lower().startswith("memory:")

    def list_files(self) -> None:
        """Find the files at the URL.

        Raises:
            OutputError: The folder cannot be listed, or the URL is that of a file.
        """
        root = self._try("", "cannot be used", lambda system, path: path)
        found = self._try("", "cannot be listed", _find)
        if root in found:
            raise OutputError(f"{self.url}: is a file; set `out` to the URL of a folder")
        names = {file.removeprefix(f"{root}/") for file in found if file.startswith(f"{root}/")}
        names = {name for name in names if not name.startswith(f"{WORK_FOLDER}/")}
        folders = {parent.as_posix() for name in names for parent in Path(name).parents} - {"."}
        self._names = frozenset(names | folders)

    def exists(self, file: Path) -> bool:
        return self._name(file) in self._names

    def names_in(self, folder: Path) -> list[str]:
        start = f"{self._name(folder)}/"
        return sorted(name.removeprefix(start) for name in self._names if name.startswith(start))

    def read_mark(self, file: Path) -> Mark | None:
        name = self._name(file)
        if not self.exists(file):
            return None
        inside = self.names_in(file)
        with temporary_directory(self.root) as folder:
            copy = folder / file.name
            self.download(f"{name}/{inside[0]}" if inside else name, copy)
            return read_mark(copy)

    def identity(self, path: ImageSource) -> str:
        if isinstance(path, Path):
            is_output = path.is_relative_to(self.root)
            return f"{self._address}/{self._name(path)}" if is_output else super().identity(path)
        system, _ = file_system(self.url, {})
        protocols = (system.protocol,) if isinstance(system.protocol, str) else system.protocol
        is_same = str(path).partition("://")[0].lower() in protocols
        return str(system.unstrip_protocol(system._strip_protocol(str(path)))) if is_same else str(path)

    @cached_property
    def _address(self) -> str:
        """The URL in the form that the file system gives to each of its files."""
        system, root = file_system(self.url, {})
        return str(system.unstrip_protocol(root))

    def publish(self, files: Iterable[Path]) -> None:
        for file in files:
            if file.is_dir():
                inside = sorted(file.iterdir())
                others = set(self.names_in(file)) - {each.name for each in inside}
                self.publish(inside)
                for name in others:  # masks of frames that an earlier version of the video had
                    self.remove(file / name)
            else:
                self._upload(file, self._name(file))
                file.unlink()

    def upload(self, file: Path) -> None:
        """Copy a file to the URL. If it is missing, remove the one at the URL.

        Raises:
            OutputError: It cannot be written or removed.
        """
        if file.exists():
            self._upload(file, self._name(file))
        else:
            self.remove(file)

    def _upload(self, file: Path, name: str) -> None:
        def put(system: Any, path: str) -> None:
            if not _has_own_move(system):
                system.put_file(str(file), path)
                return
            folder, _, name = path.rpartition("/")
            part = f"{folder}/.{name}.{uuid.uuid4().hex[:12]}"
            try:
                system.put_file(str(file), part)
                system.mv(part, path)
            except BaseException:
                with suppress(Exception):
                    system.rm_file(part)
                raise

        self._try(name, "cannot be written", put)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file at the URL.

        Args:
            name: path below the URL.
            content: its content.

        Raises:
            OutputError: It cannot be written.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "content"
            file.write_bytes(content)
            self._upload(file, name)

    def remove(self, file: Path) -> None:
        """Remove a file or folder at the URL, if it exists.

        Raises:
            OutputError: It cannot be removed.
        """

        def delete(system: Any, path: str) -> None:
            with suppress(FileNotFoundError):
                system.rm(path, recursive=True)

        self._try(self._name(file), "cannot be removed", delete)

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files in a folder below the URL, as they are now.

        Raises:
            OutputError: It cannot be listed.
        """
        return sorted(file.rpartition("/")[2] for file in self._try(folder, "cannot be listed", _find))

    def download(self, name: str, copy: Path) -> None:
        """Copy a file from the URL.

        Args:
            name: path below the URL.
            copy: the copy. Its directory exists.

        Raises:
            OutputError: It cannot be read.
        """
        self._try(name, "cannot be read", lambda system, path: system.get_file(path, str(copy)))

    def _name(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()

    def _try(self, name: str, fault: str, use: Callable[[Any, str], T]) -> T:
        """Call a function with the file system and the path of a file below the URL. Convert its errors."""
        url = f"{self.url}/{name}" if name else self.url

        def attempt() -> T:
            # fsspec keeps one file system per process and thread. Requesting it each time is safe after a fork.
            system, root = file_system(self.url, {})
            return use(system, f"{root}/{name}" if name else root)

        try:
            return retry_once(url, attempt)
        except PixelwiseError:
            raise
        except Exception as error:  # each protocol has its own exceptions, for example for the network or for keys
            reason = first_line(error)
        # Outside of the block, so that the error has no context: it concerns all files.
        raise OutputError(
            f"{url}: {fault} ({reason}); check the URL, its keys and the network, then continue with `resume`"
        )

    @contextmanager
    def staged(self) -> Iterator[OutputStore]:
        with _temporary_root() as root:
            yield UrlStore(self.url, root)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        folder = self.root / WORK_FOLDER / uuid.uuid4().hex[:12]
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            with suppress(OutputError):  # an error in the block is the one to report
                self.remove(folder)

    def read_part(self, file: Path, start: int, stop: int) -> bytes:
        def read(system: Any, path: str) -> bytes:
            return bytes(system.cat_file(path, start=start, end=stop))

        return self._try(self._name(file), "cannot be read", read)

    def count_up(self, file: Path) -> int:
        name = self._name(file)
        self.write(f"{name}/{uuid.uuid4().hex}", b".")
        return len(self.names(name))


def _find(system: Any, path: str) -> list[str]:
    """Return the paths of the files in a folder at any depth. There are none if it is missing."""
    system.invalidate_cache()
    with suppress(FileNotFoundError):
        return list(system.find(path))
    return []


def _has_own_move(system: Any) -> bool:
    """Return True if a file system has a move of its own. fsspec's own is a copy and a removal."""
    from fsspec import AbstractFileSystem

    return type(system).mv is not AbstractFileSystem.mv
