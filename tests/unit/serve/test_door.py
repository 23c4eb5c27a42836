"""The door with the key before engines that ask for none."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mi50.serve import door as doors
from mi50.serve.door import Behind, Gate, Trouble, stand

SECRET = "a-key-of-some-length"  # noqa: S105 - for the tests' own door


class Inner(http.server.BaseHTTPRequestHandler):
    """The daemon behind the door; answers what it was asked, and counts."""

    protocol_version = "HTTP/1.1"
    heads: list[dict[str, str]]

    def do_GET(self) -> None:
        self.heads.append({name.lower(): value for name, value in self.headers.items()})
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = f"{self.command} {self.path} {len(body)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, *_args: object) -> None:
        pass


class Quiet(http.server.ThreadingHTTPServer):
    """Says nothing when the other side is gone."""

    def handle_error(self, *_args: object) -> None:
        pass


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[int, Gate, list[dict[str, str]]]]:
    """A port, the gate behind it and the heads of what came through."""
    (tmp_path / "key").write_text(f"{SECRET}\n")
    heads: list[dict[str, str]] = []
    inner = Quiet(("127.0.0.1", 0), type("Bound", (Inner,), {"heads": heads}))
    threading.Thread(target=inner.serve_forever, args=(0.01,), daemon=True).start()
    gate = Gate({"inner_port": inner.server_address[1], "key_file": str(tmp_path / "key")})
    gate.stage = ""
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=gate.serve, args=(listening,), daemon=True).start()
    yield listening.getsockname()[1], gate, heads
    inner.shutdown()
    inner.server_close()


def send(port: int, *pieces: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        for piece in pieces:
            connection.sendall(piece)
        found = b""
        while more := connection.recv(65536):
            found += more
    return found.decode()


def head(method: str, *fields: str, key: str = SECRET) -> bytes:
    given = [f"Authorization: Bearer {key}"] if key else []
    return "\r\n".join([f"{method} /v1/x HTTP/1.1", "Host: x", *given, *fields, "", ""]).encode()


def test_the_key_opens(door: Any) -> None:
    port, _gate, heads = door
    assert send(port, head("GET")).endswith("GET /v1/x 0")
    assert "authorization" not in heads[0]
    assert heads[0]["connection"] == "close"
    assert send(port, head("POST", "Content-Length: 5"), b"ab", b"cde").endswith("POST /v1/x 5")
    assert send(port, head("GET", f"X-Api-Key: {SECRET}", key="")).endswith("GET /v1/x 0")


@pytest.mark.parametrize("key", ["", "wrong", SECRET[:-1], SECRET + "x", "\xff"])
def test_nothing_else_does(door: Any, key: str) -> None:
    port, _gate, heads = door
    assert send(port, head("GET", key=key)).startswith("HTTP/1.1 401 ")
    assert heads == []


def test_a_second_request_does_not_slip_through(door: Any) -> None:
    port, _gate, heads = door
    smuggled = head("POST", "Content-Length: 3") + b"abc" + head("GET", key="")
    assert send(port, smuggled).count("HTTP/1.1") == 1
    assert len(heads) == 1
    assert send(port, head("POST", "Transfer-Encoding: chunked"), b"0\r\n\r\n").startswith("HTTP/1.1 411 ")
    assert send(port, head("POST", "Content-Length: -1")).startswith("HTTP/1.1 411 ")
    assert send(port, head("POST", "Content-Length: 1", "Content-Length: 3")).startswith("HTTP/1.1 400 ")
    assert send(port, head("POST", "Content-Length : 3")).startswith("HTTP/1.1 400 ")
    assert send(port, head("POST", "X: y", " Content-Length: 3")).startswith("HTTP/1.1 400 ")
    assert len(heads) == 1


def test_a_refused_client_that_still_sends_gets_its_answer(door: Any) -> None:
    port, _gate, _heads = door
    # More than the door reads with the head: it lies unread when the answer goes out.
    body = b"x" * 300_000
    for _again in range(20):
        refused = head("POST", f"Content-Length: {len(body)}", key="wrong")
        assert send(port, refused, body).startswith("HTTP/1.1 401 ")


def test_while_it_loads_it_says_so(door: Any) -> None:
    port, gate, heads = door
    gate.stage = "loading the model"
    answer = send(port, head("GET"))
    assert answer.startswith("HTTP/1.1 503 ")
    assert "loading: loading the model" in answer
    assert heads == []


def test_a_head_without_end_is_refused(door: Any) -> None:
    port, _gate, heads = door
    assert send(port, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000).startswith("HTTP/1.1 431 ")
    assert heads == []


class Short(Behind):
    """An engine that comes up and ends."""

    title = "Short"

    def steps(self) -> Any:
        return (("coming up", lambda: None),)

    def ended(self) -> bool:
        return True

    def listens(self) -> bool:
        raise AssertionError("its port was asked, though its process is known to be gone")


class Failing(Short):
    """One that does not come up."""

    def steps(self) -> Any:
        def fail() -> None:
            raise Trouble("it will not")

        return (("coming up", fail),)


@pytest.mark.parametrize(
    ("engine", "said"), [(Short, "Short does not listen any more"), (Failing, "Short: it will not")]
)
def test_what_ends_or_fails_is_told_to_systemd(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    engine: type[Behind],
    said: str,
) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"inner_port": 1, "key_file": str(tmp_path / "key")}))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(doors, "_FIRST_SOCKET", listening.detach())
        monkeypatch.setattr(doors.time, "sleep", lambda _seconds: None)
        monkeypatch.setattr(doors.signal, "signal", lambda *_given: None)
        assert stand([str(config)], engine) == 1
    assert said in capsys.readouterr().out
