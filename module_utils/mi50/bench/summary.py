"""Puts the requests of a cell together: medians with intervals, the worst status, memory, controls."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from . import record, roofline, stats
from .formulas import FORMULAS, HEADLINE
from .session import Session

# Requests with these statuses have figures worth showing (hatched) when none is OK.
_SHOWN = (record.THERMAL, record.DISAGREE, record.TRUNCATED, record.SHORT, record.CACHED, record.EMPTY_ANSWER)
# Which status stands for a cell whose requests have several: the first of these that occurs.
_ORDER = (
    record.GPU_RESET, record.OOM, record.SERVER_DIED, record.UNSUPPORTED, record.HTTP_4XX, record.HTTP_5XX,
    record.HTTP_429, record.HTTP_503_LOADING, record.TIMEOUT_CONNECT, record.TIMEOUT_PREFILL, record.TIMEOUT_STALL,
    record.TIMEOUT_TOTAL, record.STREAM_CUT, record.INBAND_ERROR, record.IMPLAUSIBLE, record.DISAGREE, record.CACHED,
    record.EMPTY_ANSWER, record.SHORT, record.TRUNCATED, record.THERMAL,
)  # fmt: skip
_LOST = (record.STREAM_CUT, record.TIMEOUT_CONNECT, record.SERVER_DIED)
MEASURED = ("measured", "length_a", "length_b")


def measured(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the requests that enter the figures."""
    return [row for row in rows if row["rep"]["role"] in MEASURED]


