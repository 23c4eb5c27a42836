"""Whether a server is up: asked over HTTP on loopback."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mi50.benchrun.ready import missing


class Server(http.server.ThreadingHTTPServer):
    """Answers each path with a status; what is not there is 404."""

    daemon_threads = True

    def __init__(self, statuses: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = statuses
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.statuses.get(self.path, 404))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"/v1/models": 200}) as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.mark.parametrize(
    ("kind", "statuses", "says"),
    [
        ("openai", {"/v1/models": 200}, None),
        ("openai", {"/v1/models": 401}, None),  # a wrong key is the measurement's to name
        ("openai", {"/v1/models": 404}, None),
        ("openai", {"/v1/models": 503}, "/v1/models says 503, it is loading"),
        ("openai", {"/v1/models": 500}, "/v1/models says 500"),
        ("llama.cpp", {"/health": 200, "/v1/models": 200}, None),
        # llama-server lists its model before it has loaded it.
        ("llama.cpp", {"/health": 503, "/v1/models": 200}, "/health says 503, it is loading"),
        ("openai", {"/health": 503, "/v1/models": 200}, None),
    ],
    ids=str,
)
def test_an_answer(server: Server, kind: str, statuses: dict[str, int], says: str | None) -> None:
    server.statuses = statuses
    assert missing(server.url, kind) == (None if says is None else server.url + says)


def test_the_key_is_sent(server: Server, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    assert missing(server.url, "openai", str(tmp_path / "key")) is None
    assert missing(server.url, "openai") is None
    assert server.asked == [("/v1/models", "Bearer sk-1"), ("/v1/models", None)]


def test_a_path_in_the_address_is_kept(server: Server) -> None:
    missing(f"{server.url}/engine", "openai")
    assert server.asked == [("/engine/v1/models", None)]


def test_nobody_listens(server: Server) -> None:
    server.shutdown()
    server.server_close()
    assert "Connection refused" in (missing(server.url, "openai") or "")


def test_what_is_no_http_is_not_ready(tmp_path: Path) -> None:
    assert "No such file" in (missing("http://127.0.0.1:1", "openai", str(tmp_path / "none")) or "")
    assert (missing("https://127.0.0.1:1", "openai") or "").startswith("https://127.0.0.1:1/v1/models: ")
