"""A real server on loopback that can misbehave in every way a mirror does."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mi50.fetch import download

CONTENT = bytes(range(256)) * 8192  # 2 MiB: two reads


class Upstream(http.server.ThreadingHTTPServer):
    """Serves `content` under every path; the attributes say how it misbehaves. `log` holds (path, Range, status)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.log: list[tuple[str, str, int]] = []
        self.etag = '"one"'
        self.date = ""
        self.cut: list[int] = []  # after so many bytes of the body, one entry a request
        self.status: list[int] = []  # answered before anything else, one entry a request
        self.ranges = True
        self.announce = True
        self.claim = 0  # Content-Length to announce instead

    def handle_error(self, *_args: object) -> None:
        """A client that hangs up is what some tests are about."""

    @property
    def strong(self) -> set[str]:
        """What If-Range may name: a weak ETag never matches (RFC 9110, 13.1.5)."""
        return {tag for tag in (self.etag, self.date) if tag and not tag.startswith("W/")}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Upstream

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range", "")
        status, start = 200, 0
        if server.status:
            status = server.status.pop(0)
        elif asked and server.ranges and self.headers.get("If-Range") in server.strong:
            status, start = 206, int(asked.removeprefix("bytes=").rstrip("-"))
        server.log.append((self.path, asked, status))
        self.send_response(status)
        body = server.content[start:] if status in (200, 206) else b"sorry"
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        for name, value in (("ETag", server.etag), ("Last-Modified", server.date)):
            if value:
                self.send_header(name, value)
        if server.announce:
            self.send_header("Content-Length", str(server.claim or len(body)))
        self.end_headers()
        if server.cut and status in (200, 206):
            body = body[: server.cut.pop(0)]
        self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts, and no proxy of this machine's."""
    monkeypatch.setattr(download.time, "sleep", lambda _seconds: None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
