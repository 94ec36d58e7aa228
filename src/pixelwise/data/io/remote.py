"""Files and folders at a URL, read with fsspec."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin

from pixelwise.data.io.download_limits import max_download_bytes, no_answer, read_file, within_time_limit
from pixelwise.data.io.network import TIMEOUT_SECONDS, is_http, retry_once, with_limits
from pixelwise.errors import DataError, first_line

_LOCAL_PROTOCOLS = ("", "file", "local")


@dataclass(frozen=True, eq=False)
class RemoteFile:
    """A file or folder at a URL. If it is a file, it is a `BytesSource`.

    It has no open connection, so it can be pickled and used after a fork.

    Attributes:
        url: the address with its protocol, for example "s3://bucket/images/1.jpg".
        options: keyword arguments for fsspec, for example a key or an endpoint.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name. The query and the fragment of a web address are not part of it."""
        address = self.url.split("?")[0].split("#")[0] if is_http(self.url) else self.url
        return address.rstrip("/").rpartition("/")[2]

    def read_bytes(self) -> bytes:
        """Return the file's content.

        Raises:
            DataError: There is no such file, or it cannot be read.
        """
        try:
            return fetch_bytes(self.url, self.options)
        except FileNotFoundError:
            raise DataError("no such file") from None

    def exists(self) -> bool:
        """Return True if there is a file or folder at the URL.

        Raises:
            DataError: The server does not answer.
            Exception: The server cannot be asked. The type of the exception depends on the protocol.
        """
        system, path = file_system(self.url, self.options)
        return bool(retry_once(self.url, lambda: within_time_limit(lambda: system.exists(path))))

    def child(self, name: str) -> "RemoteFile":
        """Return the file with this name in this folder.

        >>> str(RemoteFile("s3://bucket/data/").child("train.csv"))
        's3://bucket/data/train.csv'
        """
        return RemoteFile(f"{self.url.rstrip('/')}/{name}", self.options)

    def beside(self, path: str) -> str:
        """Return the URL of a path that is relative to this file's folder."""
        path = path.replace("\\", "/")
        if is_http(self.url):
            return urljoin(self.url, quote(path, safe="/%~!$&'()*+,;=:@"))
        protocol, _, rest = self.url.partition("://")
        folder = rest.rpartition("/")[0]
        return f"{protocol}://{posixpath.normpath(f'{folder}/{path}')}"

    def is_inside(self, url: str) -> bool:
        """Return True if a URL is in this file's folder, at any depth.

        >>> table = RemoteFile("https://a.b/data/train.csv")
        >>> table.is_inside("https://a.b/data/images/1.png"), table.is_inside("https://a.b/data/%2e%2e/secret.png")
        (True, False)
        """
        address = self.url.split("?")[0].split("#")[0] if is_http(self.url) else self.url
        return url.startswith(address.rpartition("/")[0] + "/") and ".." not in unquote(url).split("/")

    def __str__(self) -> str:
        return self.url


def fetch_bytes(url: str, options: Mapping[str, Any]) -> bytes:
    """Return the content of the file at a URL. If the network fails, try once more.

    Args:
        url: an address with a protocol that fsspec opens.
        options: keyword arguments for fsspec.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The file is larger than `max_download_bytes`, arrives too slowly, or cannot be read for another
            reason.
        ConfigError: The environment variable that sets the maximum size has a wrong value.
    """
    max_bytes = max_download_bytes()

    def read() -> bytes:
        # fsspec keeps one file system per process and thread. Requesting it each time is safe after a fork.
        system, path = file_system(url, options)
        if not is_http(url):
            return read_file(system, path, max_bytes)
        content: bytes = system.cat_file(path)  # `LimitedResponse` has the limits
        return content

    try:
        return retry_once(url, read)
    except (FileNotFoundError, DataError):
        raise
    except TimeoutError:
        raise no_answer(TIMEOUT_SECONDS) from None
    except Exception as error:  # each protocol has its own exceptions, for example for the network or for keys
        raise DataError(f"cannot be read ({first_line(error)})") from None


def file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, with the limits of `with_limits`, and the path of the file in it.

    Args:
        url: an address with a protocol that fsspec opens.
        options: keyword arguments for fsspec.

    Returns:
        (file system, path).
    """
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url, **with_limits(url, options))
    return system, path


def open_url(url: str) -> Path | RemoteFile:
    """Return the file or folder at a URL, as a Path if it is on this machine. Nothing is read.

    Raises:
        DataError: fsspec does not support the protocol, or the package that fsspec needs for it is not installed.
    """
    path = local_path(url)
    if path is not None:
        return path
    from fsspec.core import url_to_fs

    try:
        url_to_fs(url)
    except ImportError as error:
        fix = "pip install 'pixelwise[s3]'" if url.lower().startswith("s3") else first_line(error)
        raise DataError(f"{url}: the package that opens such URLs is not installed ({fix})") from None
    except Exception as error:
        raise DataError(f"{url}: {first_line(error)}") from None
    return RemoteFile(url)


def local_path(url: str) -> Path | None:
    """Return the path of a file:// URL, or None for another protocol.

    Percent-encoded characters such as %20 are decoded, unless a file with the encoded name exists.

    >>> local_path("file:///data/a%20b.png").name, local_path("s3://bucket/a.png")
    ('a b.png', None)
    """
    protocol, _, rest = url.partition("://")
    if protocol.lower() not in _LOCAL_PROTOCOLS:
        return None
    rest = rest.removeprefix("localhost")
    path = Path(rest)
    try:
        return path if "%" not in rest or path.exists() else Path(unquote(rest))
    except (OSError, ValueError):
        return path
