"""Requests that tables cause: private addresses, redirects, time limits, one retry. A server in a thread answers."""

import asyncio
import gzip
import pickle
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import pytest
from fsspec.implementations.http import HTTPFileSystem

from pixelwise.data.io import download_limits, http_guard
from pixelwise.data.io.http_guard import HostGuard, is_private
from pixelwise.data.io.network import options_of_named_url
from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import DataError

REDIRECTS = (301, 302, 303, 307, 308)


@dataclass
class Server:
    """A server on this machine.

    Attributes:
        port: its port.
        answers: path → list of answers, used one after the other, the last one again: content, status, (status,
            location), a list of parts that are sent with a pause after each, or None for no answer.
        requests: the paths requested so far.
    """

    port: int = 0
    answers: dict[str, list[Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    here = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path[1:]
            here.requests.append(path)
            answers = here.answers.get(path, [404])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if answer is None:
                here.stop.wait(5)
            elif isinstance(answer, list):
                for part in answer:
                    try:
                        self.wfile.write(part)
                    except OSError:
                        return
                    here.stop.wait(0.05)
            elif isinstance(answer, bytes):
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            else:
                status, location = answer if isinstance(answer, tuple) else (answer, None)
                self.send_response(status)
                if location is not None:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    HTTPFileSystem.clear_instance_cache()  # fsspec would keep the time limits of another test
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        here.port = running.server_port
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield here
        here.stop.set()
        running.shutdown()
        thread.join()


def named_by(table: str, url: str, allow_outside: bool = False) -> RemoteFile:
    """Return the file of a URL in a cell of a table."""
    return RemoteFile(url, options_of_named_url(url, table, {}, allow_outside))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
     "::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "224.0.0.1"],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "localhost", ""])
def test_public_addresses_and_names(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("table", ["data/train.csv", "https://example.org/train.csv", "s3://bucket/train.csv"])
def test_a_cell_of_a_table_cannot_name_this_machine(host: str, table: str, server: Server) -> None:
    server.answers["a.png"] = [b"secret"]
    file = named_by(table, server.url("a.png", host))
    with pytest.raises(DataError, match=r"is a private address; set `allow_outside` if you trust this data set"):
        file.read_bytes()
    assert server.requests == []


def test_a_user_can_allow_it(server: Server) -> None:
    server.answers["a.png"] = [b"content"]
    assert named_by("data/train.csv", server.url("a.png", "localhost"), allow_outside=True).read_bytes() == b"content"


def test_the_host_of_the_users_own_url_is_trusted(server: Server) -> None:
    server.answers |= {"train.csv": [b"image,mask"], "a.png": [b"content"]}
    table = server.url("train.csv")
    assert RemoteFile(table).exists() and RemoteFile(table).read_bytes() == b"image,mask"
    assert named_by(table, server.url("a.png")).read_bytes() == b"content"
    with pytest.raises(DataError, match=r"localhost .* is a private address"):
        named_by(table, server.url("a.png", "localhost")).read_bytes()


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize(
    "target", ["http://localhost:{port}/secret", "//127.0.0.2:{port}/secret", "http://[::1]:{port}/"]
)
def test_a_redirect_to_a_private_address_is_refused(status: int, target: str, server: Server) -> None:
    """The table's own host is trusted, and the host that it redirects to is not."""
    server.answers |= {"a.png": [(status, target.format(port=server.port))], "secret": [b"secret"]}
    with pytest.raises(DataError, match="private address"):
        named_by(server.url("train.csv"), server.url("a.png")).read_bytes()
    with pytest.raises(DataError, match="private address"):
        RemoteFile(server.url("a.png")).read_bytes()
    assert set(server.requests) == {"a.png"}


def test_a_redirect_on_a_trusted_host_is_followed(server: Server) -> None:
    server.answers |= {"a.png": [(302, "/b.png")], "b.png": [b"content"]}
    assert RemoteFile(server.url("a.png")).read_bytes() == b"content"


def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name with a second, private address: no request may use either."""

    async def resolve(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        return [{"hostname": host, "host": address, "port": port} for address in ("93.184.216.34", "10.0.0.7")]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    with pytest.raises(DataError, match=r"evil\.example \(10\.0\.0\.7\) is a private address"):
        named_by("train.csv", "http://evil.example/a.png").read_bytes()


def test_a_server_that_does_not_answer_is_left_after_two_time_limits(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_guard, "TIMEOUT_SECONDS", 0.2)
    server.answers["a.png"] = [None]
    started = time.monotonic()
    with pytest.raises(DataError, match="the server did not answer within 10 s; try again later"):
        named_by("train.csv", server.url("a.png"), allow_outside=True).read_bytes()
    assert time.monotonic() - started < 2 and server.requests == ["a.png", "a.png"]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"


@pytest.mark.parametrize("length", [b"Content-Length: 3000000\r\n", b"Connection: close\r\n"])
def test_a_body_that_is_too_large_is_refused(length: bytes, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELWISE_MAX_DOWNLOAD_MB", "1")
    server.answers["a.png"] = [[HEAD + length + b"\r\n", *[bytes(300_000)] * 10]]
    started = time.monotonic()
    with pytest.raises(DataError, match=r"larger than 1 MiB, .*PIXELWISE_MAX_DOWNLOAD_MB"):
        RemoteFile(server.url("a.png")).read_bytes()
    assert time.monotonic() - started < 0.45 and server.requests == ["a.png"]


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELWISE_MAX_DOWNLOAD_MB", "1")
    packed = gzip.compress(bytes(8 << 20))
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: " + str(len(packed)).encode() + b"\r\n\r\n"
    server.answers["a.png"] = [[head, packed]]
    with pytest.raises(DataError, match="larger than 1 MiB"):
        RemoteFile(server.url("a.png")).read_bytes()


def test_a_large_file_is_read_if_the_user_allows_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELWISE_MAX_DOWNLOAD_MB", "4")
    server.answers["a.png"] = [bytes(3 << 20)]
    assert RemoteFile(server.url("a.png")).read_bytes() == bytes(3 << 20)


@pytest.mark.parametrize("start", [HEAD + b"Content-Length: 100\r\n\r\n", HEAD], ids=["body", "headers"])
def test_a_server_that_sends_a_few_bytes_now_and_then_is_left(
    start: bytes, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte arrives in time, so the time limit of a socket never ends the read."""
    monkeypatch.setattr(http_guard, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(download_limits, "TIMEOUT_SECONDS", 0.2)
    server.answers["a.png"] = [[start, *[b"x"] * 100]]
    started = time.monotonic()
    with pytest.raises(DataError, match=r"the server sent \d bytes|the server did not answer within"):
        RemoteFile(server.url("a.png")).read_bytes()
    assert time.monotonic() - started < 2


def test_one_failure_of_the_network_is_repaired(server: Server) -> None:
    server.answers["a.png"] = [503, b"content"]
    assert RemoteFile(server.url("a.png")).read_bytes() == b"content"
    server.answers["b.png"] = [503, 503, b"content"]
    with pytest.raises(DataError, match="503"):
        RemoteFile(server.url("b.png")).read_bytes()
    server.answers["c.png"] = [403, b"content"]
    with pytest.raises(DataError, match="403"):
        RemoteFile(server.url("c.png")).read_bytes()


def test_a_guard_pickles_and_keeps_options() -> None:
    guard = HostGuard(("a.b",))
    assert pickle.loads(pickle.dumps(guard)) == guard and repr(guard) == repr(HostGuard(("a.b",)))

    async def timeout_of(guard: HostGuard, **options: Any) -> aiohttp.ClientTimeout:
        async with await guard(**options) as session:
            return session.timeout

    assert asyncio.run(timeout_of(guard)).sock_read == 10
    assert asyncio.run(timeout_of(guard, timeout=aiohttp.ClientTimeout(sock_read=3))).sock_read == 3


def test_keys_are_not_sent_to_another_host() -> None:
    options = {"client_kwargs": {"headers": {"Authorization": "secret"}}}
    same = options_of_named_url("https://a.b/1.png", "https://a.b/train.csv", options, False)
    other = options_of_named_url("https://c.d/1.png", "https://a.b/train.csv", options, False)
    assert same["client_kwargs"] == options["client_kwargs"] and "client_kwargs" not in other