def counted(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those that are OK; when none is, those with figures all the same."""
    rows = measured(rows)
    return [row for row in rows if row["status"] == record.OK] or [row for row in rows if row["status"] in _SHOWN]


def verdict(rows: Sequence[dict[str, Any]]) -> tuple[str, str | None]:
    """Return the cell's status and how many of its requests have it, with the first reason."""
    rows = measured(rows) or list(rows)
    found = Counter(row["status"] for row in rows)
    for status in _ORDER:
        if found[status]:
            reason = next(row["reject_reason"] for row in rows if row["status"] == status)
            return status, f"{found[status]} of {len(rows)}: {reason}"
    return record.OK, None


def _metric(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the summary of one metric over some requests."""
    found = [row["derived"][name] for row in rows if name in row["derived"]]
    values = [item["value"] for item in found if item["value"] is not None]
    reason = next((item["reason"] for item in found if item["value"] is None), "no request with figures")
    source = next((item["source"] for item in found if item["value"] is not None), found[0]["source"] if found else "")
    formula = FORMULAS[name]
    return {
        **stats.summary(values),
        "unit": formula.unit,
        "formula": formula.id,
        "source": source,
        "reason": None if values else reason,
    }


def single(name: str, value: float | None, source: str, reason: str | None, extra: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a metric that exists once a cell."""
    formula = FORMULAS[name]
    base = stats.summary([] if value is None else [value])
    return {**base, **extra, "unit": formula.unit, "formula": formula.id, "source": source, "reason": reason}


def metrics(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return every metric's summary over the requests that count."""
    chosen = counted(rows)
    names = sorted({name for row in chosen for name in row["derived"]})
    return {name: _metric(chosen, name) for name in names}


def headlines(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the headline figures: the server's own where it has exact ones, else the client's."""
    chosen = {}
    for what, names in HEADLINE.items():
        name = next((item for item in names if item in found and found[item]["n"]), None)
        row = found.get(name or "", {})
        reason = found.get(names[0], {}).get("reason") or "no request with figures"
        chosen[what] = {
            "metric": name,
            "formula": row.get("formula"),
            "median": row.get("median"),
            "low": row.get("low"),
            "high": row.get("high"),
            "unit": "tok/s",
            "reason": None if name else reason,
        }
    return chosen


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return sums for the suite's ratio of totals, never a mean of rates; by the headline's own clocks."""
    sums = {"decode_tokens": 0, "decode_seconds": 0.0, "prefill_tokens": 0, "prefill_seconds": 0.0}
    for row in counted(rows):
        tokens = row["tokens"]
        n = tokens["completion_usage"] if tokens["completion_usage"] is not None else tokens["completion_server"]
        p = tokens["prompt_server"] if tokens["prompt_server"] is not None else tokens["prompt_usage"]
        decode, prefill = row["headline"]["decode"], row["headline"]["prefill"]
        if decode and n:
            less = 1 if decode == "dc_srv" else (tokens["k1"] or 1)
            sums["decode_tokens"] += n - less
            sums["decode_seconds"] += (n - less) / row["derived"][decode]["value"]
        if prefill and p:
            effective = p - (tokens["cached"] or 0)
            sums["prefill_tokens"] += effective
            sums["prefill_seconds"] += effective / row["derived"][prefill]["value"]
    return sums


def _median(rows: Sequence[dict[str, Any]], *names: str) -> float | None:
    values = []
    for row in rows:
        value = next((row["tokens"][name] for name in names if row["tokens"][name] is not None), None)
        if value is not None:
            values.append(value)
    return statistics.median(values) if values else None


def token_counts(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of the token counts; the most that ever came from a cache."""
    chosen = counted(rows) or measured(rows)
    cached = [row["tokens"]["cached"] for row in measured(rows) if row["tokens"]["cached"] is not None]
    return {
        "prompt": _median(chosen, "prompt_server", "prompt_usage"),
        "completion": _median(chosen, "completion_usage", "completion_server"),
        "reasoning": _median(chosen, "reasoning"),
        "image": _median(chosen, "image"),
        "cached_max": max(cached, default=None),
    }


def check_counts(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many checks of answers passed, in all and by id."""
    by_id: dict[str, dict[str, int]] = {}
    for row in measured(rows):
        for result in row["checks"]:
            entry = by_id.setdefault(result["id"], {"passed": 0, "total": 0})
            entry["total"] += 1
            entry["passed"] += bool(result["pass"])
    return {
        "passed": sum(entry["passed"] for entry in by_id.values()),
        "total": sum(entry["total"] for entry in by_id.values()),
        "by_id": by_id,
    }


_MOST = ("vram_peak", "vram_framework", "gtt_peak", "gtt_delta", "power_max_w", "temp_max_c", "temp_mem_max_c")
_LEAST = ("sclk_min_mhz", "mclk_min_mhz")
_SUMS = ("samples",)


def cell_telemetry(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return one telemetry record of the measured requests: peaks, floors, medians of the rest."""
    found = [row["telemetry"] for row in measured(rows) if row["telemetry"]]
    if not found:
        return None
    merged: dict[str, Any] = {}
    for name in found[0]:
        values = [item[name] for item in found if item[name] is not None]
        if not values:
            merged[name] = None
        elif name == "throttled":
            merged[name] = any(values)
        elif name in ("throttle_reason", "temp_start_c"):
            merged[name] = values[0]
        elif name in _MOST:
            merged[name] = max(values)
        elif name in _LEAST:
            merged[name] = min(values)
        else:
            merged[name] = sum(values) if name in _SUMS else statistics.median(values)
    for name in ("vram_steady", "vram_baseline", "vram_loaded", "gtt_baseline"):
        merged[name] = None if merged[name] is None else round(merged[name])
    return merged


def memory(session: Session, sensors: dict[str, Any] | None, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the VRAM of a cell, split into what can be told apart. Bytes; None without a GPU."""
    if sensors is None or sensors["vram_peak"] is None:
        return None
    call, identity = session.call, session.identity
    per_token = call.roofline.kv_bytes_token if call.roofline else 0.0
    capacity = identity.kv_tokens or (identity.context or 0) * (identity.slots or 1) or None
    kv_bytes = round(capacity * per_token) if capacity and per_token else None
    weights = call.model.get("bytes") or identity.bytes
    framework = sensors["vram_framework"]
    used = token_counts(rows)
    depth = (used["prompt"] or 0) + (used["completion"] or 0)
    total = (session.gpu or {}).get("vram_total")
    missing = max(0, 131072 - (capacity or 131072)) * per_token
    known = framework is not None and weights and kv_bytes is not None
    return {
        "baseline": sensors["vram_baseline"],
        "loaded": sensors["vram_loaded"],
        "peak": sensors["vram_peak"],
        "steady": sensors["vram_steady"],
        "framework": framework,
        "gtt_delta": sensors["gtt_delta"],
        "weights": weights,
        "kv_capacity_tokens": capacity,
        "kv_capacity_bytes": kv_bytes,
        "kv_used_peak": depth / capacity if capacity and depth else None,
        "other": framework - weights - kv_bytes if known else None,
        "total": total,
        "fit_margin_128k": round(total - sensors["vram_peak"] - missing) if total and per_token and capacity else None,
    }


def roof(session: Session, found: dict[str, dict[str, Any]], rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the roofline of the cell at its own depth."""
    used = token_counts(rows)
    depth = round((used["prompt"] or 0) + (used["completion"] or 0) / 2)
    heads = headlines(found)
    return roofline.record(session.call.roofline, depth, heads["decode"]["median"], heads["prefill"]["median"])


def lost(rows: Sequence[dict[str, Any]]) -> int:
    """Return how many requests got no whole answer."""
    return sum(1 for row in rows if row["status"] in _LOST)
