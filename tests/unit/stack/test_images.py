"""Images are locked by what a registry says once; what it says later is compared with that."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mi50.stack import images
from mi50.stack.load import StackError
from mi50.stack.lock import read_lock, record

INDEX = {
    "schemaVersion": 2,
    "manifests": [{"digest": "sha256:1", "platform": {"os": "linux", "architecture": "amd64"}}],
}
# What Docker Hub hands to everybody.
ANONYMOUS = "for-everybody"


class Registry:
    """Answers as Docker Hub does: only with a token, which everybody gets."""

    def __init__(self) -> None:
        self.body: Any = INDEX
        self.challenge = 'Bearer realm="http://{host}/token",service="registry",scope="repository:o/i:pull"'
        self.asked: list[str] = []
        self.host = ""

    def artifact(self, **changes: str) -> dict[str, Any]:
        return {"name": "vllm-image", "base": "mi50_registry_docker", "path": "o/i", "version": "v1",
                "url": f"{self.host}/o/i", **changes}  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    registry: Registry

    def do_GET(self) -> None:
        registry = self.registry
        registry.asked.append(self.path)
        if self.path.startswith("/token?"):
            self.answer(200, {"token": ANONYMOUS})
        elif self.headers["Authorization"] != f"Bearer {ANONYMOUS}" and registry.challenge:
            self.answer(401, {}, {"WWW-Authenticate": registry.challenge.format(host=registry.host)})
        elif self.path == "/v2/o/i/manifests/v1":
            self.answer(200, registry.body)
        else:
            self.answer(404, {})

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"registry": found})) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        found.host = f"127.0.0.1:{listening.server_port}"
        yield found
        listening.shutdown()


def test_a_tags_digest_is_recorded_and_binding(registry: Registry, tmp_path: Path) -> None:
    lock = tmp_path / "s.lock.yml"
    digest = f"sha256:{hashlib.sha256(json.dumps(INDEX).encode()).hexdigest()}"
    entry = images.entry(registry.artifact())
    assert entry["digest"] == digest
    assert "scope=repository%3Ao%2Fi%3Apull" in registry.asked[1]
    assert record(lock, "s", "vllm-image", entry)
    assert read_lock(lock, "s")["vllm-image"]["digest"] == digest
    assert not record(lock, "s", "vllm-image", images.entry(registry.artifact()))
    # The tag moves.
    registry.body = {"schemaVersion": 2, "config": {}, "layers": []}
    with pytest.raises(StackError, match=r"locked as .*Nothing was recorded"):
        record(lock, "s", "vllm-image", images.entry(registry.artifact()))


def test_a_registry_without_tokens(registry: Registry) -> None:
    registry.challenge = ""
    assert images.entry(registry.artifact())["digest"].startswith("sha256:")


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "no such tag": ({}, {"version": "v2"}, "404"),
    "a page": ({"body": b"<html>"}, {}, "no manifest"),
    "something else": ({"body": {"errors": []}}, {}, "no manifest of an image"),
    "another machine": (
        {"body": {"manifests": [{"platform": {"os": "linux", "architecture": "arm64"}}]}},
        {},
        "linux/arm64, none for linux/amd64",
    ),
    "a login": ({"challenge": 'Basic realm="x"'}, {}, "names another registry"),
    "nobody there": ({}, {"url": "127.0.0.1:1/o/i"}, "names another registry"),
    "no address": ({}, {"url": ""}, "mi50_registry_docker is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(registry: Registry, case: str) -> None:
    state, changes, words = REFUSED[case]
    for name, value in state.items():
        setattr(registry, name, value)
    with pytest.raises(StackError, match=f"vllm-image: .*{words}"):
        images.entry(registry.artifact(**changes))
