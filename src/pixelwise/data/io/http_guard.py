"""HTTP sessions with limits: private IP addresses are refused, and responses are limited in size and time.

A server or file that the user does not trust must not make this machine send requests to its own network (server-side
request forgery). Each redirect is checked. The check of a host name uses the same IP addresses as the connection.
"""

import asyncio
import socket
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from pixelwise.data.io.download_limits import check_download_rate, check_download_size, max_download_bytes
from pixelwise.data.io.network import TIMEOUT_SECONDS
from pixelwise.errors import DataError

_TRANSLATED = ip_network("64:ff9b::/96")
"""IPv6 addresses that a gateway translates to the IPv4 address in their last four bytes (RFC 6052)."""


@dataclass(frozen=True)
class HostGuard:
    """A factory of HTTP sessions, for the argument `get_client` of fsspec's HTTP file system.

    A guard is immutable and can be pickled. fsspec keeps one session for equal guards.

    Attributes:
        trusted_hosts: hosts that may have private IP addresses, in lower case.
        any_host: True to allow private IP addresses for all hosts.
    """

    trusted_hosts: tuple[str, ...] = ()
    any_host: bool = False

    async def __call__(self, **options: Any) -> aiohttp.ClientSession:
        """Return a session with limits on time and size. Its requests are checked unless `any_host` is True.

        Args:
            options: keyword arguments of `aiohttp.ClientSession`.
        """
        options.setdefault("timeout", aiohttp.ClientTimeout(sock_connect=TIMEOUT_SECONDS, sock_read=TIMEOUT_SECONDS))
        options.setdefault("response_class", LimitedResponse)
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._check_request)
        trace.on_request_redirect.append(self._check_redirect)
        connector = aiohttp.TCPConnector(resolver=_GuardedResolver(self))
        traces = [*options.pop("trace_configs", ()), trace]
        return aiohttp.ClientSession(connector=connector, trace_configs=traces, **options)

    async def _check_request(
        self, session: aiohttp.ClientSession, context: Any, params: aiohttp.TraceRequestStartParams
    ) -> None:
        self.check(params.url.host, params.url.host)

    async def _check_redirect(
        self, session: aiohttp.ClientSession, context: Any, params: aiohttp.TraceRequestRedirectParams
    ) -> None:
        headers = params.response.headers
        target = params.response.url.join(URL(headers.get("Location") or headers.get("URI") or ""))
        self.check(target.host, target.host)

    def check(self, host: str | None, address: str | None) -> None:
        """Raise DataError for a private IP address.

        Args:
            host: the host in the URL.
            address: an IP address of the host. A host name passes, because the resolver checks its IP addresses.

        Raises:
            DataError: The address is private and the host is not trusted.
        """
        if self.any_host:
            return
        if (host or "").lower() not in self.trusted_hosts and is_private(address or ""):
            where = host if host == address else f"{host} ({address})"
            raise DataError(f"{where} is a private address; set `allow_outside` if you trust this data set")


class LimitedResponse(aiohttp.ClientResponse):
    """A response whose headers must arrive within `TIMEOUT_SECONDS`, and whose body is limited in size and by a rate.

    The time limits of aiohttp restart with each byte. The limits of the body are those of `download_limits`. They apply
    to the decompressed body.
    """

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the headers. Raises TimeoutError after `TIMEOUT_SECONDS`."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await super().start(connection)

    async def read(self) -> bytes:
        """Return the body.

        Raises:
            DataError: The body is too large or arrives too slowly.
        """
        if self._body is None:
            try:
                self._body = await self._read_limited()
            except BaseException:
                self.close()
                raise
        return await super().read()

    async def _read_limited(self) -> bytes:
        max_bytes, started = max_download_bytes(), time.monotonic()
        check_download_size(self.content_length or 0, max_bytes)
        parts: list[bytes] = []
        size = 0
        async for part in self.content.iter_any():
            parts.append(part)
            size += len(part)
            check_download_size(size, max_bytes)
            check_download_rate(size, time.monotonic() - started)
        return b"".join(parts)


class _GuardedResolver(aiohttp.ThreadedResolver):
    """A resolver of host names that raises DataError if a name has a private IP address."""

    def __init__(self, guard: HostGuard) -> None:
        super().__init__(asyncio.get_running_loop())
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            results = await super().resolve(host, port, family)
        for result in results:
            self._guard.check(host, result["host"])
        return results


def is_private(address: str) -> bool:
    """Return True for an IP address that is not on the public internet, such as a loopback or link-local address.

    Return False for a host name.

    >>> is_private("127.0.0.1"), is_private("::ffff:10.0.0.1"), is_private("8.8.8.8"), is_private("a.name")
    (True, True, False, False)
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None)
    if parsed in _TRANSLATED:
        mapped = IPv4Address(int(parsed) & 0xFFFFFFFF)
    return not parsed.is_global or parsed.is_multicast or (mapped is not None and is_private(str(mapped)))
