"""What the requests of one cell share, and how one of them goes over the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import host, prometheus, prompt, wire
from .adapters.base import Adapter, Ask
from .probe import Identity
from .sampler import Sampler
from .settings import Call, Task
from .store import Store, utc


@dataclass(frozen=True)
class Shot:
    """One request as a role wants it."""

    role: str
    index: int
    text: str
    max_tokens: int
    fixed: bool = False
    cached: bool = False
    nonce: str | None = None  # None: one of its own
    images: bool = False
    sampling: dict[str, Any] = field(default_factory=dict)
    stream: int = 0
    system: str = ""


@dataclass
class Session:
    """What the requests of one cell share."""

    call: Call
    task: Task
    store: Store
    endpoint: wire.Endpoint
    adapter: Adapter
    identity: Identity
    roots: host.Roots
    sampler: Sampler
    cell_id: str
    attempt: int
    gpu: dict[str, Any] | None = None
    device: Path | None = None
    images: Sequence[bytes] = ()
    baseline: dict[str, int | None] = field(default_factory=dict)
    kernel_log: host.KernelLog = field(default_factory=host.KernelLog)
    thermal_state: str = "off"
    seq: int = 0
    last_shot: Shot | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notify: Callable[[str, int, int, str], None] = lambda _phase, _rep, _reps, _message: None


@dataclass
class Fired:
    """A request that went over the wire."""

    shot: Shot
    ask: Ask
    seen: wire.Exchange
    started_utc: str
    delta: dict[str, float] | None = None


def make_ask(session: Session, shot: Shot, number: int) -> Ask:
    """Compose a request: its nonce, its images varied by it, its text."""
    mark = shot.nonce
    if mark is None:
        mark = prompt.nonce(f"{session.store.run_id}/{session.cell_id}/{session.attempt}", number)
    urls = [prompt.data_url(prompt.vary_png(data, mark)) for data in session.images] if shot.images else []
    return Ask(
        model=str(session.call.model.get("requested") or ""),
        text=shot.text,
        nonce=mark,
        images=urls,
        max_tokens=shot.max_tokens,
        fixed=shot.fixed,
        cached=shot.cached,
        sampling=shot.sampling,
        system=shot.system,
    )


def fire(session: Session, shot: Shot, number: int, alone: bool = True, gate: threading.Barrier | None = None) -> Fired:
    """Send one request and read its stream; nothing is computed meanwhile."""
    ask = make_ask(session, shot, number)
    adapter = session.adapter
    body = json.dumps(adapter.body(ask), ensure_ascii=False).encode()
    delta = None
    if adapter.metrics_prefix and alone:
        delta = prometheus.Delta(prometheus.getter(session.endpoint), adapter.metrics_prefix)
    if gate is not None:
        gate.wait()
    started = utc()
    limits = session.call.measure.limits()
    seen = wire.stream(session.endpoint, adapter.path, body, limits, adapter.is_token, adapter.ndjson)
    settle = 3.0 if seen.status == 200 and not seen.failure else 0.0
    return Fired(shot, ask, seen, started, delta.finish(settle) if delta else None)
