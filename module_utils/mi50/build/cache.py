"""Finished builds on the controller, and how workers of one or more runs agree on who builds.

`DIR/<key>/` holds a build (store.Store); `DIR/.state/` what is for one moment only: a lock a key, held by whoever
builds it, and what failed in this run. `DIR/history.jsonl` has one line a build and one a hand-over.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import key as keys
from .store import Manifest, Store, StoreError

HISTORY = "history.jsonl"


class Cache(Store):
    """The controller's folder of builds. `run` names this run of ansible-playbook."""

    def __init__(self, root: Path, run: str) -> None:
        """The folder need not exist."""
        super().__init__(root)
        self._run = run
        self._state = root / ".state"

    def sound(self, key: str) -> tuple[Manifest | None, str]:
        """Return a build with every byte proven, or None; and what was wrong with one that had to be set aside.

        A broken build is renamed, not deleted: somebody may want to know what happened to it.
        """
        problem = self.problem(key, verify=True)
        if not problem:
            return self.manifest(key), ""
        if problem == "missing":
            return None, ""
        aside = self.root / f".broken-{key}"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            self.folder(key).rename(aside)
        except OSError as exc:
            raise StoreError(f"{problem}; and it cannot be set aside: {exc}") from exc
        return None, f"{problem}; set aside as {aside}"

    def nearest(self, name: str, parts: Mapping[str, str]) -> tuple[Manifest, list[str]] | None:
        """Return the build that differs least from the wanted one, and how."""
        found = [(keys.differences(parts, one["parts"]), one) for one in self.entries(name)]
        best = min(found, key=lambda pair: len(pair[0]), default=None)
        return (best[1], best[0]) if best else None

    def pinned(self, name: str, pin: str) -> str:
        """Return the whole key of a build that a user named by its beginning. Raises StoreError."""
        known = [one["key"] for one in self.entries(name)]
        found = [key for key in known if key.startswith(pin)]
        if len(found) != 1:
            there = ", ".join(key[:12] for key in known) or "none"
            what = "no build" if not found else f"{len(found)} builds"
            raise StoreError(f"build_once_pin: {name}: {what} in {self.root} begin with {pin!r}; there are: {there}")
        return str(found[0])

    @contextmanager
    def builder(self, key: str, who: str) -> Iterator[bool]:
        """Hold the right to build a key; yield False at once when somebody else does. Freed when the process dies."""
        self._state.mkdir(parents=True, exist_ok=True)
        # Not private to one run: two runs must not build the same either.
        with (self._state / f"{key}.lock").open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            stream.truncate(0)
            stream.write(who)
            stream.flush()
            yield True

    def building(self, key: str) -> str:
        """Return who builds a key now, empty when nobody does."""
        try:
            with (self._state / f"{key}.lock").open("r", encoding="utf-8") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return stream.read() or "another run"
        except OSError:
            return ""
        return ""

    def failed(self, key: str) -> dict[str, dict[str, Any]]:
        """Return what failed in this run, by host: `{"kind", "text"}`."""
        found = {}
        for path in self._state.glob(f"{key}.{self._run}.*.failed"):
            try:
                one = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            found[one["host"]] = one
        return found

    def fail(self, key: str, host: str, kind: str, text: str) -> None:
        """Tell the other workers of this run that a host could not build."""
        self._state.mkdir(parents=True, exist_ok=True)
        safe = "".join(letter if letter.isalnum() else "-" for letter in host)
        path = self._state / f"{key}.{self._run}.{safe}.failed"
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps({"host": host, "kind": kind, "text": text}), encoding="utf-8")
        scratch.replace(path)

    def sweep(self) -> None:
        """Forget what failed in runs that are over."""
        for path in self._state.glob("*.failed"):
            process = path.name.split(".")[1].partition("-")[0]
            if not (process.isdigit() and Path(f"/proc/{process}").exists()):
                path.unlink(missing_ok=True)

    def record(self, event: str, manifest: Manifest, host: str, **more: object) -> None:
        """Add a line to the history: `built`, `collected` or `handed over`."""
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "event": event,
            "name": manifest["name"],
            "version": manifest["version"],
            "key": manifest["key"],
            "host": host,
            "sha256": manifest["files"][0]["sha256"],
            **more,
        }
        with (self.root / HISTORY).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def run_id() -> str:
    """Return a name for this run of ansible-playbook: workers are its children, whatever host they serve."""
    parent = os.getppid()
    try:
        # Numbers of processes come again; with the time it began they do not.
        began = Path(f"/proc/{parent}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        began = "0"
    return f"{parent}-{began}"
