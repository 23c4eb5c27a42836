"""Sends one request of a cell, judges it and writes its record."""

from __future__ import annotations

import hashlib
from typing import Any

from . import checks, derive, figures, formulas, gates, host, reading, record, wire
from .gates import Verdict, Wanted
from .record import Metric
from .sampler import Windows, telemetry
from .session import Fired, Session, Shot, fire

# Roles whose answer's length counts; the others only have to arrive.
_JUDGED = ("measured", "length_a", "length_b")


def shoot(session: Session, shot: Shot) -> dict[str, Any]:
    """Send, judge and record one request."""
    fired = fire(session, shot, session.seq)
    return evaluate(session, fired)


def _relative(seen: wire.Exchange, value: int | None) -> int | None:
    return None if value is None or seen.t0_ns is None else value - seen.t0_ns


def _wanted(session: Session, shot: Shot) -> Wanted:
    limits = session.call.measure.limits()
    return Wanted(
        max_tokens=shot.max_tokens,
        fixed=shot.fixed or shot.role != "measured",
        min_tokens=session.task.min_tokens if shot.role == "measured" else 1,
        forces_length=session.adapter.forces_length and shot.fixed,
        image=shot.images,
        check_cache=shot.role in _JUDGED,
        limits=(limits.prefill, limits.stall, limits.total),
    )


def _sensors(session: Session, heard: reading.Reading, seen: wire.Exchange) -> dict[str, Any] | None:
    window = Windows(seen.t0_ns, heard.t1_ns, heard.last_token_ns or seen.end_ns)
    gpu = session.gpu or {}
    limits = (session.call.measure.throttle_temp, gpu.get("sclk_max_mhz"), gpu.get("power_cap_w"))
    return telemetry(session.sampler, window, session.baseline, limits)


def _energies(found: dict[str, Metric], sensors: dict[str, Any] | None, tokens: derive.Counts, k1: int | None) -> None:
    why = "no power sensor" if not sensors or sensors["power_mean_w"] is None else "no sensor reading near its ends"
    decoded = (tokens.completion or 0) - (k1 or 0)
    for name, key, count in (("e_pf", "energy_prefill_j", tokens.effective), ("e_dec", "energy_decode_j", decoded)):
        joules = sensors[key] if sensors else None
        value = joules / count if joules is not None and count and count > 0 else None
        found[name] = record.metric(name, value, "hwmon", None if value is not None else why)


def died(session: Session, verdict: Verdict) -> Verdict | None:
    """Return another verdict when the server, the GPU or the kernel is the reason for a failure (or was hit by it)."""
    resets, kills = session.kernel_log.news()
    if resets:
        return record.GPU_RESET, resets[0][:300]
    if session.gpu is not None:
        errors = host.new_errors(session.gpu.get("ras"), host.ras(session.device), "uncorrectable")
        if errors:
            return record.GPU_RESET, f"{errors} uncorrectable memory errors"
    gone = session.identity.process is not None and (
        host.process(session.roots, session.identity.process.pid) != session.identity.process
    )
    if not gone and verdict[0] in (record.STREAM_CUT, record.TIMEOUT_CONNECT) and session.records:
        gone = not _answers(session)
    if gone and kills:
        return record.OOM, kills[0][:300]
    return (
        (record.SERVER_DIED, f"the server's process is gone ({verdict[1] or 'noticed after the answer'})")
        if gone
        else None
    )


def _answers(session: Session) -> bool:
    try:
        session.endpoint.connect(2.0).close()
    except OSError:
        return False
    return True


def _run_checks(session: Session, shot: Shot, text: str, status: str) -> list[dict[str, Any]]:
    counts = shot.role == "measured" and session.task.mode == "natural" and session.task.checks
    if not counts or status not in (record.OK, record.CACHED, record.TRUNCATED, record.DISAGREE, record.THERMAL):
        return []
    return [dict(result) for result in checks.run(session.task.checks, text)]


