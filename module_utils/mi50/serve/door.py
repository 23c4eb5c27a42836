"""The door of an engine that asks for no key itself: it looks at the key, and watches the engine behind it.

LM Studio's own tokens can be made in its window alone, and Ollama has none. So the engine has a network of its own, in
which nobody else is (PrivateNetwork=), and what comes in over the socket that systemd opened goes through here:
requests without the key are refused, the others handed on, one a connection. While the model loads, the answer is 503.

Runs on the node, beside one program that knows the engine. Standard library only.
"""

from __future__ import annotations

import hmac
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_HEAD = 65536  # bytes of a request's head, at most
_CHUNK = 65536
_MISSES = 3  # looks in a row at which nobody listens any more
_EVERY = 4  # half seconds between them
_FIRST_SOCKET = 3  # sd_listen_fds(3)
_LINGER = 5.0  # seconds in which what a refused client still sends is read and thrown away

# Fields that decide where a request ends or who asks.
_ONCE = ("content-length", "transfer-encoding", "authorization", "x-api-key", "host")

Config = Mapping[str, Any]


class Trouble(Exception):
    """The engine did not do what it was told; the text says what."""


class Behind:
    """An engine behind the door. `title` is its name for people."""

    title = ""

    def __init__(self, config: Config) -> None:
        """Nothing is started yet."""
        self.config = config

    def steps(self) -> Sequence[tuple[str, Callable[[], object]]]:
        """From nothing to a loaded model: what is being waited for, and how it is done. Each may raise Trouble."""
        raise NotImplementedError

    def down(self) -> None:
        """Stop it, as far as it lets itself be stopped."""

    def ended(self) -> bool:
        """Whether it is known to be gone, without asking it."""
        return False

    def listens(self) -> bool:
        """Whether the engine's port can be reached."""
        try:
            socket.create_connection(("127.0.0.1", int(self.config["inner_port"])), 5).close()
        except OSError:
            return False
        return True


class Gate:
    """Takes requests, checks their key, hands them on. `stage` is what is being waited for, empty when it serves."""

    def __init__(self, config: Config) -> None:
        """Nothing is opened yet."""
        self._port = int(config["inner_port"])
        self._key = Path(config["key_file"]).read_text(encoding="utf-8").strip()
        self.stage = "starting"

    def serve(self, listening: socket.socket) -> None:
        """Take connections, each in a thread of its own."""
        while True:
            connection, dummy = listening.accept()
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(60)
                self._request(connection)
                _leave(connection)
            except OSError:
                return

    def _request(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(_CHUNK)
            if not more:
                return
            data += more
            if len(data) > _HEAD:
                _refuse(connection, "431 Request Header Fields Too Large", "the head is too long")
                return
        head, dummy, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = [line.partition(":")[::2] for line in lines[1:]]
        given = {name.strip().lower(): value.strip() for name, value in fields}
        # Two readings of one head are how a second request is slipped past the key.
        names = [name.strip().lower() for name, dummy in fields]
        odd = any(names.count(name) > 1 for name in _ONCE) or any(
            name != name.strip() or not name for name, dummy in fields
        )
        if not self._knows(given):
            _refuse(connection, "401 Unauthorized", "the API key is missing or wrong")
        elif odd:
            _refuse(connection, "400 Bad Request", "a field of the head is there twice, or is none")
        elif "transfer-encoding" in given or not given.get("content-length", "0").isdigit():
            _refuse(connection, "411 Length Required", "send a Content-Length")
        elif self.stage:
            _refuse(connection, "503 Service Unavailable", f"loading: {self.stage}")
        else:
            left = int(given.get("content-length", "0")) - len(body)
            self._hand_on(connection, _closing(lines), body[: max(0, left + len(body))], max(0, left))

    def _knows(self, given: Mapping[str, str]) -> bool:
        bearer = given.get("authorization", "")
        offered = bearer[7:] if bearer[:7].lower() == "bearer " else given.get("x-api-key", "")
        return hmac.compare_digest(offered.encode(), self._key.encode())

    def _hand_on(self, connection: socket.socket, head: bytes, body: bytes, left: int) -> None:
        """One request to the daemon and its answer back, as it comes. Never a second one: its key was not looked at."""
        try:
            inner = socket.create_connection(("127.0.0.1", self._port), 10)
        except OSError:
            _refuse(connection, "502 Bad Gateway", "the engine does not listen")
            return
        with inner:
            inner.settimeout(None)
            inner.sendall(head + body)
            while left > 0:
                more = connection.recv(min(_CHUNK, left))
                if not more:
                    return
                inner.sendall(more)
                left -= len(more)
            connection.settimeout(None)
            while True:
                more = inner.recv(_CHUNK)
                if not more:
                    return
                connection.sendall(more)


def _closing(lines: Sequence[str]) -> bytes:
    """The head to hand on: the connection ends with the answer, and the key stays here."""
    hidden = ("connection", "keep-alive", "authorization", "x-api-key", "expect")
    kept = [line for line in lines[1:] if line.partition(":")[0].strip().lower() not in hidden]
    return "\r\n".join([lines[0], *kept, "Connection: close", "", ""]).encode("latin-1")


def _refuse(connection: socket.socket, status: str, text: str) -> None:
    body = json.dumps({"error": {"message": text}}).encode()
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", "", "")
    connection.sendall("\r\n".join((f"HTTP/1.1 {status}", *fields)).encode() + body)


def _leave(connection: socket.socket) -> None:
    """End the connection without taking the answer back.

    A socket closed over unread bytes sends a reset, and the client's kernel then throws away the answer that it has not
    read yet (RFC 9112, 9.6). So our half is closed first, and what still comes is read until the client closes its own.
    """
    connection.shutdown(socket.SHUT_WR)
    end = time.monotonic() + _LINGER
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(_CHUNK):
            return


def say(text: str) -> None:
    """One line for the journal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def stand(arguments: Sequence[str], engine: Callable[[Config], Behind]) -> int:
    """Open the door, bring the engine up behind it and watch; `arguments` name the configuration.

    Returns 1 when the engine does not do what it is told or is gone: systemd then starts everything anew.
    """
    config = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    gate, behind, misses = Gate(config), engine(config), 0
    listening = socket.socket(fileno=_FIRST_SOCKET)
    threading.Thread(target=gate.serve, args=(listening,), daemon=True).start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    try:
        for stage, act in behind.steps():
            if ended.is_set():
                break
            gate.stage = stage
            say(stage)
            act()
        else:
            gate.stage = ""
            say("serving")
        looks = 0
        while not ended.wait(0.5) and misses < _MISSES:
            looks += 1
            if behind.ended():
                misses = _MISSES
            elif looks % _EVERY == 0:
                misses = 0 if behind.listens() else misses + 1
    except Trouble as trouble:
        say(f"{behind.title}: {trouble}")
        time.sleep(1)  # a look that comes now reads why
        misses = _MISSES
    behind.down()
    if misses >= _MISSES and not gate.stage:
        say(f"{behind.title} does not listen any more")
    return 1 if misses >= _MISSES else 0
