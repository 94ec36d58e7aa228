"""A Hugging Face hub on this machine: the requests of huggingface_hub to find, download, create and commit."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class LocalHub:
    """The repositories of the hub.

    Attributes:
        repos: "user/name" → file name → content.
        revisions: names of the known revisions.
        private: repositories that the hub denies.
        status: the status of all answers to GET, if it is not 200.
        validated: the model card that the client sent for validation.
        requests: method and path of each request.
        url: the address of the server.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.revisions = {"main", "v1", COMMIT}
        self.private: set[str] = set()
        self.status, self.validated = 200, ""
        self.requests: list[str] = []
        self.url = ""


@contextmanager
def serve() -> Iterator[LocalHub]:
    """Start the hub on a free port."""
    hub = LocalHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._file()

        def do_GET(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if hub.status != 200:
                return self._send({"error": "broken"}, hub.status)
            if path.startswith("/api/models/"):
                return self._info(path.removeprefix("/api/models/"))
            return self._file()

        def _info(self, path: str) -> None:
            repo, _, revision = path.partition("/revision/")
            if repo in hub.private or repo not in hub.repos:
                return self._send({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
            if (revision or "main") not in hub.revisions:
                return self._send({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            files = [{"rfilename": name, "size": len(data)} for name, data in hub.repos[repo].items()]
            return self._send({"id": repo, "sha": COMMIT, "siblings": files, "tags": [], "private": False})

        def _file(self) -> None:
            repo, _, rest = self.path.lstrip("/").partition("/resolve/")
            data = hub.repos.get(repo, {}).get(rest.partition("/")[2])
            if data is None:
                return self._send({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            return self._send(data, 200, headers)

        def do_POST(self) -> None:
            hub.requests.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if "Bearer good" not in self.headers.get("Authorization", ""):
                return self._send({"error": "Invalid username or password."}, 401)
            path = self.path.partition("?")[0]
            if path == "/api/repos/create":
                fields = json.loads(body)
                repo = f"{fields.get('organization') or 'me'}/{fields['name']}"
                hub.repos.setdefault(repo, {})
                return self._send({"url": f"{hub.url}/{repo}"})
            if path == "/api/validate-yaml":
                hub.validated = json.loads(body)["content"]
                return self._send({"errors": [], "warnings": []})
            repo = "/".join(path.split("/")[3:5])
            if "/preupload/" in path:
                names = [file["path"] for file in json.loads(body)["files"]]
                files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
                return self._send({"files": files})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub.repos[repo][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self._send({"commitUrl": f"{hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})

        def _send(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
