"""Ends a cell: its verdict, its notes, its line in the file."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, field
from typing import Any

from . import extras, host, probe, prompt, record, request, summary
from .gates import Verdict
from .session import Session
from .store import utc

CONTROLS = ("cache", "coherence", "template", "preheat", "calibration")


@dataclass
class State:
    """What a cell gathers beside its requests."""

    mark: str
    started: float = field(default_factory=time.monotonic)
    started_utc: str = field(default_factory=utc)
    cpu: float = field(default_factory=time.process_time)
    session_number: int = 1
    controls: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(CONTROLS))
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)
    image_tokens: float | None = None
    warnings: list[str] = field(default_factory=list)
    waits: list[int] = field(default_factory=lambda: [0, 0])  # refused, loading


def verdict(session: Session, state: State, refused: Verdict | None) -> tuple[str, str | None]:
    """Return the cell's status and reason: its requests' worst, or what the controls found."""
    if refused is not None:
        return refused
    status, reason = summary.verdict(session.records)
    if status != record.OK:
        return status, reason
    if not summary.measured(session.records):
        return record.STREAM_CUT, "nothing was measured"
    return request.died(session, (record.OK, "")) or _controls(session, state) or (record.OK, None)


def _controls(session: Session, state: State) -> tuple[str, str] | None:
    """Return what speaks against a cell whose requests are all OK."""
    for name, label in (("coherence", "coherence probe"), ("template", "chat template")):
        control = state.controls[name]
        if control and control["ok"] is False:
            return record.IMPLAUSIBLE, f"{label}: {control['detail']}"
    slope = extras.slope_disagrees(session, state.extra)
    if slope:
        return record.DISAGREE, slope
    heat = state.controls["preheat"]
    if heat and heat["state"] == "cap":
        return record.THERMAL, f"no steady temperature within {heat['seconds']:.0f} s of preheating"
    return None


def notes(session: Session, state: State) -> list[str]:
    """Return what a reader should know beside the status."""
    found = [*state.warnings, *session.warnings]
    found += _alike([note for row in summary.measured(session.records) for note in row["warnings"]])
    cache, calibration, heat = (state.controls[name] for name in ("cache", "calibration", "preheat"))
    if cache and cache["ok"] is False:
        found.append(f"the cache control failed, {cache['expected']} was expected: {cache['detail']}")
    if calibration and not calibration["ok"]:
        found.append(f"the client's calibration: {calibration['reason']}")
    if heat and heat["state"] == "no_sensors":
        found.append("no temperature sensor: the thermal state is unknown")
    if session.gpu:
        if session.baseline.get("vram") is None:
            found.append("no VRAM baseline was taken before the engine was started")
        corrected = host.new_errors(session.gpu.get("ras"), host.ras(session.device), "correctable")
        found += [f"{corrected} corrected memory errors during the cell"] if corrected else []
        found += _spilled(session)
    return list(dict.fromkeys(found))


def _alike(texts: list[str]) -> list[str]:
    """Return each sentence once, with how often it was said with other numbers in it."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(re.sub(r"[0-9.]+", "#", text), []).append(text)
    return [rows[0] if len(rows) == 1 else f"{rows[0]} ({len(rows)} requests alike)" for rows in groups.values()]


def _spilled(session: Session) -> list[str]:
    """Say when the weights can hardly lie in VRAM: a server without its GPU does not fail, it is slow."""
    weights = session.call.model.get("bytes") or session.identity.bytes
    peak = max((s.vram for s in session.sampler.samples if s.vram is not None), default=None)
    before = session.baseline.get("vram")
    if not weights or peak is None or before is None or peak - before > 0.5 * weights:
        return []
    return [f"{peak - before:.0f} bytes of VRAM are used for {weights} bytes of weights: does it run on the GPU?"]


def samples(session: Session, name: str) -> str | None:
    """Write the sensor samples beside the records."""
    taken = list(session.sampler.samples)
    if not taken:
        return None
    rows = [{"t": (sample.t_ns - taken[0].t_ns) / 1e9, **sample._asdict()} for sample in taken]
    for row in rows:
        del row["t_ns"]
    return session.store.put_samples(name, rows)


def task_record(session: Session) -> dict[str, Any]:
    """Return the task without its texts, which stand in the suite: their digests say which they were."""
    task = session.task
    names = (
        "id",
        "kind",
        "probe",
        "title",
        "lang",
        "sampling",
        "max_tokens",
        "mode",
        "context",
        "concurrency",
        "lengths",
    )
    return {
        **{name: getattr(task, name) for name in names},
        "prompt_sha256": hashlib.sha256(
            "\0".join((task.system, task.prompt)).encode() if task.system else task.prompt.encode()
        ).hexdigest(),
        "image_sha256": [hashlib.sha256(data).hexdigest() for data in session.images],
        "image_px": [prompt.size(data) for data in session.images],
    }


def cell_record(session: Session, state: State, refused: Verdict | None) -> dict[str, Any]:
    """Return the cell's line."""
    rows = session.records
    status, reason = verdict(session, state, refused)
    found = {**summary.metrics(rows), **state.extra}
    sensors = summary.cell_telemetry(rows)
    counted: dict[str, int] = {}
    for row in summary.measured(rows):
        counted[row["status"]] = counted.get(row["status"], 0) + 1
    return {
        **session.store.head("cell"),
        "cell_id": session.cell_id,
        "attempt": session.attempt,
        "session": state.session_number,
        "fingerprint": state.mark,
        "framework": session.call.engine_name,
        "model": probe.model_record(session.call, session.identity),
        "task": task_record(session),
        "status": status,
        "reject_reason": reason,
        "ok": counted.get(record.OK, 0),
        "measured": sum(counted.values()),
        "statuses": counted,
        "metrics": found,
        "headline": summary.headlines(found),
        "totals": summary.totals(rows),
        "tokens": {**summary.token_counts(rows), "image": state.image_tokens},
        "checks": summary.check_counts(rows),
        "controls": state.controls,
        "roofline": summary.roof(session, found, rows),
        "vram": summary.memory(session, sensors, rows),
        "telemetry": sensors,
        "samples_file": samples(session, f"{session.cell_id}-{session.attempt}"),
        "retries": {
            "refused": state.waits[0] + sum(row["http"]["retries_refused"] for row in rows),
            "loading": state.waits[1] + sum(row["http"]["retries_loading"] for row in rows),
        },
        "lost_requests": summary.lost(rows),
        "client_cpu_s": time.process_time() - state.cpu,
        "client_rss_mib": host.peak_rss_mib(),
        "warnings": notes(session, state),
        "started_utc": state.started_utc,
        "finished_utc": utc(),
        "duration_s": time.monotonic() - state.started,
    }
