"""The run's files: one JSONL, appended and synced line by line, raw streams beside it, the progress.

A run that is killed loses at most the line that was being written: it is cut off when the file is opened again.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .sse import Event

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class StoreError(ValueError):
    """The run's files cannot be used."""


def utc() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def safe_name(text: str, what: str) -> str:
    """Return a name fit for a file. Raises StoreError for another."""
    if not _NAME.fullmatch(text):
        raise StoreError(f"{what} {text!r} must be letters, digits, dots and dashes, beginning with a letter or digit")
    return text


def part(text: str) -> str:
    """Return text as a part of a cell's id: what a file name cannot hold becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "x"


def fingerprint(*parts: object) -> str:
    """Return a short digest of what defines a cell: a cell with another one is not the same measurement."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def turn(directory: Path, patience_s: float, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold DIRECTORY/lock: two cells at once on a node would measure each other.

    Raises StoreError when another cell is still being measured after `patience_s` seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        until = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= until:
                    raise StoreError(f"another cell is being measured on this node ({path} is locked)") from error
                waiting()
                time.sleep(0.5)
        yield
    finally:
        os.close(descriptor)


class Store:
    """The files of one engine in one run on this node."""

    def __init__(self, directory: Path, run_id: str, engine: str, *, writable: bool = True) -> None:
        """Open (and repair) the file. Raises StoreError when another process writes it, OSError without rights."""
        self.run_id = safe_name(run_id, "run.id")
        self.engine = safe_name(engine, "engine.name")
        self.base = directory / run_id
        self.path = self.base / f"{engine}.jsonl"
        self.raw = self.base / "raw" / engine
        self.warnings: list[str] = []
        self._descriptor: int | None = None
        if writable:
            self.raw.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._lock()
        self.records = self._read()

    def __enter__(self) -> Store:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file, which gives the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            self._descriptor = None
            raise StoreError(
                f"{self.path} is being written by another process: this run is already going on"
            ) from error

    def _read(self) -> list[dict[str, Any]]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        whole, newline, rest = data.rpartition(b"\n")
        if rest and self._descriptor is not None:
            os.ftruncate(self._descriptor, len(whole) + len(newline))
            self.warnings.append(f"{self.path}: the last line was cut by a kill and was taken off ({len(rest)} bytes)")
        records = []
        for number, line in enumerate(whole.split(b"\n"), 1):
            if not line:
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise StoreError(f"{self.path}, line {number} is no JSON: move the file away and run again") from error
            records.append(record)
        return records

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line and wait until it is on the disk."""
        if self._descriptor is None:
            raise StoreError(f"{self.path} is not open for writing")
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        written = 0
        while written < len(line):
            written += os.write(self._descriptor, line[written:])
        os.fsync(self._descriptor)
        self.records.append(dict(record))

    def head(self, kind: str) -> dict[str, Any]:
        """Return the fields that each line begins with."""
        return {"type": kind, "schema_version": 1, "run_id": self.run_id}

    def finished(self, cell_id: str, mark: str) -> dict[str, Any] | None:
        """Return the last line of a finished cell, if it is the same measurement."""
        cells = [r for r in self.records if r["type"] == "cell" and r["cell_id"] == cell_id]
        return cells[-1] if cells and cells[-1]["fingerprint"] == mark else None

    def cells(self) -> list[dict[str, Any]]:
        """Return the finished cells, the last line of each."""
        return list({r["cell_id"]: r for r in self.records if r["type"] == "cell"}.values())

    def attempt(self, cell_id: str) -> int:
        """Return the number of the next attempt at a cell."""
        tried = [r["attempt"] for r in self.records if r["type"] in ("cell", "request") and r["cell_id"] == cell_id]
        return max(tried, default=0) + 1

    def last(self, kind: str) -> dict[str, Any] | None:
        """Return the last line of a type."""
        return next((r for r in reversed(self.records) if r["type"] == kind), None)

    def _put(self, name: str, data: bytes) -> str:
        path = self.raw / name
        partial = path.with_name(f".{name}.part")
        partial.write_bytes(data)
        partial.replace(path)
        return str(path.relative_to(self.base))

    def put_events(self, name: str, head: Mapping[str, Any], events: Sequence[Event]) -> str:
        """Keep a raw stream: the head, then each event as [time, name, data]. Returns the path in the run."""
        lines = [json.dumps(head, separators=(",", ":"))]
        lines += [
            json.dumps([e.t_ns, e.name, e.data.decode("utf-8", "replace")], separators=(",", ":")) for e in events
        ]
        return self._put(f"{name}.events.jsonl.gz", gzip.compress("\n".join(lines).encode(), 1, mtime=0))

    def put_samples(self, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Keep sensor samples."""
        text = "\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        return self._put(f"{name}.samples.jsonl.gz", gzip.compress(text.encode(), 1, mtime=0))

    def put_text(self, name: str, text: str) -> str:
        """Keep an answer."""
        return self._put(f"{name}.txt", text.encode())

    def progress(self, state: Mapping[str, Any]) -> None:
        """Replace progress.json, which anybody may read while the run goes on."""
        path = self.base / "progress.json"
        partial = path.with_name(".progress.json.part")
        partial.write_text(json.dumps({**state, "run_id": self.run_id, "framework": self.engine, "updated_utc": utc()}))
        partial.chmod(0o644)
        partial.replace(path)

    def files(self) -> list[str]:
        """Return every file of this engine, relative to the run's directory."""
        found = [self.path] if self.path.exists() else []
        found += (
            sorted(path for path in self.raw.glob("*") if not path.name.startswith(".")) if self.raw.exists() else []
        )
        return [str(path.relative_to(self.base)) for path in found]


def read_events(path: Path) -> tuple[dict[str, Any], list[Event]]:
    """Read a raw stream back."""
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    rows = (json.loads(line) for line in lines[1:] if line)
    return json.loads(lines[0]), [Event(row[0], row[1], row[2].encode()) for row in rows]
