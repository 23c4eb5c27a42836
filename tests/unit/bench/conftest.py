"""A virtual server and a call for it; nothing here waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mi50.bench import api, cell, host, phases, prometheus, sampler, session, store, thermal, wire

from . import virtual

PROPS = {"build_info": "b1-test", "model_path": "/m/tiny.gguf", "total_slots": 1, "chat_template": "T",
         "default_generation_settings": {"n_ctx": 4096}}  # fmt: skip
TASK: dict[str, Any] = {"id": "say", "prompt": "Say ab.", "max_tokens": 48, "mode": "fixed"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> virtual.Clock:
    """Every waiting of the benchmark goes by this clock."""
    made = virtual.Clock()
    for module in (wire, cell, phases, prometheus, sampler, thermal):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def roots(tmp_path: Path) -> host.Roots:
    """An empty host: no process, no GPU, no kernel log."""
    made = host.Roots(*(tmp_path / name for name in ("sys", "proc", "dev", "root")))
    for path in (made.sysfs, made.proc, made.dev, made.root):
        path.mkdir()
    return made


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, clock: virtual.Clock) -> Callable[..., virtual.Server]:
    """Put a virtual server behind every address."""

    def make(chat: virtual.Answer, **more: Any) -> virtual.Server:
        server = virtual.Server(clock, chat, **more)
        server.pages.setdefault("/v1/models", {"data": [{"id": "tiny"}]})
        monkeypatch.setattr(wire.Endpoint, "connect", server.connect)
        return server

    return make


class Bench:
    """Measures cells against whatever is served."""

    def __init__(self, directory: Path, roots: host.Roots) -> None:
        self.directory, self.roots = directory, roots
        self.steps: list[dict[str, Any]] = []
        self.params: dict[str, Any] = {
            "run": {"id": "t1", "dir": str(directory), "node": "n1"},
            "engine": {"kind": "llama.cpp", "url": "http://127.0.0.1:8080"},
            "model": {"requested": "tiny"},
            "measure": {"repeats": 6, "warmups": 1, "controls": False, "calibrate": False, "load_timeout": 5,
                        "prefill_timeout": 20, "stall_timeout": 3, "total_timeout": 60},
        }  # fmt: skip

    def set(self, **groups: dict[str, Any]) -> Bench:
        for name, values in groups.items():
            self.params[name] = {**self.params[name], **values}
        return self

    def cell(self, **task: Any) -> dict[str, Any]:
        params = {**self.params, "task": {**TASK, **task}}
        return api.measure(params, self.roots, self.steps.append)["cell"]

    def store(self) -> store.Store:
        return api.open_store(api.call_of(self.params), writable=False)

    def rows(self, kind: str = "request") -> list[dict[str, Any]]:
        return [row for row in self.store().records if row["type"] == kind]


@pytest.fixture
def bench(tmp_path: Path, roots: host.Roots, clock: virtual.Clock, monkeypatch: pytest.MonkeyPatch) -> Bench:
    del clock
    monkeypatch.setattr(session.host.KernelLog, "__init__", lambda self, path=None: setattr(self, "_descriptor", None))
    return Bench(tmp_path / "bench", roots)
