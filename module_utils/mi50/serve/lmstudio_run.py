"""Runs LM Studio's headless daemon and stands before it, with the API key. Runs on the node, alone.

    mi50-lmstudio-run CONFIG

LM Studio's own tokens can be made in its window alone, and its server asks for none. So the daemon has a network of its
own, in which nobody else is (PrivateNetwork=), and what comes in over the socket that systemd opened goes through here:
requests without the key are refused, the others handed on, one a connection. While the model loads, the answer is 503.

Exit code 1 when the daemon does not do what it is told or is gone: systemd then starts everything anew.
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_HEAD = 65536  # bytes of a request's head, at most
_CHUNK = 65536
_MISSES = 3  # looks in a row at which nobody listens any more
_FIRST_SOCKET = 3  # sd_listen_fds(3)

# Fields that decide where a request ends or who asks.
_ONCE = ("content-length", "transfer-encoding", "authorization", "x-api-key", "host")

Config = Mapping[str, Any]


class Trouble(Exception):
    """LM Studio did not do what it was told; the text says what."""


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
            _refuse(connection, "502 Bad Gateway", "LM Studio does not listen")
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


def say(text: str) -> None:
    """One line for the journal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Daemon:
    """LM Studio's daemon, by its command line."""

    def __init__(self, config: Config) -> None:
        """Nothing is started yet."""
        self._config = config
        self._home = Path(os.environ["HOME"])
        self._lms = self._home / ".lmstudio/bin/lms"

    def up(self, gate: Gate) -> None:
        """From nothing to a loaded model. Raises Trouble."""
        config = self._config
        steps = (
            ("unpacking LM Studio", self._bootstrap),
            ("starting the daemon", lambda: self.lms("daemon", "up")),
            ("choosing the runtime", self._runtime),
            ("looking for the card", self._survey),
            ("importing the model", self._import),
            ("loading the model", self._load),
            ("starting the server", lambda: self.lms("server", "start", "--port", str(config["inner_port"]))),
        )
        for stage, act in steps:
            gate.stage = stage
            say(stage)
            act()
        gate.stage = ""
        say("serving")

    def lms(self, *words: str, seconds: float = 300.0) -> str:
        """Run `lms`; returns what it printed. Raises Trouble."""
        return self._run([str(self._lms), *words], seconds)

    def down(self) -> None:
        """Stop it, as far as it lets itself be stopped."""
        for words in (("server", "stop"), ("daemon", "down")):
            try:
                self.lms(*words, seconds=20)
            except Trouble as trouble:
                say(str(trouble))

    def listens(self) -> bool:
        """Whether the server's port can be reached."""
        try:
            socket.create_connection(("127.0.0.1", int(self._config["inner_port"])), 5).close()
        except OSError:
            return False
        return True

    def _bootstrap(self) -> None:
        """Have `lms` of this very version; another one may have been here before."""
        marker = self._home / ".lmstudio/mi50-version"
        wanted = str(self._config["llmster"])
        if self._lms.exists() and marker.is_file() and marker.read_text(encoding="utf-8") == wanted:
            return
        self._run([wanted, "bootstrap"], 600)
        if not self._lms.exists():
            raise Trouble(f"`llmster bootstrap` did not make {self._lms}")
        marker.write_text(wanted, encoding="utf-8")

    def _runtime(self) -> None:
        wanted = str(self._config["runtime"])
        listed = self.lms("runtime", "ls")
        names = [line.split()[0] for line in listed.splitlines() if line.startswith(wanted)]
        if not names:
            have = ", ".join(line.split()[0] for line in listed.splitlines() if "@" in line) or "none"
            raise Trouble(f"the runtime {wanted} is not installed (there is: {have})")
        # By its whole name: an alias that fits several versions is refused.
        self.lms("runtime", "select", names[0])
        say(f"runtime: {names[0]}")

    def _survey(self) -> None:
        try:
            found = json.loads(self.lms("runtime", "survey", "--refresh", "--json"))
            gpus = [
                gpu for engine in found["engines"] for gpu in engine["hardwareSurvey"]["gpuSurveyResult"]["gpuInfo"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise Trouble(f"`lms runtime survey` said something else than expected ({error})") from error
        memory = "dedicatedMemoryCapacityBytes"
        seen = [{"name": gpu["name"], "memory": gpu.get(memory) or gpu.get("totalMemoryCapacityBytes")} for gpu in gpus]
        say(f"devices: {json.dumps(seen)}")

    def _import(self) -> None:
        """Link the model's files, so that all engines share one copy."""
        folder = self._home / ".lmstudio/models" / self._config["repository"]
        for file in filter(None, (self._config["model"], self._config["mmproj"])):
            link = folder / Path(file).name
            if link.is_symlink() and str(link.readlink()) != file:
                link.unlink()
            if not link.exists():
                self.lms("import", "--user-repo", self._config["repository"], "-y", "-l", file)

    def _load(self) -> None:
        config = self._config
        name = f"{config['repository']}/{Path(config['model']).name}"
        self.lms("unload", "--all")
        words = ["load", name, "--exact", "-y", "--gpu", str(config["gpu"]), "-c", str(config["context"])]
        words += ["--parallel", str(config["parallel"]), "--identifier", str(config["identifier"])]
        self.lms(*words, seconds=float(config["load_timeout"]))

    def _run(self, argv: Sequence[str], seconds: float) -> str:
        name = " ".join([Path(argv[0]).name, *argv[1:]])
        # Files, not pipes: the daemon inherits them, and a pipe would end with it alone.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            try:
                # pylint: disable-next=ansible-bad-function
                done = subprocess.run(
                    argv, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, check=False, timeout=seconds
                )
            except subprocess.TimeoutExpired as error:
                raise Trouble(f"`{name}` did not end within {seconds:.0f} s") from error
            except OSError as error:
                raise Trouble(f"`{name}` cannot be started: {error.strerror}") from error
            said, complaint = (_text(stream) for stream in (out, errors))
        if done.returncode != 0:
            raise Trouble(f"`{name}` failed ({done.returncode}): {' '.join((complaint or said).split())[-400:]}")
        return said


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def main(arguments: Sequence[str]) -> int:
    """Bring everything up and watch; returns the exit code."""
    config = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    gate, daemon, misses = Gate(config), Daemon(config), 0
    listening = socket.socket(fileno=_FIRST_SOCKET)
    threading.Thread(target=gate.serve, args=(listening,), daemon=True).start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    try:
        daemon.up(gate)
        while not ended.wait(2.0) and misses < _MISSES:
            misses = 0 if daemon.listens() else misses + 1
    except Trouble as trouble:
        say(f"LM Studio: {trouble}")
        time.sleep(1)  # a look that comes now reads why
        misses = _MISSES
    daemon.down()
    if misses >= _MISSES and not gate.stage:
        say("LM Studio does not listen any more")
    return 1 if misses >= _MISSES else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
