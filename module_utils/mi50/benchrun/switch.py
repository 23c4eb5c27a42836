"""One engine at a time: stop the others, start one, and later start again what ran before.

What ran before the first change stands in a marker file until it runs again, so that a run that was killed does not
forget it: the next run reads the marker instead of looking.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..process import Finished

_STOP_SECONDS = 300.0
_POLL = 0.5
_RESTARTS = 3  # a unit that systemd has started anew this often will not come up
_JOURNAL_LINES = 15
_UP = ("active", "activating", "reloading", "deactivating")

Run = Callable[..., Finished]


class SwitchError(Exception):
    """A unit that is missing, or does not start or stop; the text is meant for the user."""


class Unit(NamedTuple):
    """What systemd says of a unit."""

    name: str
    load: str
    active: str
    sub: str
    restarts: int

    @property
    def up(self) -> bool:
        """Whether it runs, or is about to."""
        return self.active in _UP


class Switch:
    """The engines' units of one node. `run` starts programs, `marker` is the file that remembers."""

    def __init__(
        self,
        marker: Path,
        run: Run,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is looked at yet."""
        self._marker = marker
        self._run = run
        self._sleep = sleep
        self._clock = clock

    def look(self, names: list[str]) -> list[Unit]:
        """Return the state of units. Raises SwitchError without systemd, and for units that do not exist."""
        found = []
        for name in names:
            values = self._show(name)
            if values.get("LoadState", "not-found") == "not-found":
                raise SwitchError(
                    f"there is no unit {name} on this node: install the engine, or correct unit in benchmark_engines"
                )
            restarts = values.get("NRestarts", "0")
            found.append(
                Unit(
                    name,
                    values["LoadState"],
                    values.get("ActiveState", ""),
                    values.get("SubState", ""),
                    int(restarts) if restarts.isdigit() else 0,
                )
            )
        return found

    def stop_all(self, names: list[str], run_id: str) -> list[str]:
        """Stop every unit that is up, after remembering those that ran before the run. Return what was stopped."""
        if not names:
            return []
        up = [unit.name for unit in self.look(names) if unit.up]
        self._remember(names, up, run_id)
        for name in up:
            done = self._systemctl("stop", name, timeout=_STOP_SECONDS)
            if done.code != 0:
                raise SwitchError(f"systemctl stop {name} failed: {_said(done)}")
        still = [unit.name for unit in self.look(up) if unit.up] if up else []
        if still:
            raise SwitchError(f"{', '.join(still)} runs again right after it was stopped: something restarts it")
        return up

    def start(self, name: str) -> None:
        """Ask systemd to start a unit, without waiting for it. Raises SwitchError."""
        self._systemctl("reset-failed", name)
        done = self._systemctl("start", "--no-block", name)
        if done.code != 0:
            raise SwitchError(f"systemctl start {name} failed: {_said(done)}")

    def wait(self, name: str, ready: Callable[[], str | None], seconds: float) -> float:
        """Wait until `ready` returns None (else what is missing). Return the seconds it took. Raises SwitchError."""
        begin = self._clock()
        missing: str | None = "not asked yet"
        while missing is not None:
            if name:
                unit = self.look([name])[0]
                if unit.active in ("failed", "inactive") or unit.restarts >= _RESTARTS:
                    raise SwitchError(f"{name} did not start ({unit.active}): {self.journal(name)}")
            missing = ready()
            if missing is not None:
                if self._clock() - begin > seconds:
                    log = f"; its log ends: {self.journal(name)}" if name else ""
                    raise SwitchError(f"the server was not ready within {seconds:.0f} s: {missing}{log}")
                self._sleep(_POLL)
        return self._clock() - begin

    def restore(self, seconds: float = 60.0) -> dict[str, list[str]]:
        """Start what ran before and stop the rest; then forget. Return `{"started", "stopped"}`. Raises SwitchError."""
        known = self.remembered()
        if known is None:
            return {"started": [], "stopped": []}
        before = known["was_active"]
        state = {unit.name: unit.up for unit in self.look(known["units"])}
        stop = [name for name, up in state.items() if up and name not in before]
        start = [name for name, up in state.items() if not up and name in before]
        for name in stop:
            self._systemctl("stop", name, timeout=_STOP_SECONDS)
        for name in start:
            self.start(name)
        self._await_up(start, seconds)
        self._marker.unlink()
        return {"started": start, "stopped": stop}

    def remembered(self) -> dict[str, Any] | None:
        """Return the marker's content: `{"run_id", "units", "was_active", "since"}`, or None. Raises SwitchError."""
        try:
            value = json.loads(self._marker.read_text(encoding="utf-8"))
            return {
                "run_id": str(value["run_id"]),
                "units": list(value["units"]),
                "was_active": list(value["was_active"]),
            }
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise SwitchError(
                f"{self._marker} cannot be read ({exc}): start the engines you want by hand and remove the file"
            ) from exc

    def journal(self, name: str) -> str:
        """Return the last lines of a unit's log, on one line."""
        done = self._run(["journalctl", "-u", name, "-n", str(_JOURNAL_LINES), "--no-pager", "-o", "cat"], timeout=30.0)
        return " | ".join(done.output.decode(errors="replace").split("\n")).strip(" |") or "(its journal is empty)"

    def _remember(self, names: list[str], up: list[str], run_id: str) -> None:
        known = self.remembered()
        if known is None:
            known = {"run_id": run_id, "units": [], "was_active": []}
        # What the run itself started must not look as if it had run before.
        new = [name for name in names if name not in known["units"]]
        known["units"] += new
        known["was_active"] += [name for name in up if name in new]
        scratch = self._marker.with_suffix(".new")
        with scratch.open("w", encoding="utf-8") as stream:
            json.dump(known, stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(self._marker)

    def _await_up(self, names: list[str], seconds: float) -> None:
        deadline = self._clock() + seconds
        while True:
            down = [unit for unit in self.look(names) if unit.active != "active"]
            broken = [unit.name for unit in down if unit.active == "failed" or unit.restarts >= _RESTARTS]
            if broken:
                raise SwitchError(f"{broken[0]} ran before the benchmark and does not start: {self.journal(broken[0])}")
            if not down or self._clock() > deadline:
                # A model may load for minutes; systemd has taken the order.
                return
            self._sleep(_POLL)

    def _show(self, name: str) -> dict[str, str]:
        done = self._systemctl("show", "-p", "LoadState,ActiveState,SubState,NRestarts", name)
        pairs = (line.partition("=") for line in done.output.decode(errors="replace").splitlines())
        return {key: value for key, dummy, value in pairs}

    def _systemctl(self, *arguments: str, timeout: float = 60.0) -> Finished:
        try:
            return self._run(["systemctl", *arguments], timeout=timeout)
        except FileNotFoundError as exc:
            raise SwitchError("this node has no systemd: leave unit out and start the servers yourself") from exc
        except subprocess.TimeoutExpired as exc:
            raise SwitchError(f"systemctl {' '.join(arguments)} did not return within {timeout:.0f} s") from exc


def _said(done: Finished) -> str:
    return " ".join((done.errors or done.output).decode(errors="replace").split()) or f"exit code {done.code}"
