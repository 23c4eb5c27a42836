"""The few things asked of systemd, through one runner."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from ..process import Finished
from .model import Node, ServeError

_PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,NRestarts,InvocationID,MainPID,Result"
_SECONDS = 300.0


class Unit(NamedTuple):
    """What systemd says of a unit; empty where it does not know it."""

    load: str = ""
    active: str = ""
    sub: str = ""
    enabled: str = ""
    stale: bool = False  # its file changed since systemd read it
    restarts: int = 0
    invocation: str = ""
    pid: int = 0
    result: str = ""


def state(name: str, node: Node) -> Unit:
    """Return the state of a unit. Raises ServeError without systemd."""
    done = _systemctl(node, "show", f"--property={_PROPERTIES}", "--", name)
    pairs = dict(line.split("=", 1) for line in done.output.decode(errors="replace").splitlines() if "=" in line)
    return Unit(
        load=pairs.get("LoadState", ""),
        active=pairs.get("ActiveState", ""),
        sub=pairs.get("SubState", ""),
        enabled=pairs.get("UnitFileState", ""),
        stale=pairs.get("NeedDaemonReload") == "yes",
        restarts=_number(pairs.get("NRestarts", "")),
        invocation=pairs.get("InvocationID", ""),
        pid=_number(pairs.get("MainPID", "")),
        result=pairs.get("Result", ""),
    )


def command(node: Node, *arguments: str) -> None:
    """Run systemctl. Raises ServeError with what it said."""
    done = _systemctl(node, *arguments)
    if done.code != 0:
        raise ServeError(f"systemctl {' '.join(arguments)} failed: {said(done)}")


def attempt(node: Node, *arguments: str) -> bool:
    """Run systemctl where a failure is an answer. Raises ServeError without systemd."""
    return _systemctl(node, *arguments).code == 0


def log(unit: Unit, name: str, node: Node, lines: int = 2000) -> str:
    """What the unit's current run has logged; its last words when there is no current run."""
    which = [f"_SYSTEMD_INVOCATION_ID={unit.invocation}"] if unit.invocation else ["-u", name]
    return run(node, ["journalctl", "--no-pager", "-o", "cat", "-n", str(lines), *which]).output.decode(
        errors="replace"
    )


def last_words(name: str, node: Node, lines: int = 12) -> str:
    """The end of a unit's log on one line."""
    done = run(node, ["journalctl", "--no-pager", "-o", "cat", "-n", str(lines), "-u", name])
    text = " | ".join(line.strip() for line in done.output.decode(errors="replace").splitlines() if line.strip())
    return text[-6000:] or "(its journal is empty)"


def said(done: Finished) -> str:
    """A program's complaint on one line."""
    return " ".join((done.errors or done.output).decode(errors="replace").split())[:800] or f"exit code {done.code}"


def _systemctl(node: Node, *arguments: str) -> Finished:
    return run(node, ["systemctl", "--no-ask-password", *arguments])


def run(node: Node, argv: Sequence[str], seconds: float = _SECONDS) -> Finished:
    """Start a program. Raises ServeError when it cannot be started or does not end."""
    try:
        return node.run(argv, timeout=seconds)
    except OSError as error:
        raise ServeError(f"{argv[0]} cannot be started ({error.strerror}): this node needs systemd") from error
    except subprocess.TimeoutExpired as error:
        raise ServeError(f"{' '.join(argv)} did not return within {seconds:.0f} s") from error


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
