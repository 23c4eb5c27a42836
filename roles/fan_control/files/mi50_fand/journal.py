"""What is wrong now, told once when it begins, once when it ends, and again every ten minutes."""

from __future__ import annotations

import os
from collections.abc import Callable

REPEAT_SECONDS = 600.0
# A fault that comes and goes each second is one event.
CLEAR_SECONDS = 10.0
ERR, WARNING, NOTICE, INFO = 3, 4, 5, 6
_ALERT = (
    "LADDER_",
    "FAN_STALLED",
    "WRITE_",
    "SENSOR_HUNG",
    "GPU_MISSING",
    "CHIP_MISSING",
    "THERMAL",
)


def to_stderr(line: str) -> None:
    """One line for journald; when it does not take it, the line is lost and the loop goes on."""
    try:
        os.write(2, line.encode("utf-8", "replace"))
    except OSError:
        return


class Fault:
    """One fault of one subject; times in seconds."""

    __slots__ = ("last", "said", "since", "text")

    def __init__(self, now: float, text: str) -> None:
        """It begins."""
        self.since = self.last = self.said = now
        self.text = text


class Journal:
    """Faults by subject and code."""

    def __init__(self, emit: Callable[[str], None] = to_stderr) -> None:
        """Nothing is wrong."""
        self.emit = emit
        self.active: dict[tuple[str, str], Fault] = {}
        self.totals: dict[tuple[str, str], int] = {}

    def say(self, level: int, code: str, subject: str, text: str) -> None:
        """An event: one line."""
        # One line it stays, whatever a driver or a file put into it.
        clean = "".join(sign if sign.isprintable() else "?" for sign in f"{code} {subject}: {text}")
        self.emit(f"<{level}>{clean}\n")

    def event(self, now: float, code: str, subject: str, text: str, level: int = WARNING) -> None:
        """An event that counts, and that nothing ends."""
        self.totals[subject, code] = self.totals.get((subject, code), 0) + 1
        self.say(level, code, subject, text)

    def faults(self, now: float, subject: str, found: dict[str, str]) -> None:
        """The faults of a subject in this cycle, code to text."""
        for code, text in found.items():
            fault = self.active.get((subject, code))
            if fault is None:
                self.active[subject, code] = Fault(now, text)
                self.event(now, code, subject, text, ERR if code.startswith(_ALERT) else WARNING)
                continue
            fault.last, fault.text = now, text
            if now - fault.said >= REPEAT_SECONDS:
                fault.said = now
                self.say(WARNING, code, subject, f"{text} (for {now - fault.since:.0f} s)")

    def sweep(self, now: float) -> None:
        """End what has not been seen for a while."""
        for key, fault in list(self.active.items()):
            if now - fault.last >= CLEAR_SECONDS:
                del self.active[key]
                self.say(NOTICE, key[1], key[0], f"over after {fault.last - fault.since:.0f} s")
