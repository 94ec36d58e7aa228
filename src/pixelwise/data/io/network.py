"""Limits on network access: checks of the URLs in files of a data set, time limits, and one retry."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pixelwise.errors import AnnotationError, DataError

T = TypeVar("T")

TIMEOUT_SECONDS = 10
"""Time limit in seconds for opening a connection, and for each wait for data of the response."""

PROTOCOLS = ("file", "http", "https", "s3", "gs", "az", "abfs", "hf", "memory")
"""Allowed protocols of URLs in tables. Some other protocols of fsspec run code, or connect to the server in the URL
without the check of `HostGuard`."""

_HTTP, _S3, _GOOGLE, _AZURE = ("http", "https"), ("s3", "s3a"), ("gs", "gcs"), ("az", "abfs", "abfss")

_NO_RETRY = (DataError, FileNotFoundError, PermissionError, IsADirectoryError, ImportError, ValueError, TypeError)
"""Exceptions that a second try would raise again."""


def is_http(url: str) -> bool:
    """Return True for a web address.

    >>> is_http("https://a.b/c"), is_http("s3://bucket/c")
    (True, False)
    """
    return url.partition("://")[0].lower() in _HTTP


def host_of(url: str) -> str:
    """Return the host of a web address in lower case, or "" if it has none.

    >>> host_of("http://User@A.b:8000/c")
    'a.b'
    """
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def check_url(url: str) -> None:
    """Check a URL from a file of a data set.

    Raises:
        AnnotationError: The protocol is not in `PROTOCOLS`, or the URL is a chain such as zip://a::http://b.
    """
    check_chain(url)
    protocol = url.partition("://")[0].lower()
    if protocol not in PROTOCOLS:
        raise AnnotationError(f"{url} has the protocol '{protocol}'; allowed are {', '.join(PROTOCOLS)}")


def check_chain(path: str) -> None:
    """Raise AnnotationError if a path or URL is a chain of protocols. Some, such as reference://, can run code."""
    if "::" in path:
        raise AnnotationError(f"{path} is a chain of protocols (::); write the URL of one file")


def options_of_named_url(url: str, root: str, options: Mapping[str, Any], allow_outside: bool) -> Mapping[str, Any]:
    """Return the options of fsspec for a URL from a file of a data set.

    Args:
        url: the URL.
        root: path or URL of the file. If it is a web address, its host may have private IP addresses.
        options: the options of the file, for example a key. They are used only if `url` has the same protocol and, for
            web addresses, the same host as `root`.
        allow_outside: allow private IP addresses for all hosts.

    Returns:
        The options. Those of a web address contain a `HostGuard`.
    """
    is_other = url.partition("://")[0].lower() != root.partition("://")[0].lower()
    options = {} if is_other or (is_http(url) and host_of(url) != host_of(root)) else options
    if not is_http(url):
        return options
    from pixelwise.data.io.http_guard import HostGuard

    trusted = (host_of(root),) if is_http(root) else ()
    return {**options, "get_client": HostGuard(trusted, allow_outside)}


def with_limits(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of fsspec with time limits.

    Web addresses also get a check of redirects, and Amazon S3 one retry. The client of the Hugging Face hub has a time
    limit of 10 s already.

    Args:
        url: the URL. Its host is trusted, unless `options` contain a guard from `options_of_named_url`.
        options: the options so far. They take precedence over the limits.
    """
    protocol = url.partition("://")[0].lower()
    if protocol in _HTTP:
        from pixelwise.data.io.http_guard import HostGuard

        return {"get_client": HostGuard((host_of(url),)), **options}
    limits = {"connect_timeout": TIMEOUT_SECONDS, "read_timeout": TIMEOUT_SECONDS}
    if protocol in _S3:
        config = limits | {"retries": {"total_max_attempts": 2}} | dict(options.get("config_kwargs") or {})
        return {**options, "config_kwargs": config}
    if protocol in _GOOGLE:
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(sock_connect=TIMEOUT_SECONDS, sock_read=TIMEOUT_SECONDS)
        return {**options, "session_kwargs": {"timeout": timeout} | dict(options.get("session_kwargs") or {})}
    if protocol in _AZURE:
        return {"connection_timeout": TIMEOUT_SECONDS, "read_timeout": TIMEOUT_SECONDS, **options}
    return dict(options)


def retry_once(url: str, read: Callable[[], T]) -> T:
    """Call a function that reads from a URL. Call it again if the network failed.

    Errors that a second try would repeat, such as HTTP status 404, are raised at once.

    Args:
        url: the URL. S3 gets no second call, because Amazon's package repeats requests by itself, see `with_limits`.
        read: the function.

    Returns:
        The result of the function.
    """
    try:
        return read()
    except _NO_RETRY:
        raise
    except Exception as error:
        if url.partition("://")[0].lower() in _S3 or 400 <= (getattr(error, "status", 0) or 0) < 500:
            raise
    return read()
