"""Measures the client itself on loopback: a stream of known times from another process of this program.

Both ends read the same monotonic clock, so each event's lag is what the kernel and this client add to it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import statistics
import time
from typing import Any

from . import reading, wire
from .adapters.openai import OpenAi

# The shortest interval between tokens to expect of these cards with one request (published: 80 tokens/s and less).
# A lag of a tenth of it would begin to show in a short answer's figures.
FASTEST_INTERVAL_S = 1 / 120
_SHARE = 0.1
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def _event(delta: dict[str, str], **more: object) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _serve(listener: socket.socket, count: int, rate: float) -> None:
    """Answer one request with `count` tokens at `rate` a second, each saying when it was due and when it was sent."""
    sock, _peer = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536)
    sock.sendall(_HEAD)
    due = time.monotonic_ns()
    for number in range(count):
        due = due if number == 0 else due + round(1e9 / rate)
        while (left := due - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        now = time.monotonic_ns()
        sock.sendall(_event({"content": "x"}, sent_ns=now))
    usage = {"prompt_tokens": 1, "completion_tokens": count}
    stop = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    tail = b"data: " + json.dumps(stop).encode() + b"\n\ndata: " + json.dumps({"choices": [], "usage": usage}).encode()
    sock.sendall(tail + b"\n\ndata: [DONE]\n\n")
    sock.close()


def stream(count: int, rate: float) -> dict[str, Any]:
    """Stream `count` events at `rate` a second from a child process; return lags (microseconds), errors and CPU.

    Raises OSError when the child cannot be made.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _serve(listener, count, rate)
            code = 0
        finally:
            os._exit(code)
    try:
        endpoint = wire.Endpoint("127.0.0.1", listener.getsockname()[1])
        listener.close()
        kind = OpenAi()
        before = resource.getrusage(resource.RUSAGE_SELF)
        limits = wire.Limits(connect=5.0, prefill=10.0, stall=10.0, total=count / rate + 30.0, load=0.0)
        seen = wire.stream(endpoint, kind.path, b"{}", limits, kind.is_token)
        heard = reading.read(kind, seen.events)
        after = resource.getrusage(resource.RUSAGE_SELF)
    finally:
        _reap(child)
    return _result(seen, heard, count, rate, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _reap(child: int) -> None:
    until = time.monotonic() + 5.0
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.01)


def _result(seen: wire.Exchange, heard: reading.Reading, count: int, rate: float, cpu_s: float) -> dict[str, Any]:
    stamps = [(e.t_ns, json.loads(e.data).get("sent_ns")) for e in seen.events if e.data.startswith(b"{")]
    pairs = [(t, sent) for t, sent in stamps if sent]
    lags = sorted((t - sent) / 1e3 for t, sent in pairs)
    if len(lags) != count or heard.t1_ns is None or heard.last_token_ns is None:
        return {"ok": False, "reason": f"{len(lags)} of {count} events arrived: {seen.failure} {seen.detail}".strip()}
    true_s = (pairs[-1][1] - pairs[0][1]) / 1e9
    own_s = (heard.last_token_ns - heard.t1_ns) / 1e9
    return {
        "ok": True,
        "reason": None,
        "events": count,
        "events_per_s": rate,
        "sent_per_s": (count - 1) / true_s if true_s else None,
        "lag_us_p50": statistics.median(lags),
        "lag_us_p99": lags[min(count - 1, count * 99 // 100)],
        "lag_us_max": lags[-1],
        "rate_error": true_s / own_s - 1 if own_s else None,
        "first_event_lag_us": (pairs[0][0] - pairs[0][1]) / 1e3,
        "connect_ms": (seen.connect_s or 0.0) * 1e3,
        "cpu_s": cpu_s,
        "cpu_us_per_event": cpu_s * 1e6 / count,
    }


def calibrate(count: int = 240, rate: float = 120.0) -> dict[str, Any]:
    """Return the client's own lag; not ok when it would show in the fastest rate to expect."""
    try:
        found = stream(count, rate)
    except OSError as error:
        return {"ok": False, "reason": f"no loopback stream: {error}"}
    with wire.promptly() as allowed:
        found["realtime"] = allowed
    limit = _SHARE * FASTEST_INTERVAL_S * 1e6
    if found["ok"] and found["lag_us_p99"] > limit:
        found["ok"] = False
        found["reason"] = f"99 % of the lags are up to {found['lag_us_p99']:.0f} us, more than {limit:.0f} us"
    return found
