"""A hub on loopback that lists and serves as Hugging Face and ModelScope do, and breaks off where it is told to."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mi50.fetch import download
from mi50.models import ensure
from mi50.models.hub import Endpoints
from mi50.models.wanted import Wanted, parse

from tests.unit.models import made_up

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/model-GGUF"


class Hub(http.server.ThreadingHTTPServer):
    """`files` by path (all in REPO, at COMMIT, which is `main`); `log` holds (path, Range, status, Authorization)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.log: list[tuple[str, str, int, str]] = []
        self.cut: list[int] = []  # bytes of a body after which the connection ends, one entry a weights request
        self.redirect = ""  # base address of another host that serves the content
        self.status = 0  # answered to everything
        self.lies: dict[str, bytes] = {}  # served instead of what is listed
        self.ranges = True
        self.api = True

    def handle_error(self, *_args: object) -> None:
        """A client that hangs up is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def bodies(self) -> list[tuple[str, str, int, str]]:
        """Requests for content, not for lists, and no peeks at headers."""
        return [entry for entry in self.log if "/resolve/" in entry[0] and not re.fullmatch(r"bytes=\d+-\d+", entry[1])]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        content = re.fullmatch(rf"(?:/models)?/{REPO}/resolve/(?:{COMMIT}|main|master)/(.+)", path)
        if self.server.status:
            self.answer(self.server.status, b"no")
        elif content and content[1] in self.server.files:
            self.content(content[1])
        elif self.server.api and path == f"/api/models/{REPO}/revision/main":
            self.answer(200, json.dumps({"sha": COMMIT}).encode())
        elif self.server.api and path in (f"/api/models/{REPO}/tree/{COMMIT}", f"/api/models/{REPO}/tree/two"):
            self.tree(path)
        elif self.server.api and path == f"/api/v1/models/{REPO}/repo/files":
            self.answer(200, json.dumps({"Data": {"Files": list(self.modelscope())}}).encode())
        else:
            self.answer(404, b"no such repository")

    def tree(self, path: str) -> None:
        """Two pages, as large repositories have them."""
        names = sorted(self.server.files)
        half = names[:1] if path.endswith(COMMIT) else names[1:]
        link = {"Link": f'</api/models/{REPO}/tree/two>; rel="next"'} if path.endswith(COMMIT) and names[1:] else {}
        self.answer(200, json.dumps([{"type": "directory", "path": "x"}, *map(self.entry, half)]).encode(), link)

    def entry(self, name: str) -> dict[str, object]:
        data = self.server.files[name]
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - git's own
        large = {"lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}} if len(data) > 1000 else {}
        return {"type": "file", "path": name, "size": len(data), "oid": blob, **large}

    def modelscope(self) -> Iterator[dict[str, object]]:
        yield {"Path": "folder", "Type": "tree", "Size": 0}
        for name, data in self.server.files.items():
            yield {"Path": name, "Type": "blob", "Size": len(data), "Sha256": hashlib.sha256(data).hexdigest()}

    def content(self, name: str) -> None:
        if self.server.redirect:
            self.answer(302, b"", {"Location": f"{self.server.redirect}{self.path}"})
            return
        data = self.server.lies.get(name, self.server.files[name])
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        status, begin, end = 200, 0, len(data)
        if asked and self.server.ranges:
            status, begin = 206, int(asked[1])
            end = min(end, int(asked[2]) + 1) if asked[2] else end
        body = data[begin:end]
        headers = {"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"} if status == 206 else {}
        peek = bool(asked and asked[2])
        announced = len(body)
        if self.server.cut and not peek and len(data) > 1000:
            body = body[: self.server.cut.pop(0)]
        self.answer(status, body, headers, announced)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, announced: int = -1) -> None:
        asked = self.headers
        self.server.log.append((self.path, asked.get("Range", ""), status, asked.get("Authorization", "")))
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(announced if announced >= 0 else len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve() -> Hub:
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with one small real GGUF file and what lies beside it."""
    with serve() as server:
        metadata, tensors = made_up.small()
        head, data = made_up.header(metadata, tensors)
        server.files = {
            "model-Q8_0.gguf": head + bytes(range(256)) * (data // 256 + 1),
            "config.json": b'{"model_type": "llama"}',
            ".gitattributes": b"x",
        }
        yield server
        server.shutdown()


@pytest.fixture
def other() -> Iterator[Hub]:
    """Another host."""
    with serve() as server:
        yield server
        server.shutdown()


@pytest.fixture
def around(hub: Hub, tmp_path: Path) -> ensure.Surroundings:
    hubs = Endpoints({"huggingface": hub.url, "modelscope": hub.url}, timeout=5)
    return ensure.Surroundings(tmp_path / "models", hubs, progress=tmp_path / "progress.json", root=tmp_path / "root")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts, no proxy of this machine's."""
    monkeypatch.setattr(download.time, "sleep", lambda _seconds: None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def model(**changes: object) -> Wanted:
    entry = {"name": "m", "repo": REPO, "revision": COMMIT, "files": [{"path": "model-Q8_0.gguf"}], **changes}
    return parse([{key: value for key, value in entry.items() if value is not None}])[0]
