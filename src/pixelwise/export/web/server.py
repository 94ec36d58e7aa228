"""A web server for a page on this machine."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pixelwise.errors import ConfigError

HOST = "127.0.0.1"
"""The loopback address, which other machines cannot reach."""

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""Headers without which browsers do not let WebAssembly use threads."""


class _Handler(SimpleHTTPRequestHandler):
    """Sends files with the right types and headers, and prints nothing."""

    extensions_map = {  # noqa: RUF012 (as in the base class)
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".html": "text/html; charset=utf-8",
    }

    def __init__(self, *args: Any, headers: dict[str, str], **options: Any) -> None:
        self._headers = headers
        super().__init__(*args, **options)

    def end_headers(self) -> None:
        for name, value in {**self._headers, "Cache-Control": "no-cache"}.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    """Ignores browsers that end a connection early, as they do when a page is closed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(folder: Path, port: int = 0, headers: dict[str, str] | None = None) -> Iterator[str]:
    """Serve a folder on this machine's loopback address, in threads, until the block ends.

    Args:
        folder: the folder.
        port: the port. 0 takes a free one.
        headers: headers of each response. None sends `ISOLATION`.

    Yields:
        The URL of the folder.

    Raises:
        ConfigError: The port is in use, may not be opened, or does not exist.
    """
    handler = partial(_Handler, directory=str(folder), headers=ISOLATION if headers is None else headers)
    try:
        server = _Server((HOST, port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"port {port} cannot be used ({reason}); choose another `port`, or 0 for a free one"
        ) from None
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="pixelwise-web", daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
