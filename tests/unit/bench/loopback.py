"""A real server on loopback that replays streams at given times, in a thread or (as a program) in its own process.

`python loopback.py PORT_FILE INTERVAL_MS` serves endless good requests of llama-server's form.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Seconds to wait, then bytes to send. None closes without an end.
Replay = list[tuple[float, bytes]]


class Loopback:
    """Serves each connection in a thread. `chat` gives the replay of a request; other paths answer from `pages`."""

    def __init__(self, chat: Callable[[dict[str, Any]], Replay], pages: dict[str, Any] | None = None) -> None:
        self.chat, self.pages = chat, pages or {"/v1/models": {"data": [{"id": "tiny"}]}}
        self.stopping = threading.Event()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests = 0
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which would keep the port open
        self.listener.close()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _peer = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = b""
            while b"\r\n\r\n" not in data:
                data += sock.recv(65536)
            head, _gap, body = data.partition(b"\r\n\r\n")
            length = next(
                (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-len")), 0
            )
            while len(body) < length:
                body += sock.recv(65536)
            path = head.split(b" ", 2)[1].decode()
            try:
                self._answer(sock, path, json.loads(body) if body else {})
            except OSError:
                return

    def _answer(self, sock: socket.socket, path: str, document: dict[str, Any]) -> None:
        if path in self.pages:
            page = json.dumps(self.pages[path]).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))
            return
        self.requests += 1
        due = time.monotonic()
        for wait, data in self.chat(document):
            due += wait
            if self.stopping.wait(max(0.0, due - time.monotonic())):
                return
            sock.sendall(data)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(document: Any) -> bytes:
    """One event in an HTTP chunk of its own."""
    data = b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def good(count: int, interval: float, prefill: float) -> Replay:
    """A stream without server figures."""
    replay: Replay = [(0.0, HEAD), (prefill, event({"choices": [{"delta": {"role": "assistant"}}]}))]
    for number in range(count):
        replay.append((0.0 if number == 0 else interval, event({"choices": [{"delta": {"content": "Paris "}}]})))
    last = event({"choices": [{"delta": {}, "finish_reason": "length"}]})
    last += event({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": count}})
    return [*replay, (0.0, last + event(b"[DONE]") + b"0\r\n\r\n")]


def main() -> None:
    interval = float(sys.argv[2]) / 1000
    server = Loopback(lambda document: good(document["max_tokens"], interval, 0.01))
    Path(sys.argv[1]).write_text(str(server.port))
    server.thread.join()


if __name__ == "__main__":
    main()
