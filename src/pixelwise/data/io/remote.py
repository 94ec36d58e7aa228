"""Single files that lie elsewhere: behind a URL that fsspec opens."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin

from pixelwise.errors import DataError, first_line

_LOCAL = ("", "file", "local")


@dataclass(frozen=True, eq=False)
class RemoteFile:
    """A file behind a URL: a `BytesSource`.

    No UPath, which keeps its connection through a fork and lets each protocol's own errors through.

    Attributes:
        url: with its protocol.
        options: what fsspec is given beside the URL (a key, an endpoint).

    Raises DataError where it cannot be read.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name, without what follows a question mark in the address of a web page."""
        address = self.url.split("?")[0].split("#")[0] if self.url.lower().startswith("http") else self.url
        return address.rstrip("/").rpartition("/")[2]

    def read_bytes(self) -> bytes:
        """The file's content."""
        try:
            return fetch_bytes(self.url, self.options)
        except FileNotFoundError:
            raise DataError("no such file") from None

    def beside(self, path: str) -> str:
        """The URL of a path that starts in this file's folder."""
        path = path.replace("\\", "/")
        if self.url.lower().startswith("http"):
            return urljoin(self.url, quote(path, safe="/%~!$&'()*+,;=:@"))
        protocol, _, rest = self.url.partition("://")
        folder = rest.rpartition("/")[0]
        return f"{protocol}://{posixpath.normpath(f'{folder}/{path}')}"

    def __str__(self) -> str:
        return self.url


def fetch_bytes(url: str, options: Mapping[str, Any]) -> bytes:
    """The content behind a URL; `options` go to fsspec beside it. FileNotFoundError, or DataError for all else."""
    from fsspec.core import url_to_fs

    try:
        # fsspec keeps one file system a process and thread; asking for it each time is safe after a fork.
        system, path = url_to_fs(url, **options)
        content: bytes = system.cat_file(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # each protocol has its own: of the network, of keys
        raise DataError(f"cannot be read ({first_line(error)})") from None
    return content


def to_local_or_remote(path: Path) -> Path | RemoteFile:
    """A path or UPath as a path where it is on this machine, and else as `RemoteFile`."""
    protocol = getattr(path, "protocol", "")
    if protocol in _LOCAL:
        return Path(getattr(path, "path", path))
    return RemoteFile(str(path), dict(getattr(path, "storage_options", {})))


def local_path(url: str) -> Path | None:
    """The path that a file:// URL is of, None for another protocol; %20 in it is a space, unless a file is named so.

    >>> local_path("file:///data/a%20b.png").name, local_path("s3://bucket/a.png")
    ('a b.png', None)
    """
    protocol, _, rest = url.partition("://")
    if protocol.lower() not in _LOCAL:
        return None
    rest = rest.removeprefix("localhost")
    plain = Path(rest)
    try:
        return plain if "%" not in rest or plain.exists() else Path(unquote(rest))
    except (OSError, ValueError):
        return plain
