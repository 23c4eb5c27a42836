"""Figures that exist once a cell: the prefill slope over two lengths, and what an image costs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from . import phases, record, stats, summary
from .session import Session

Summaries = dict[str, dict[str, Any]]


def slope(session: Session) -> Summaries:
    """Return prefill by two prompt lengths; the engine's own figures over the same lengths must agree with it."""
    by_role = {
        role: [r for r in session.records if r["rep"]["role"] == role and r["status"] == record.OK]
        for role in ("length_a", "length_b")
    }
    if not all(by_role.values()):
        lacking = "not both lengths have requests that are OK"
        return {name: summary.single(name, None, "client", lacking, {}) for name in ("pf_slope", "pf_overhead")}
    tokens = [statistics.median(phases.prompt_tokens(r) or 0 for r in rows) for rows in by_role.values()]
    times = [[phases.prefill_s(r) or 0.0 for r in rows] for rows in by_role.values()]
    found = stats.slope((tokens[0], tokens[1]), times[0], times[1])
    why = None if found["rate"] else "the longer prompt took no longer"
    limits = {"low": found["low"], "high": found["high"]}
    source = f"client, {tokens[0]:g} and {tokens[1]:g} tokens"
    return {
        "pf_slope": summary.single("pf_slope", found["rate"], source, why, limits),
        "pf_overhead": summary.single("pf_overhead", found["overhead"], source, why, {}),
    }


def slope_disagrees(session: Session, found: Summaries) -> str | None:
    """Return a sentence when the server's own prefill over the two lengths is another one than the slope."""
    measured = found.get("pf_slope", {}).get("median")
    points = []
    for role in ("length_a", "length_b"):
        rows = [r for r in session.records if r["rep"]["role"] == role and r["status"] == record.OK]
        rates = [r["derived"]["pf_srv"]["value"] for r in rows]
        if not rows or None in rates:
            return None
        tokens = statistics.median(phases.prompt_tokens(r) or 0 for r in rows)
        points.append((tokens, tokens / statistics.median(rates)))
    if measured is None or points[1][1] <= points[0][1]:
        return None
    own = (points[1][0] - points[0][0]) / (points[1][1] - points[0][1])
    low, high = found["pf_slope"]["low"], found["pf_slope"]["high"]
    inside = low is not None and high is not None and low <= own <= high
    if inside or abs(measured / own - 1) <= 0.05:
        return None
    return f"prefill slope {measured:.1f} tok/s by the client, {own:.1f} by the server over the same lengths"


def image(session: Session, known_slope: float | None) -> tuple[Summaries, float | None]:
    """Tell the image's part of the time from the text's with one request without it; also the image's tokens."""
    plain = phases.shoot_text_only(session)
    rows = [r for r in summary.measured(session.records) if r["status"] in phases.ANSWERS]
    with_image = [value for r in rows if (value := phases.prefill_s(r)) is not None]
    tokens = [value for r in rows if (value := phases.prompt_tokens(r)) is not None]
    without, text = phases.prefill_s(plain), phases.prompt_tokens(plain)
    if not tokens or text is None or not with_image or without is None:
        why = "no request with and without the image"
        return {"t_img": summary.single("t_img", None, "client", why, {})}, None
    extra = statistics.median(tokens) - text
    if not known_slope:
        why = "no prefill slope of this model in this run"
        return {"t_img": summary.single("t_img", None, "client", why, {})}, extra
    value = statistics.median(with_image) - without - extra / known_slope
    return {"t_img": summary.single("t_img", value, "client", None, {})}, extra


def together(rates: Sequence[float]) -> Summaries:
    """Return the rate of all requests of a concurrency cell in sum."""
    why = None if rates else "no round in which every request was OK"
    return {"rate_total": {**summary.single("rate_total", None, "client", why, {}), **stats.summary(rates)}}
