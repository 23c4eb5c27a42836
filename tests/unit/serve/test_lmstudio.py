"""LM Studio: what is refused, what its units say, and the door with the key before it."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mi50.serve import checks, gpus, lmstudio, lmstudio_run, probe
from mi50.serve.model import Common, Device, Key

from tests.unit.models import made_up
from tests.unit.serve.conftest import MODEL, Machine

OPTIONS: dict[str, Any] = {
    **{name: spec.get("default") for name, spec in lmstudio.SPEC.items()},
    "model": MODEL,
    "context": 1024,
    "accept_licence": True,
    "archive": "/srv/llmster.tar.gz",
    "version": "0.0.25-1",
}
SECRET = "a-key-of-some-length"  # noqa: S105 - for the tests' own door


def common(machine: Machine) -> Common:
    chosen, _problems = gpus.choose(machine.node, [])
    key = Key("/etc/mi50-aipc/keys/lmstudio")
    own = ("lmstudio", "mi50-lmstudio", "127.0.0.1", 1234, key, tuple(chosen))
    return Common(*own, 0.0, False, False, 900.0, 120.0, 30, 10.0, 600)


def define(machine: Machine, **changes: Any) -> Any:
    return lmstudio.define(common(machine), {**OPTIONS, **changes}, machine.node)


def window(machine: Machine) -> None:
    (machine.root / "proc/77").mkdir()
    (machine.root / "proc/77/cmdline").write_bytes(b"/opt/LM-Studio-0.4.12-1-x64.AppImage\0--no-sandbox\0")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accept_licence": False}, ["proprietary", "lmstudio_accept_licence", "llama_cpp"]),
        ({"archive": ""}, ["lmstudio_archive"]),
        ({"gpu_offload": "all"}, ["'all'", "max, off"]),
        ({"runtime": "llama.cpp-linux-x86_64-amd-rocm-avx2"}, ["leaves gfx906 out", "Vulkan"]),
        ({"context": 4}, ["lmstudio_context is 4"]),
        ({"context": 8192}, ["8192", "4096"]),
        ({"model": "/srv/none.gguf"}, ["/srv/none.gguf"]),
    ],
)
def test_bad_input(machine: Machine, changes: dict[str, Any], words: list[str]) -> None:
    found = define(machine, **changes)
    assert found.service is None
    assert all(word in " ".join(found.problems) for word in words), found.problems


def test_a_window_of_it_is_refused(machine: Machine) -> None:
    assert define(machine).service is not None
    window(machine)
    assert "process 77" in define(machine).problems[0]


def test_qwen_with_four_slots_does_not_fit(machine: Machine) -> None:
    made_up.write(machine.root / "srv/models/qwen.gguf", dict(made_up.QWEN), list(made_up.qwen_tensors()))
    found = define(machine, model="/srv/models/qwen.gguf", context=131072, parallel=4)
    assert "131072 tokens x 4 slots" in found.problems[0]


def test_it_has_a_network_of_its_own_and_one_door(machine: Machine) -> None:
    service = define(machine).service
    assert ("PrivateNetwork", "yes") in service.properties
    files = {file.path: file.content for file in service.files}
    assert "ListenStream=127.0.0.1:1234" in files[lmstudio.SOCKET]
    assert "PartOf=mi50-lmstudio.service" in files[lmstudio.SOCKET]
    settings = json.loads(files[lmstudio.SETTINGS])
    assert settings["inner_port"] != 1234
    assert settings["repository"] == "mi50-aipc/small"
    compile(files[lmstudio.RUN], lmstudio.RUN, "exec")
    assert checks.exposed(common(machine)) == []


def test_devices_as_it_wrote_them_down(machine: Machine) -> None:
    line = 'devices: [{"name": "AMD Radeon Graphics (RADV VEGA20)", "memory": 34342961152}]'
    log = f"devices: []\nunpacking\n{line}\nserving\n"
    found = lmstudio.devices_of(log, "lmstudio", machine.node)
    assert found == [Device("AMD Radeon Graphics (RADV VEGA20)", 34342961152)]
    assert lmstudio.devices_of("devices: []\n", "lmstudio", machine.node) == []
    assert lmstudio.devices_of("starting\n", "lmstudio", machine.node) is None


def test_a_listed_model_need_not_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any]] = [{"key": "mi50-aipc/small", "loaded_instances": []}]
    monkeypatch.setattr(probe, "ask", lambda *_given: (200, json.dumps({"models": rows}).encode()))
    config = {"kind": "lmstudio", "model": "small", "live_timeout": 1, "key_file": "/x"}
    with pytest.raises(probe.Fault, match="small is not loaded; the server has no model"):
        probe.loaded(config)
    rows[0]["loaded_instances"] = [{"id": "small", "config": {}}]
    probe.loaded(config)


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
def door(tmp_path: Path) -> Iterator[tuple[int, lmstudio_run.Gate, list[dict[str, str]]]]:
    """A port, the gate behind it and the heads of what came through."""
    (tmp_path / "key").write_text(f"{SECRET}\n")
    heads: list[dict[str, str]] = []
    inner = Quiet(("127.0.0.1", 0), type("Bound", (Inner,), {"heads": heads}))
    threading.Thread(target=inner.serve_forever, args=(0.01,), daemon=True).start()
    gate = lmstudio_run.Gate({"inner_port": inner.server_address[1], "key_file": str(tmp_path / "key")})
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


def test_what_lms_says_reaches_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    lms = tmp_path / ".lmstudio/bin/lms"
    lms.parent.mkdir(parents=True)
    lms.write_text(
        '#!/bin/sh\n[ "$2" = ls ] && echo "llama.cpp-linux-x86_64-avx2@1.2    GGUF" && exit\necho no >&2; exit 1\n'
    )
    lms.chmod(0o755)
    daemon = lmstudio_run.Daemon({"runtime": "llama.cpp-linux-x86_64-vulkan-avx2", "inner_port": 1})
    with pytest.raises(lmstudio_run.Trouble, match=r"`lms load x` failed \(1\): no"):
        daemon.lms("load", "x")
    with pytest.raises(lmstudio_run.Trouble, match=r"is not installed \(there is: llama.cpp-linux-x86_64-avx2@1.2\)"):
        daemon._runtime()
    assert not daemon.listens()
    os.truncate(lms, 0)
    lms.chmod(0o644)
    with pytest.raises(lmstudio_run.Trouble, match="cannot be started"):
        daemon.lms("ps")
