"""How far a download is, in one small file that others may read at any time."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEFAULT = Path("/run/mi50-aipc/models.json")
_EVERY = 0.5  # seconds between two writes


class Progress:
    """Counts the bytes of all files of a run; `total` of them are to come, as far as is known."""

    def __init__(self, path: Path | None, total: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is written yet; without a path nothing ever is."""
        self._path, self._clock = path, clock
        self._begin = self._last = clock()
        self._done, self._first = 0, -1
        self.total = total
        self._state: dict[str, Any] = {}

    def file(self, model: str, name: str, size: int | None) -> None:
        """A file begins."""
        self._state = {"model": model, "file": name, "of": size}
        self._write(0, force=True)

    def bytes(self, there: int) -> None:
        """So many bytes of the present file are there."""
        if self._first < 0:
            self._first = there  # what an earlier run left does not count for the speed
        self._write(there, force=False)

    def finished(self, size: int) -> None:
        """The present file is whole."""
        self._done += size
        self._write(0, force=True)

    def phase(self, what: str, text: str) -> None:
        """Something else is being done, that has no bytes to count."""
        self._state = {"model": what, "phase": text}
        self._write(0, force=True)

    def close(self) -> None:
        """Nothing is on its way any more."""
        if self._path:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _write(self, there: int, *, force: bool) -> None:
        now = self._clock()
        if not self._path or (not force and now - self._last < _EVERY):
            return
        self._last = now
        come = self._done + there - max(self._first, 0)
        rate = come / (now - self._begin) if now > self._begin else 0.0
        state = {**self._state, "bytes": there, "all": self._done + there, "total": self.total, "rate": round(rate)}
        # Progress is a service: a full or read-only /run must not end a download.
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            scratch = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            scratch.write_text(json.dumps(state) + "\n", encoding="utf-8")
            scratch.chmod(0o644)
            scratch.replace(self._path)


def line(state: dict[str, Any]) -> str:
    """Return a state as people read it; empty when it says nothing."""
    if not state.get("model"):
        return ""
    if state.get("phase"):
        return f"{state['model']}: {state['phase']}"
    total, come, rate = int(state.get("total") or 0), int(state.get("all") or 0), float(state.get("rate") or 0)
    words = [f"{state['model']} {state['file']} {come / 1e6:.0f}{f'/{total / 1e6:.0f}' if total else ''} MB"]
    if total:
        words.append(f"{100 * come // total} %")
    if rate > 0 and not total:
        words.append(f"{rate / 1e6:.1f} MB/s")
    elif rate > 0:
        left = max(0, total - come) / rate
        words.append(f"{rate / 1e6:.1f} MB/s, {int(left) // 60}:{int(left) % 60:02d} left")
    return ", ".join(words)
