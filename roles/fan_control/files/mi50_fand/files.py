"""The files in /run: heartbeat, state, lock, caps."""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def replace(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file as a whole or not at all. Raises OSError."""
    temporary = f"{path}.new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        data = text.encode()
        if os.write(handle, data) != len(data):
            raise OSError(f"short write to {temporary}")
    finally:
        os.close(handle)
    os.replace(temporary, path)


def read_json(path: str) -> dict[str, Any]:
    """A JSON object from a file; an empty one when there is none or it is broken."""
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


class Heartbeat:
    """One line, `SECONDS STATE`, written in place by one pwrite so that a reader never sees half of it."""

    def __init__(self, path: str) -> None:
        """Raises OSError when the directory is missing."""
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def beat(self, boottime: float, state: str) -> None:
        """Seconds of CLOCK_BOOTTIME, and ok, degraded or emergency. A full disk costs the beat, not the loop."""
        try:
            os.pwrite(self._handle, f"{boottime:.1f} {state:<9}\n".encode(), 0)
        except OSError:
            return


def read_heartbeat(path: str) -> tuple[float, str] | None:
    """Boot time in seconds and state of the last beat, or None."""
    try:
        with open(path, encoding="ascii") as stream:
            seconds, state = stream.read().split()
        return float(seconds), state
    except (OSError, ValueError):
        return None


class LockHeld(Exception):
    """Another process is the writer; the text names it."""


def take_lock(path: str, proc_root: str = "/proc") -> int:
    """Become the one writer; returns the handle that holds the lock until it is closed. Raises LockHeld, OSError.

    A process that was killed while one of its threads hung in the kernel stays as a zombie that still holds its files;
    its lock is worth nothing, and waiting for it would leave the blowers without a daemon.
    """
    for _attempt in range(2):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            os.close(handle)
            if not _dead(holder, proc_root):
                raise LockHeld(f"{path} is held by process {holder or 'unknown'}") from None
            os.unlink(path)
            continue
        os.ftruncate(handle, 0)
        _sign(handle)
        return handle
    raise LockHeld(f"{path} is held")


def _sign(handle: int) -> None:
    """Tell others who holds the lock. A full /run costs them the number, and the blowers not their daemon."""
    try:
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        return


def _dead(pid: str, proc_root: str) -> bool:
    try:
        with open(f"{proc_root}/{int(pid)}/stat", encoding="utf-8", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (OSError, ValueError, IndexError):
        return False
