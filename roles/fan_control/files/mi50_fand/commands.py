"""Starts the two commands of the ladder and never waits for them."""

from __future__ import annotations

import os
import signal

# A unit that came back, or a poweroff that was refused, is asked again.
AGAIN_SECONDS = 30.0


class Commands:
    """Runs a command at most every 30 s for as long as it is asked for."""

    def __init__(self) -> None:
        """Nothing runs."""
        self._asked: dict[tuple[str, ...], float] = {}
        self._running: dict[int, tuple[str, ...]] = {}

    def start(self, words: list[str], now: float) -> str:
        """Start it unless it was started lately. Returns what went wrong, or an empty text."""
        key = tuple(words)
        if now - self._asked.get(key, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return ""
        self._asked[key] = now
        try:
            # The daemon's own signals are blocked; a child that inherited that could not be stopped.
            pid = os.posix_spawnp(words[0], words, os.environ, setsigmask=(), setsigdef=(signal.SIGPIPE,))
        except OSError as error:
            return f"{words[0]}: {error.strerror}"
        self._running[pid] = key
        return ""

    def reap(self) -> list[str]:
        """Collect what has ended; the failures, in words."""
        failed = []
        for pid, words in list(self._running.items()):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = pid, 0
            if ended:
                del self._running[pid]
                code = os.waitstatus_to_exitcode(status)
                if code:
                    failed.append(f"{' '.join(words)} ended with {code}")
        return failed
