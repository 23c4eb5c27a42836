"""A machine that is no more than files, a fake systemd and a small server: what a service is put on in these tests."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mi50.process import Finished
from mi50.serve import llama_cpp, service
from mi50.serve.model import Node

from lab.sysfs import build
from tests.unit.models import made_up

PCI = "0000:03:00.0"
UNIT = "mi50-llama_cpp.service"
REHEARSAL = "mi50-llama_cpp-rehearsal.service"
MODEL = "/srv/models/small.gguf"
KEY = "/etc/mi50-aipc/keys/llama_cpp"
RADV = "AMD Radeon Graphics (RADV VEGA20)"
FULL_MIB = 32752
# What the model of these tests takes, as `made_up.small` makes it.
IDLE, LOADED = 11 << 20, 60 << 20


class Handler(http.server.BaseHTTPRequestHandler):
    """As much of llama-server as is asked for."""

    machine: Machine

    def do_GET(self) -> None:
        machine = self.machine
        end = time.monotonic() + 20
        while machine.hangs and time.monotonic() < end:
            time.sleep(0.05)
        if self.path == "/health":
            self.answer(503 if machine.loading else 200, {"status": "ok"})
        elif self.path == "/slots":
            self.answer(200, [{"is_processing": machine.busy}])
        else:
            self.answer(200, {"data": [{"id": machine.loaded}] if machine.loaded else []})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.machine.completions += 1
        if self.headers["Authorization"] != f"Bearer {self.machine.key()}":
            self.answer(401, {"error": "no"})
            return
        answer = {"choices": [{"message": {"content": "one two"}}], "usage": {"completion_tokens": 32}}
        self.answer(200, {**answer, "timings": {"predicted_per_second": self.machine.speed}})

    def answer(self, status: int, body: Any) -> None:
        """Nobody may be there any more, after a hang."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        pass


