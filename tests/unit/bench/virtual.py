"""A server without a network and without time: its script says when which bytes come, and the clock jumps there.

Times are exact to the nanosecond, so that a test can compare with what is computed by hand.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MS = 1_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

# (nanoseconds after the one before, bytes)
Script = list[tuple[int, bytes]]


class Clock:
    """Stands in for the module `time`; what is not about waiting is the real one's."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def monotonic_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.now_ns += max(1, round(seconds * 1e9))

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def sse(document: Any) -> bytes:
    return b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more})


def usage(prompt: int, completion: int, **more: Any) -> bytes:
    return sse({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}, **more})


DONE = sse(b"[DONE]")


def plain(status: int, body: Any, reason: str = "X") -> Script:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return [(1 * MS, head.encode() + data)]


@dataclass
class Sock:
    """One connection. `end`: close (orderly), reset, or hang (nothing more ever comes)."""

    server: Server
    script: Script = field(default_factory=list)
    end: str = "close"
    timeout: float = 1e9
    received: bytes = b""

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def sendall(self, data: bytes) -> None:
        self.received += data
        self.script, self.end = self.server.answer(self.received)
        self.script = list(self.script)

    def recv(self, _size: int) -> bytes:
        clock = self.server.clock
        if not self.script:
            if self.end == "reset":
                raise ConnectionResetError(104, "Connection reset by peer")
            if self.end == "close":
                return b""
            clock.now_ns += round(self.timeout * 1e9) + 1
            raise socket.timeout
        wait, data = self.script[0]
        if wait > self.timeout * 1e9:
            self.script[0] = (wait - round(self.timeout * 1e9), data)
            clock.now_ns += round(self.timeout * 1e9) + 1
            raise socket.timeout
        self.script.pop(0)
        clock.now_ns += wait
        return data

    def close(self) -> None:
        pass

    def __enter__(self) -> Sock:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


# What a request's JSON document is answered with.
Answer = Callable[[dict[str, Any], int], "tuple[Script, str]"]


@dataclass
class Server:
    """Answers by path. `pages` are the small questions; `chat` the streams; `refuse` so many connections at first."""

    clock: Clock
    chat: Answer
    pages: dict[str, Any] = field(default_factory=dict)
    refuse: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    def connect(self, _timeout: float) -> Any:
        self.connections += 1
        self.clock.now_ns += 100_000
        if self.refuse:
            self.refuse -= 1
            raise ConnectionRefusedError(111, "Connection refused")
        return Sock(self)

    def answer(self, request: bytes) -> tuple[Script, str]:
        head, _gap, body = request.partition(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        self.heads.append(head)
        if path in self.pages:
            page = self.pages[path]
            page = page(json.loads(body) if body else None) if callable(page) else page
            return (page, "close") if isinstance(page, list) else (plain(200, page), "close")
        if path in ("/v1/chat/completions", "/api/v1/chat", "/api/chat"):
            document = json.loads(body)
            self.asked.append(document)
            return self.chat(document, len(self.asked) - 1)
        return plain(404, {"error": {"message": f"no {path}"}}), "close"


def tokens(count: int, interval: int, prefill: int, *, text: str = "ab ", headers: int = 2 * MS) -> Script:
    """A plain stream: headers, role chunk with the first token, one event a token, finish, usage, done."""
    script: Script = [(headers, OK), (prefill, chunk({"role": "assistant", "content": ""}) + chunk({"content": text}))]
    script += [(interval, chunk({"content": text})) for _token in range(count - 1)]
    return script


def timings(prompt: int, cached: int, prefill_ms: float, done: int, decode_ms: float) -> dict[str, Any]:
    return {
        "cache_n": cached,
        "prompt_n": prompt - cached,
        "prompt_ms": prefill_ms,
        "predicted_n": done,
        "predicted_ms": decode_ms,
    }


def llamacpp(
    prompt: int,
    count: int,
    prefill_ms: int,
    interval_ms: int,
    *,
    cached: int = 0,
    finish: str = "length",
    text: str = "ab ",
) -> Script:
    """llama-server's stream: headers when the slot starts, timings in each chunk, finish and usage with the last."""

    def timed(done: int) -> dict[str, Any]:
        return {"timings": timings(prompt, cached, prefill_ms, done, (done - 1) * interval_ms)}

    script: Script = [(3 * MS, OK)]
    first = chunk({"role": "assistant", "content": None}) + chunk({"content": text}, **timed(1))
    script.append((prefill_ms * MS, first))
    for done in range(2, count + 1):
        script.append((interval_ms * MS, chunk({"content": text}, **timed(done))))
    script.append((0, chunk({}, finish) + usage(prompt, count, **timed(count)) + DONE))
    return script
