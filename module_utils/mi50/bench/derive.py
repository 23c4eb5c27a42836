"""Computes every metric of a request from its recorded events: formulas.py has their definitions.

Nothing here reads a clock or a socket, so that a record can be computed again from its raw file.
"""

from __future__ import annotations

from dataclasses import dataclass

from .figures import Figures
from .reading import Reading
from .record import Metric, metric

# Fewer decoded tokens than this give no rate: one interval's jitter would be several per cent.
MIN_DECODED = 32
WINDOW = (33, 288)
# A stream whose tokens mostly come within a tenth of their interval was held back somewhere: no clock for decoding.
BURST_FRACTION = 0.1
BURST_LIMIT = 0.5
# No gap is expected to be shorter: 10,000 tokens/s are twenty times what these cards do.
_SHORTEST_S = 1e-4


@dataclass(frozen=True)
class Timing:
    """The request's own times in monotonic nanoseconds."""

    t0_ns: int
    body_sent_ns: int | None
    headers_ns: int | None


@dataclass(frozen=True)
class Counts:
    """Tokens of a request: by the usage object and by the server's counters."""

    prompt_usage: int | None
    prompt_server: int | None
    cached: int | None
    completion_usage: int | None
    completion_server: int | None
    reasoning: int | None

    @property
    def prompt(self) -> int | None:
        """Return p."""
        return self.prompt_server if self.prompt_server is not None else self.prompt_usage

    @property
    def completion(self) -> int | None:
        """Return n."""
        return self.completion_usage if self.completion_usage is not None else self.completion_server

    @property
    def effective(self) -> int | None:
        """Return p - c."""
        return None if self.prompt is None else self.prompt - (self.cached or 0)


def counts(reading: Reading, own: Figures) -> Counts:
    """Collect the token counts; the engine's own counter of cached tokens comes before the usage object's."""
    cached = own.cached
    if cached is None:
        cached = reading.usage_detail("prompt_tokens_details", "cached_tokens")
    return Counts(
        prompt_usage=reading.usage_count("prompt_tokens"),
        prompt_server=own.prompt,
        cached=cached,
        completion_usage=reading.usage_count("completion_tokens"),
        completion_server=own.completion,
        reasoning=reading.usage_detail("completion_tokens_details", "reasoning_tokens"),
    )


def burst_share(reading: Reading, own: Figures) -> float | None:
    """Return the share of token events that came much too soon after the one before them."""
    marks = reading.marks
    if len(marks) < 3:
        return None
    mean = (marks[-1].t_ns - marks[0].t_ns) / (len(marks) - 1) / 1e9
    expected = max(mean, _SHORTEST_S)
    if own.decode_s and own.exact:
        expected = max(own.decode_s / (len(marks) - 1), _SHORTEST_S)
    limit = BURST_FRACTION * expected * 1e9
    soon = sum(1 for before, after in zip(marks, marks[1:]) if after.t_ns - before.t_ns < limit)
    return soon / (len(marks) - 1)


def _seconds(start: int | None, end: int | None) -> float | None:
    return None if start is None or end is None else (end - start) / 1e9


def _rate(tokens: float | None, seconds: float | None) -> float | None:
    return None if tokens is None or seconds is None or seconds <= 0 or tokens <= 0 else tokens / seconds


class _Metrics:
    """Collects metrics; a value that cannot be had gets the reason instead."""

    def __init__(self) -> None:
        self.found: dict[str, Metric] = {}

    def put(self, name: str, value: float | None, source: str, reason: str) -> float | None:
        self.found[name] = metric(name, value, source, None if value is not None else reason)
        return value


def _prefill(out: _Metrics, reading: Reading, timing: Timing, own: Figures, tokens: Counts, headers: bool) -> None:
    effective = tokens.effective
    why = "no prompt token count" if effective is None else "no prefill time from the server"
    if tokens.cached:
        effective, why = None, f"{tokens.cached} of {tokens.prompt} prompt tokens came from a cache"
    out.put("pf_srv", _rate(effective, own.prefill_s), own.source or "server", why)
    t1 = reading.t1_ns
    missing = why if effective is None else "no token came"
    out.put("pf_cli", _rate(effective, _seconds(timing.body_sent_ns, t1)), "client", missing)
    value = None
    if not headers:
        missing = why if effective is None else "this engine's headers do not mark the start of prefill"
    elif reading.k1 != 1 and reading.k1 is not None:
        missing = why if effective is None else f"the first token event carried {reading.k1} tokens"
    else:
        value = _rate(effective, _seconds(timing.headers_ns, t1))
    out.put("pf_hdr", value, "client, headers", missing)


