"""The parent's side: starts a worker, gives each operation its time, and says which operation a death belongs to."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mi50_compute import explain

PACKAGE_PARENT = Path(__file__).resolve().parents[1]


@dataclass
class Result:
    """One operation on one device. status: ok, wrong, error, hang or abort."""

    id: str
    status: str
    detail: str
    seconds: float
    ratio: float | None = None
    remedy: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the device computed what the CPU did."""
        return self.status == "ok"


@dataclass
class DeviceReport:
    """All operations of one device."""

    device: str
    name: str | None = None
    gfx_target: str | None = None
    memory: int | None = None
    results: list[Result] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every operation was right and there was at least one."""
        return bool(self.results) and all(result.ok for result in self.results)


def child_environment() -> dict[str, str]:
    """The caller's environment, with this package importable and without waiting on hipBLASLt's refusal."""
    path = os.pathsep.join(filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]))
    return {"TORCH_BLAS_PREFER_HIPBLASLT": "0", **os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


class _Child:
    """One worker process and its lines."""

    def __init__(self, device: str, ids: list[str], log: IO[bytes]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mi50_compute.worker", device, ",".join(ids)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=child_environment(),
        )
        assert self.process.stdout is not None  # noqa: S101 - PIPE was asked for
        self._pipe = self.process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._buffer = b""

    def event(self, seconds: float) -> dict[str, Any] | None:
        """The next event; None when the worker ended. Raises TimeoutError when neither came in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                raise TimeoutError
            chunk = self._pipe.read(65536)
            if not chunk:
                return None
            self._buffer += chunk
        line, dummy, self._buffer = self._buffer.partition(b"\n")
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            return {"event": "noise"}  # a library that prints to standard output
        return event

    def end(self) -> int:
        """Kill what still runs and return how it ended. A process stuck in the driver is left to the kernel."""
        self._selector.close()
        self.process.kill()
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            code = -9
        self._pipe.close()
        return code


def run_device(
    device: str, ids: list[str], seconds: float, progress: Callable[[Result], None] = lambda result: None
) -> DeviceReport:
    """Run the operations on one device, each within `seconds`; a dead worker is replaced for what is left."""
    report = DeviceReport(device)
    left = list(ids)
    while left:
        with tempfile.TemporaryFile() as log:
            ended = _run_some(report, left, seconds, log, progress)
        done = {result.id for result in report.results}
        left = [name for name in left if name not in done]
        if ended == "before":
            break
    return report


def _run_some(
    report: DeviceReport, ids: list[str], seconds: float, log: IO[bytes], progress: Callable[[Result], None]
) -> str:
    """One worker's life; `before` when it did not reach its first operation."""

    def add(result: Result) -> None:
        report.results.append(result)
        progress(result)

    child = _Child(report.device, ids, log)
    current: str | None = None
    started = time.monotonic()
    try:
        while True:
            try:
                event = child.event(seconds)
            except TimeoutError:
                child.end()
                add(
                    Result(
                        current or "start", "hang", f"no answer within {seconds:.0f} s", seconds, remedy=_said(log)[1]
                    )
                )
                return "in" if current else "before"
            if event is None:
                break
            if event["event"] == "device":
                report.name, report.gfx_target, report.memory = event["name"], event["gfx_target"], event["memory"]
            elif event["event"] == "start":
                current, started = event["id"], time.monotonic()
            elif event["event"] in {"done", "error"}:
                add(_result(event))
                current = None
        code = child.process.wait()
    finally:
        child.end()
    finished = {result.id for result in report.results}
    if code == 0 and finished.issuperset(ids):
        return "end"
    words, remedy = _said(log)
    add(
        Result(
            current or "start", "abort", f"{explain.ending(code)}: {words}", time.monotonic() - started, remedy=remedy
        )
    )
    return "in" if current else "before"


def _result(event: dict[str, Any]) -> Result:
    """A worker's event as a result."""
    if event["event"] == "error":
        return Result(event["id"], "error", event["detail"], event["seconds"], remedy=explain.remedy(event["detail"]))
    return Result(event["id"], "ok" if event["ok"] else "wrong", event["detail"], event["seconds"], event["ratio"])


def _said(log: IO[bytes]) -> tuple[str, str | None]:
    """What the worker printed last, and the way out if it is a known message."""
    log.seek(0)
    output = log.read().decode("utf-8", "replace")
    return explain.message(output), explain.remedy(output)
