"""Runs `ollama serve` behind the door. Runs on the node, with `door` alone beside it.

The store of models is made anew at each start and holds links to the model's files, under their digests: one copy of a
model on the node, and no other model whose load would push ours out of memory. Facts: ollama/ollama v0.13.5,
server/routes.go (blobs, create, ps), server/create.go (a file that is in the store is taken from there),
docs/faq.mdx (keep_alive).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .door import Behind, Config, Trouble, say, stand

_CHUNK = 4 << 20
_UP = 60.0  # seconds until `ollama serve` answers at all


class Daemon(Behind):
    """`ollama serve`, asked over its own interface."""

    title = "Ollama"

    def __init__(self, config: Config) -> None:
        """Nothing is started yet."""
        super().__init__(config)
        self._home = Path(os.environ["HOME"])
        self._store = self._home / "models"
        self._process: subprocess.Popen[bytes] | None = None

    def steps(self) -> Sequence[tuple[str, Callable[[], object]]]:
        """From nothing to a loaded model."""
        return (
            ("linking the model", self._link),
            ("starting Ollama", self._serve),
            ("importing the model", self._create),
            ("loading the model", self._load),
        )

    def ended(self) -> bool:
        """Whether the server's process is gone."""
        return self._process is None or self._process.poll() is not None

    def down(self) -> None:
        """Stop the server; its runner ends with it."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _link(self) -> None:
        """A store with this model alone. Reads a file once; its digest is kept with its size and time."""
        shutil.rmtree(self._store, ignore_errors=True)
        blobs = self._store / "blobs"
        blobs.mkdir(parents=True)
        for file in self._files():
            (blobs / self._digest(file).replace(":", "-")).symlink_to(file)

    def _serve(self) -> None:
        # pylint: disable-next=ansible-bad-function
        self._process = subprocess.Popen([self.config["ollama"], "serve"], stdin=subprocess.DEVNULL)
        end = time.monotonic() + _UP
        while True:
            if self._process.poll() is not None:
                raise Trouble(f"`ollama serve` ended ({self._process.returncode})")
            try:
                version = self.ask("GET", "/api/version", None, 5.0).get("version")
                say(f"version: {version}")
                return
            except Trouble:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def _create(self) -> None:
        files = {Path(file).name: self._digest(file) for file in self._files()}
        body: dict[str, Any] = {"model": self.config["alias"], "files": files, "stream": False}
        body["parameters"] = {"num_ctx": self.config["context"]}
        if self.config["template"]:
            body["template"] = self.config["template"]
        self.ask("POST", "/api/create", body, 600.0)

    def _load(self) -> None:
        """Load it, for good, and write down where it lies."""
        body = {"model": self.config["alias"], "keep_alive": -1, "stream": False}
        self.ask("POST", "/api/generate", body, float(self.config["load_timeout"]))
        for row in self.ask("GET", "/api/ps", None, 10.0).get("models") or []:
            there, size = int(row.get("size_vram") or 0), int(row.get("size") or 0)
            say(f"placed: {row.get('name')}, {there} of {size} bytes in VRAM")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        """Ask the server; returns its answer. Raises Trouble with what it said."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self.config["inner_port"]), timeout=seconds)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
            found = json.loads(text) if text else {}
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Trouble(f"{path}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        wrong = found.get("error") if isinstance(found, dict) else text
        if response.status != http.client.OK or wrong or not isinstance(found, dict):
            raise Trouble(f"{path} was answered with {response.status}: {' '.join(str(wrong or text).split())[:400]}")
        return found

    def _files(self) -> list[str]:
        return [file for file in (self.config["model"], self.config["mmproj"]) if file]

    def _digest(self, name: str) -> str:
        """`sha256:` and the digest of a file. Raises Trouble."""
        note = self._home / "digests.json"
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        try:
            state = Path(name).stat()
            stamp = [state.st_size, state.st_mtime_ns, state.st_ino]
            if known.get(name, {}).get("stamp") == stamp:
                return str(known[name]["digest"])
            found = hashlib.sha256()
            with Path(name).open("rb") as stream:
                while data := stream.read(_CHUNK):
                    found.update(data)
        except OSError as error:
            raise Trouble(f"{name} cannot be read: {error.strerror}") from error
        known = {path: one for path, one in known.items() if path in self._files() and path != name}
        known[name] = {"stamp": stamp, "digest": f"sha256:{found.hexdigest()}"}
        note.write_text(json.dumps(known), encoding="utf-8")
        return str(known[name]["digest"])


def main(arguments: Sequence[str]) -> int:
    """Bring everything up and watch; returns the exit code."""
    return stand(arguments, Daemon)