def _decode(out: _Metrics, reading: Reading, own: Figures, tokens: Counts) -> None:
    n = tokens.completion
    share = out.put("burst", burst_share(reading, own), "client", "fewer than three token events")
    drafted = bool(own.drafted)
    decoded = None if n is None or reading.k1 is None else n - reading.k1
    reason = ""
    if decoded is None:
        reason = "no token count" if n is None else "no token came"
    elif decoded < MIN_DECODED:
        reason = f"{decoded} tokens after the first, fewer than {MIN_DECODED}"
    elif len(reading.marks) < 2:
        reason = "all tokens came in one event"
    elif share is not None and share > BURST_LIMIT and not drafted:
        reason = f"bursty stream: {share:.0%} of the token events came at once, so the client's clock says nothing"
    usable = decoded if not reason else None
    window = _seconds(reading.decode_start_ns, reading.last_token_ns)
    out.put("dc_cli", _rate(usable, window), "client", reason or "no time between first and last token")
    out.put(
        "dc_w", _window(reading) if not reason else None, "client", reason or f"no {WINDOW[0] + MIN_DECODED} tokens"
    )
    server_n = own.completion if own.completion is not None else n
    steps = server_n - 1 if server_n is not None and server_n > MIN_DECODED else None
    why = "no decode time from the server" if steps else f"fewer than {MIN_DECODED} tokens after the first"
    out.put("dc_srv", _rate(steps, own.decode_s) if own.exact else None, own.source or "server", why)
    out.put("dc_vendor", own.vendor_rate, own.source or "server", "this engine reports none")


def _window(reading: Reading) -> float | None:
    """Return the rate between the tokens of WINDOW, by the events that reached those counts."""
    first = next((mark for mark in reading.marks if mark.count >= WINDOW[0]), None)
    upto = [mark for mark in reading.marks if mark.count <= WINDOW[1]]
    if first is None or not upto or upto[-1].count - first.count < MIN_DECODED:
        return None
    return _rate(upto[-1].count - first.count, _seconds(first.t_ns, upto[-1].t_ns))


def _latency(out: _Metrics, reading: Reading, timing: Timing, tokens: Counts) -> None:
    t0 = timing.t0_ns
    ttft = out.put("ttft", _seconds(t0, reading.t1_ns), "client", "no token came")
    ttfo = out.put("ttfo", _seconds(t0, reading.first_content_ns), "client", "no content came")
    thinking = None if ttft is None or ttfo is None or not reading.reasoning else ttfo - ttft
    out.put("thinking", thinking, "client", "no thinking and content in separate fields")
    e2e = out.put("e2e", _seconds(t0, reading.last_token_ns), "client", "no token came")
    out.put("out_e2e", _rate(tokens.completion, e2e), "client", "no token came or none was counted")


def _ratio(out: _Metrics, name: str, above: str, below: str) -> None:
    over, under = out.found[above], out.found[below]
    value = over["value"] / under["value"] if over["value"] and under["value"] else None
    out.put(name, value, f"{above} / {below}", over["reason"] or under["reason"] or "")


def derive(reading: Reading, timing: Timing, own: Figures, headers_mark_prefill: bool) -> dict[str, Metric]:
    """Return every metric of one request but those of sensors and of the roofline."""
    out = _Metrics()
    tokens = counts(reading, own)
    _prefill(out, reading, timing, own, tokens, headers_mark_prefill)
    _decode(out, reading, own, tokens)
    _latency(out, reading, timing, tokens)
    _ratio(out, "a_dec", "dc_cli", "dc_srv")
    _ratio(out, "a_pf", "pf_cli", "pf_srv")
    _ratio(out, "a_hdr", "pf_hdr", "pf_srv")
    both = tokens.completion_usage is not None and tokens.completion_server
    ratio = (tokens.completion_usage or 0) / (tokens.completion_server or 1) if both else None
    out.put("a_tok", ratio, "usage / server", "only one count of the tokens is known")
    return out.found


def headline(found: dict[str, Metric], names: tuple[str, ...]) -> str | None:
    """Return the name of the first of the metrics that has a value."""
    return next((name for name in names if name in found and found[name]["value"] is not None), None)