class Machine:
    """Trees below `root`, units by name, and what the server of the current unit does."""

    def __init__(self, root: Path, preset: str = "one-mi50") -> None:
        self.root, self.preset = root, preset
        build(root / "sys", preset)
        for name in ("etc", "proc/net", "dev/dri", "srv/models", "usr/bin", "usr/share/vulkan/icd.d", "run"):
            (root / name).mkdir(parents=True)
        for number in range(128, 133):
            (root / f"dev/dri/renderD{number}").touch()
            (root / f"dev/dri/renderD{number}").chmod(0o666)
        (root / "etc/group").write_text("render:x:104:\nvideo:x:44:\n")
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        (root / "usr/bin/llama-server").touch()
        (root / "usr/share/vulkan/icd.d/radeon_icd.x86_64.json").touch()
        made_up.write(root / MODEL.lstrip("/"), *made_up.small())
        self.listening("")
        self.units: dict[str, dict[str, str]] = {}
        self.calls: list[list[str]] = []
        self.said: list[str] = []
        self.now = 0.0
        # What the next version does once it is started, by a word in its unit.
        self.behaviour: dict[str, dict[str, Any]] = {}
        self.devices = [(RADV, FULL_MIB)]
        self.log = "load_tensors: offloaded 3/3 layers to GPU\n"
        self.loading = self.hangs = self.busy = self.crashes = False
        self.loaded, self.speed, self.completions = "small", 50.0, 0
        # How a rehearsal goes: well, "never" gets ready, or one of its checks "fails".
        self.rehearses = ""
        self.node = Node(
            run=self.run,
            clock=self.clock,
            sleep=self.sleep,
            root=root,
            sysfs=root / "sys",
            proc=root / "proc",
            dev=root / "dev",
            say=self.said.append,
        )

    def listening(self, address: str, port: int = 0, state: str = "0A") -> None:
        """/proc/net/tcp with one listener (or a socket in another state), or none."""
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        row = f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 4711 1\n"
        (self.root / "proc/net/tcp").write_text(head + (row if address else ""))

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def key(self) -> str:
        return (self.root / KEY.lstrip("/")).read_text().strip()

    def file(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def vram(self, used: int, pci: str = PCI) -> None:
        (self.root / f"sys/bus/pci/devices/{pci}/mem_info_vram_used").write_text(f"{used}\n")

    def run(self, argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        self.calls.append(list(argv))
        if argv[0] == "systemctl":
            return Finished(0, self.systemctl(list(argv[2:])).encode(), b"")
        if argv[0] == "systemd-run" and (transient := [word[7:] for word in argv if word.startswith("--unit=")]):
            self.start(transient[0], self.units.setdefault(transient[0], {}))
            self.vram(LOADED)
            self.loading = self.rehearses == "never"
            return Finished(0, b"", b"")
        if argv[0] == "systemd-run" and "/check" in argv:
            return Finished(1 if self.rehearses == "fails" else 0, b"17 operations", b"wrong product")
        if argv[0] == "systemd-run":
            listed = "".join(
                f"  Vulkan{at}: {name} ({mib} MiB, 1 MiB free)\n" for at, (name, mib) in enumerate(self.devices)
            )
            return Finished(0, f"Available devices:\n{listed}".encode(), b"")
        if argv[0] == "useradd":
            with (self.root / "etc/passwd").open("a") as stream:
                stream.write(f"{argv[-1]}:x:{os.getuid()}:990::/:/usr/sbin/nologin\n")
        return Finished(0, self.log.encode() if argv[0] == "journalctl" else b"", b"")

    def systemctl(self, words: list[str]) -> str:
        verb, names = words[0], [word for word in words[1:] if not word.startswith("-")]
        for name in names:
            unit = self.units.setdefault(name, {"ActiveState": "inactive", "UnitFileState": "disabled"})
            if verb == "enable":
                unit["UnitFileState"] = "enabled"
            if verb == "disable":
                unit["UnitFileState"] = "disabled"
            if verb in ("start", "restart") or (verb == "enable" and "--now" in words):
                self.start(name, unit)
            if verb == "stop" or (verb == "disable" and "--now" in words):
                unit["ActiveState"] = "inactive"
                self.vram(IDLE) if name in (UNIT, REHEARSAL) else None
        if verb != "show":
            return ""
        if self.crashes and names[0] == UNIT:
            self.units[UNIT]["NRestarts"] = str(int(self.units[UNIT]["NRestarts"]) + 1)
        return "\n".join(f"{key}={value}" for key, value in self.units[names[0]].items()) + "\n"

    def start(self, name: str, unit: dict[str, str]) -> None:
        unit.update(ActiveState="active", InvocationID=f"i{len(self.calls)}", NRestarts="0", LoadState="loaded")
        if name != UNIT:
            return
        self.crashes = False
        self.loading, self.speed, used, text = False, 50.0, LOADED, self.file(f"/etc/systemd/system/{UNIT}")
        for word, does in self.behaviour.items():
            if word in text:
                self.loading, self.speed = does.get("loading", False), does.get("speed", 50.0)
                used = does.get("vram", LOADED)
                unit.update(does.get("unit", {}))
                self.crashes = does.get("crashes", False)
                self.loading = self.loading or self.crashes
        self.vram(used)

    def plan(self, **changes: Any) -> service.Plan:
        found = service.plan(self.params(**changes), self.node)
        assert found is not None
        return found

    def apply(self, **changes: Any) -> Any:
        return service.apply(self.plan(**changes), self.node)

    def params(self, **changes: Any) -> dict[str, Any]:
        own = {key: changes.pop(key) for key in list(changes) if key in OPTIONS}
        return {**PARAMS, "port": self.port, **changes, "options": {**OPTIONS, **own}}

    port = 0


OPTIONS: dict[str, Any] = {
    **{name: spec.get("default") for name, spec in llama_cpp.SPEC.items()},
    "model": MODEL,
    "alias": "small",
    "context": 1024,
    "server": "/usr/bin/llama-server",
}
PARAMS: dict[str, Any] = {
    "name": "llama_cpp",
    "user": "",
    "bind": "127.0.0.1",
    "api_key": "",
    "api_key_file": KEY,
    "gpus": [],
    "min_tokens_per_second": 0.0,
    "allow_software": False,
    "allow_small_bar": False,
    "load_timeout": 60.0,
    "answer_timeout": 30.0,
    "health_interval": 30,
    "health_timeout": 20.0,
    "health_completion_every": 600,
    "asked": "",
}


def served(machine: Machine) -> http.server.ThreadingHTTPServer:
    handler = type("Bound", (Handler,), {"machine": machine})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    machine.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """One MI50, nothing installed yet."""
    found = Machine(tmp_path / "node")
    found.vram(IDLE)
    server = served(found)
    yield found
    server.shutdown()
    server.server_close()


def other(tmp_path: Path, preset: str) -> Machine:
    """A machine with other cards, for what is refused before anything is asked of a server."""
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
    found = Machine(tmp_path / "other", preset)
    found.port = 8080
    return found
