"""A build as two transient units of systemd: `…-fetch` has the network, the one after it compiles and has none.

They outlive whoever started them: the SSH connection, ansible-playbook, the controller.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..process import Finished
from ..process import run as run_program

USER = "mi50-build"
_PROPERTIES = "Id,LoadState,ActiveState,SubState,Result,ExecMainStatus,InvocationID"
_ALIVE = ("active", "activating", "deactivating", "reloading")
_TIMEOUT = 60.0
_SANDBOX = (
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
)

Run = Callable[..., Finished]


class UnitError(Exception):
    """systemd refused; the text is meant for the user."""


class Limits(NamedTuple):
    """What a build may use. `memory_mib` 0: no limit of its own."""

    memory_mib: int
    minutes: int
    sandbox: bool
    environment: dict[str, str]


class Units:
    """The two units of one build."""

    def __init__(self, name: str, key: str, work: Path, run: Run = run_program) -> None:
        """Nothing is asked yet. `run` starts programs."""
        self.build = f"mi50-build-{name}-{key[:12]}.service"
        self.fetch = f"mi50-build-{name}-{key[:12]}-fetch.service"
        self._work = work
        self._run = run

    def start(self, python: str, limits: Limits, writable: Sequence[str]) -> None:
        """Start both; the second begins when the first has succeeded. Raises UnitError."""
        self._systemctl("reset-failed", self.fetch, self.build)
        self._start(self.fetch, ["Type=oneshot"], [python, "-B", "-m", "inside.phase", "fetch"], limits, writable)
        after = ["Type=exec", f"Requires={self.fetch}", f"After={self.fetch}"]
        if limits.sandbox:
            after.append("PrivateNetwork=yes")
        self._start(self.build, after, [python, "-B", "-m", "inside.phase", "build"], limits, writable)

    def stop(self) -> None:
        """Stop both, if they run, and forget how they ended."""
        self._systemctl("stop", self.build, self.fetch)
        self._systemctl("reset-failed", self.fetch, self.build)

    def show(self) -> dict[str, dict[str, str]]:
        """Return systemctl's properties as `{"fetch": …, "build": …}`. Raises UnitError without systemd."""
        done = self._systemctl("show", "-p", _PROPERTIES, self.fetch, self.build)
        if done.code != 0:
            raise UnitError(
                f"systemd does not answer: {_said(done)}. Builds run as its units; a host without it cannot"
            )
        blocks = done.output.decode(errors="replace").strip().split("\n\n")
        found = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
        by_name = {one.get("Id", ""): one for one in found}
        return {"fetch": by_name.get(self.fetch, {}), "build": by_name.get(self.build, {})}

    def journal(self, lines: int) -> list[str]:
        """Return the end of what both have said."""
        units = [word for unit in (self.fetch, self.build) for word in ("-u", unit)]
        try:
            done = self._run(
                ["journalctl", "-q", "--no-pager", "-o", "cat", "-n", str(lines), *units], timeout=_TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        return done.output.decode(errors="replace").splitlines() if done.code == 0 else []

    def _start(
        self, unit: str, properties: Sequence[str], argv: Sequence[str], limits: Limits, writable: Sequence[str]
    ) -> None:
        own = [
            f"User={USER}",
            f"Group={USER}",
            f"WorkingDirectory={self._work}",
            f"ReadWritePaths={' '.join(writable)}",
            "NoNewPrivileges=yes",
            "UMask=0022",
            "Nice=10",
            "IOSchedulingClass=best-effort",
            "IOSchedulingPriority=7",
            # A killed compiler is for the runner to judge: it goes on with fewer at once.
            "OOMPolicy=continue",
            "OOMScoreAdjust=500",
            "TimeoutStopSec=30",
            *properties,
            *(_SANDBOX if limits.sandbox else ()),
        ]
        # A oneshot unit counts as starting all the time; the limit of others counts from when they have started.
        name = "TimeoutStartSec" if "Type=oneshot" in properties else "RuntimeMaxSec"
        own.append(f"{name}={limits.minutes}min")
        if limits.memory_mib:
            own.append(f"MemoryMax={limits.memory_mib}M")
        command = ["systemd-run", "--quiet", "--no-block", f"--unit={unit}", f"--description=mi50-aipc: {unit}"]
        command += [f"--property={one}" for one in own]
        command += [f"--setenv={name}={value}" for name, value in limits.environment.items() if value]
        try:
            done = self._run([*command, *argv, str(self._work)], timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise UnitError(f"systemd-run cannot be used: {exc}") from exc
        if done.code != 0:
            raise UnitError(f"systemd-run refused {unit}: {_said(done)}")

    def _systemctl(self, *words: str) -> Finished:
        try:
            return self._run(["systemctl", *words], timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise UnitError(f"systemctl cannot be used: {exc}. Builds run as units of systemd") from exc


def alive(units: dict[str, dict[str, str]]) -> bool:
    """Whether one of the two works, or is about to."""
    return any(one.get("ActiveState") in _ALIVE for one in units.values())


def ended(units: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the unit that failed, the first of the two; the second when none did."""
    fetch = units["fetch"]
    return fetch if fetch.get("ActiveState") == "failed" else units["build"]


def _said(done: Finished) -> str:
    return " ".join((done.errors or done.output).decode(errors="replace").split())[-400:] or f"exit code {done.code}"


def environment(given: dict[str, Any]) -> dict[str, str]:
    """Return the variables of the unit: proxies alone."""
    return {
        name: str(value) for name, value in given.items() if name in ("http_proxy", "https_proxy", "no_proxy") and value
    }
