"""One streamed request over one connection of its own, with a timestamp before anything is parsed.

llama-server advertises keep-alive but closes a reused connection after a stream, so that a pooled request is lost
now and then. A connection is opened before t0 and used once; a measured request is never sent twice. Only what
happens before a server has taken the request is tried again: a refused connection, and 503 while a model loads.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Union
from urllib.parse import urlsplit

from ..addresses import joined
from .http1 import ProtocolError, Response
from .sse import COMMENT, Event, EventParser, JsonLines

_PIECE = 65536
_MAX_ERROR_BODY = 65536
DONE = b"[DONE]"

Stream = Union[EventParser, JsonLines]


@dataclass(frozen=True)
class Endpoint:
    """Where the server is. The key goes into one header and nowhere else."""

    host: str
    port: int
    prefix: str = ""
    tls: bool = False
    key: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @classmethod
    def parse(cls, url: str, key: str | None = None, ca_file: str | None = None) -> Endpoint:
        """Read an address such as http://127.0.0.1:8080. Raises ValueError saying what is wrong with it."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a server: http://HOST:PORT is expected")
        if parts.username or parts.password:
            raise ValueError("the server's address carries a password; give the key in a file (api_key_file)")
        prefix = parts.path.rstrip("/")
        prefix = prefix[:-3] if prefix.endswith("/v1") else prefix
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.hostname, port, prefix, parts.scheme == "https", key, ca_file)

    def head(self, method: str, path: str, length: int | None) -> bytes:
        """Return the request head."""
        lines = [
            f"{method} {self.prefix}{path} HTTP/1.1",
            f"Host: {joined(self.host, self.port)}",
            "Accept: */*",
            "Connection: close",
            "User-Agent: mi50-bench",
        ]
        if length is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        if self.key:
            lines.append(f"Authorization: Bearer {self.key}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def connect(self, timeout: float) -> socket.socket:
        """Open a connection. Raises OSError (ConnectionRefusedError, socket.timeout, ssl.SSLError)."""
        sock = socket.create_connection((self.host, self.port), timeout=timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                return ssl.create_default_context(cafile=self.ca_file).wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise
        return sock


@dataclass(frozen=True)
class Limits:
    """Seconds: for a connection, to the first token, between tokens, for all, for a server that is not ready."""

    connect: float = 10.0
    prefill: float = 1800.0
    stall: float = 30.0
    total: float = 7200.0
    load: float = 600.0


@dataclass
class Exchange:
    """What was seen on the wire. Times are monotonic nanoseconds; `failure` is empty after an orderly end.

    failure: connect, refused, prefill, stall, total, reset, protocol, or an empty string.
    """

    t0_ns: int | None = None
    body_sent_ns: int | None = None
    headers_ns: int | None = None
    end_ns: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    body: bytes = b""
    done: bool = False
    failure: str = ""
    detail: str = ""
    connect_s: float | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    retries_refused: int = 0
    retries_loading: int = 0


def _fail(seen: Exchange, failure: str, detail: str) -> None:
    seen.failure, seen.detail = failure, detail
    seen.end_ns = time.monotonic_ns()


def _deadline(seen: Exchange, limits: Limits, progress_ns: int | None) -> tuple[float, str]:
    """Return the monotonic second until which the next byte may take, and what has happened when it did not come."""
    t0 = (seen.t0_ns or 0) / 1e9
    phase = (t0 + limits.prefill, "prefill") if progress_ns is None else (progress_ns / 1e9 + limits.stall, "stall")
    return min(phase, (t0 + limits.total, "total"))


class _Reader:
    """Reads one response into an Exchange."""

    def __init__(self, seen: Exchange, limits: Limits, is_token: Callable[[Event], bool], ndjson: bool) -> None:
        self.seen = seen
        self.limits = limits
        self.is_token = is_token
        self.ndjson = ndjson
        self.response = Response()
        self.stream: Stream | None = None
        self.progress_ns: int | None = None

    def read(self, sock: socket.socket) -> None:
        """Read to the end of the stream, or until a limit is passed."""
        while not (self.seen.done or self.response.complete):
            until, what = _deadline(self.seen, self.limits, self.progress_ns)
            left = until - time.monotonic()
            if left <= 0:
                return _fail(self.seen, what, "")
            sock.settimeout(left)
            try:
                data = sock.recv(_PIECE)
            except socket.timeout:
                continue
            now = time.monotonic_ns()
            if not data:
                return self._closed(now)
            self._take(data, now)
        self.seen.end_ns = self.seen.end_ns or time.monotonic_ns()
        return None

    def _take(self, data: bytes, now: int) -> None:
        seen = self.seen
        seen.bytes_received += len(data)
        body = self.response.feed(data)
        if seen.headers_ns is None and self.response.status is not None:
            seen.headers_ns, seen.status, seen.headers = now, self.response.status, self.response.headers
            kind = seen.headers.get("content-type", "")
            if seen.status == 200 and ("event-stream" in kind or "ndjson" in kind):
                self.stream = JsonLines() if self.ndjson or "ndjson" in kind else EventParser()
        if self.stream is None:
            seen.body = (seen.body + body)[:_MAX_ERROR_BODY]
            return
        events = self.stream.feed(body, now)
        if self.response.complete:
            events += self.stream.close(now)
        self._note(events, now)

    def _note(self, events: list[Event], now: int) -> None:
        for event in events:
            self.seen.events.append(event)
            if event.name == COMMENT:
                continue  # a ping keeps the socket alive and is no progress
            if event.data == DONE:
                self.seen.done, self.seen.end_ns = True, now
            elif self.progress_ns is not None or self.is_token(event):
                self.progress_ns = now

    def _closed(self, now: int) -> None:
        self.seen.end_ns = now
        if self.stream is not None:
            self._note(self.stream.close(now), now)
        if not self.response.end():
            _fail(self.seen, "reset", "the server closed the connection in the middle of its answer")


def _open(endpoint: Endpoint, limits: Limits, seen: Exchange, ready_until: float) -> socket.socket | None:
    """Connect; a refused connection is tried again, as the server may be starting."""
    while True:
        started = time.monotonic()
        try:
            sock = endpoint.connect(limits.connect)
        except ConnectionRefusedError as error:
            if time.monotonic() >= ready_until:
                _fail(seen, "refused", str(error))
                return None
            seen.retries_refused += 1
            time.sleep(min(1.0, max(0.05, ready_until - time.monotonic())))
            continue
        except (OSError, ValueError) as error:
            _fail(seen, "connect", str(error) or type(error).__name__)
            return None
        seen.connect_s = time.monotonic() - started
        return sock


@contextlib.contextmanager
def promptly() -> Iterator[bool]:
    """Let this thread run as soon as bytes arrive: an engine that keeps every core busy makes its client late.

    The thread sleeps nearly always, so that nothing is taken from the engine. Yields whether it was allowed (root, or
    CAP_SYS_NICE).
    """
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, policy, parameter)


def is_loading(seen: Exchange) -> bool:
    """Tell whether the answer is a 503 of a server that is still loading its model."""
    text = seen.body[:2000].lower()
    return seen.status == 503 and (b"loading" in text or b"unavailable_error" in text or b"starting" in text)


def _once(
    endpoint: Endpoint, head: bytes, body: bytes, limits: Limits, seen: Exchange, ready_until: float, reader: _Reader
) -> None:
    sock = _open(endpoint, limits, seen, ready_until)
    if sock is None:
        return
    with sock:
        try:
            sock.settimeout(limits.total)
            seen.t0_ns = time.monotonic_ns()
            # A server that refuses may answer before it has read all; its answer is still to be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(head + body)
            seen.body_sent_ns = time.monotonic_ns()
            seen.bytes_sent = len(head) + len(body)
            reader.read(sock)
        except ProtocolError as error:
            _fail(seen, "protocol", str(error))
        except OSError as error:
            _fail(seen, "reset", str(error) or type(error).__name__)


def stream(
    endpoint: Endpoint,
    path: str,
    body: bytes,
    limits: Limits,
    is_token: Callable[[Event], bool],
    ndjson: bool = False,
) -> Exchange:
    """POST `body` and read the stream. Never raises for what a server does: `failure` and `status` say it."""
    head = endpoint.head("POST", path, len(body))
    ready_until = time.monotonic() + limits.load
    loading = refused = 0
    while True:
        seen = Exchange(retries_refused=refused, retries_loading=loading)
        with promptly():
            _once(endpoint, head, body, limits, seen, ready_until, _Reader(seen, limits, is_token, ndjson))
        if not is_loading(seen) or time.monotonic() >= ready_until:
            return seen
        loading, refused = loading + 1, seen.retries_refused
        time.sleep(min(1.0, max(0.05, ready_until - time.monotonic())))


def fetch(endpoint: Endpoint, path: str, body: bytes | None = None, timeout: float = 10.0) -> tuple[int, bytes]:
    """GET (or POST) something small; return the HTTP status and the body. Raises OSError, ProtocolError."""
    with endpoint.connect(timeout) as sock:
        sock.settimeout(timeout)
        head = endpoint.head("GET" if body is None else "POST", path, None if body is None else len(body))
        sock.sendall(head + (body or b""))
        response, pieces = Response(), []
        while not response.complete:
            data = sock.recv(_PIECE)
            if not data:
                break
            pieces.append(response.feed(data))
    if response.status is None or not response.end():
        raise ProtocolError(f"no whole answer to {path}")
    return response.status, b"".join(pieces)