def evaluate(session: Session, fired: Fired) -> dict[str, Any]:
    """Judge a request and write its record. Returns the record."""
    shot, seen, adapter = fired.shot, fired.seen, session.adapter
    heard = reading.read(adapter, seen.events)
    raw: dict[str, Any] | None = fired.delta if adapter.metrics_prefix else dict(heard.server)
    own = figures.figures(adapter.kind, raw)
    tokens = derive.counts(heard, own)
    timing = derive.Timing(seen.t0_ns or 0, seen.body_sent_ns, seen.headers_ns)
    found = derive.derive(heard, timing, own, adapter.headers_mark_prefill)
    sensors = _sensors(session, heard, seen)
    _energies(found, sensors, tokens, heard.k1)
    gates.roofline_shares(found, session.call.roofline, tokens, (tokens.completion or 0) // 2)
    verdict = gates.judge(seen, heard, found, own, tokens, _wanted(session, shot))
    verdict = died(session, verdict) or verdict
    if verdict[0] == record.OK and sensors and sensors["throttled"]:
        verdict = record.THERMAL, str(sensors["throttle_reason"])
    row = _row(session, fired, heard, tokens, found, sensors, verdict)
    row["server_raw"] = raw or None
    row["warnings"] = gates.warnings(found, tokens) if seen.status == 200 and not seen.failure else []
    row["checks"] = _run_checks(session, shot, heard.text, verdict[0])
    _keep(session, row, fired, heard, raw)
    return row


def _times(seen: wire.Exchange, heard: reading.Reading) -> dict[str, int | None]:
    return {
        "send": 0,
        "body_sent": _relative(seen, seen.body_sent_ns),
        "headers": _relative(seen, seen.headers_ns),
        "first_any": _relative(seen, heard.first_any_ns),
        "first_token": _relative(seen, heard.t1_ns),
        "decode_start": _relative(seen, heard.decode_start_ns),
        "first_content": _relative(seen, heard.first_content_ns),
        "last_token": _relative(seen, heard.last_token_ns),
        "end": _relative(seen, seen.end_ns),
    }


def _row(
    session: Session,
    fired: Fired,
    heard: reading.Reading,
    tokens: derive.Counts,
    found: dict[str, Metric],
    sensors: dict[str, Any] | None,
    verdict: Verdict,
) -> dict[str, Any]:
    shot, seen = fired.shot, fired.seen
    usable = verdict[0] not in (record.IMPLAUSIBLE,)
    return {
        **session.store.head("request"),
        "cell_id": session.cell_id,
        "attempt": session.attempt,
        "seq": session.seq,
        "rep": {
            "index": shot.index,
            "order_index": session.seq,
            "role": shot.role,
            "nonce": fired.ask.nonce,
            "thermal_state": session.thermal_state,
            "stream": shot.stream,
        },
        "http": {
            "status": seen.status,
            "retries_refused": seen.retries_refused,
            "retries_loading": seen.retries_loading,
            "t_connect_s": seen.connect_s,
            "bytes_sent": seen.bytes_sent,
            "bytes_received": seen.bytes_received,
            "error": seen.detail or None,
        },
        "started_utc": fired.started_utc,
        "t0_ns": seen.t0_ns,
        "t": _times(seen, heard),
        "tokens": {
            "prompt_usage": tokens.prompt_usage,
            "prompt_server": tokens.prompt_server,
            "cached": tokens.cached,
            "completion_usage": tokens.completion_usage,
            "completion_server": tokens.completion_server,
            "reasoning": tokens.reasoning,
            "image": None,
            "k1": heard.k1,
            "k1_source": heard.k1_source or None,
            "events": len(heard.marks),
        },
        "t1_rule": heard.t1_rule,
        "derived": found,
        "headline": {
            name: derive.headline(found, names) if usable else None
            for name, names in (("prefill", formulas.HEADLINE["prefill"]), ("decode", formulas.HEADLINE["decode"]))
        },
        "telemetry": sensors,
        "finish_reason": heard.finish,
        "output_sha256": hashlib.sha256(heard.text.encode()).hexdigest() if heard.text else None,
        "output_chars": len(heard.text),
        "reasoning_chars": len(heard.reasoning),
        "status": verdict[0],
        "reject_reason": verdict[1] or None,
    }


def _keep(
    session: Session, row: dict[str, Any], fired: Fired, heard: reading.Reading, raw: dict[str, Any] | None
) -> None:
    """Write the raw stream and the answer, then the line that names them."""
    name = f"{session.cell_id}-{session.attempt}-{session.seq}"
    seen = fired.seen
    head = {
        "adapter": session.adapter.kind,
        "t0_ns": seen.t0_ns,
        "body_sent_ns": seen.body_sent_ns,
        "headers_ns": seen.headers_ns,
        "end_ns": seen.end_ns,
        "status": seen.status,
        "failure": seen.failure,
        "server": raw,
        "body": seen.body.decode("utf-8", "replace")[:4000],
    }
    row["events_file"] = session.store.put_events(name, head, seen.events)
    text = heard.text if not heard.reasoning else f"<think>\n{heard.reasoning}\n</think>\n{heard.text}"
    row["output_file"] = session.store.put_text(name, text) if text else None
    session.store.append(row)
    session.records.append(row)
    session.seq += 1
    if fired.shot.role in _JUDGED:
        session.last_shot = fired.shot
