"""Sensor samples of the cells, put on one time axis."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from .rows import Row

# More points than pixels only make the page larger.
MOST_POINTS = 900


@dataclass
class Trace:
    """The samples of one cell. Times are minutes since the run's first cell began."""

    label: str
    start_min: float
    minutes: list[float] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether a sensor gave any value."""
        return any(value is not None for value in self.values.get(name, ()))

    def points(self, name: str) -> tuple[list[float], list[float]]:
        """Return times and values of one sensor, without samples that it missed."""
        pairs = [(t, v) for t, v in zip(self.minutes, self.values.get(name, ())) if v is not None]
        return [t for t, _ in pairs], [v for _, v in pairs]


def traces(rows: Sequence[Row], problems: list[str]) -> list[Trace]:
    """Read the samples of all cells of one run in order of time; a file that cannot be read becomes a problem."""
    with_samples = sorted(
        (row for row in rows if row.cell["samples_file"]), key=lambda row: str(row.cell["started_utc"])
    )
    if not with_samples:
        return []
    zero = _seconds(with_samples[0].cell["started_utc"])
    found, missing = [], []
    for row in with_samples:
        path = row.run.path.parent / row.cell["samples_file"]
        trace = Trace(f"{row.task['id']}", (_seconds(row.cell["started_utc"]) - zero) / 60)
        try:
            _read(path, trace)
        except FileNotFoundError:
            missing.append(path)
        except (OSError, EOFError, ValueError) as exc:
            problems.append(f"{path}: sensor samples cannot be read: {exc}")
        if trace.minutes:
            found.append(_thinned(trace, len(with_samples)))
    if missing:
        problems.append(
            f"{missing[0]}: no such file ({len(missing)} of {len(with_samples)} files of sensor samples are not there)"
        )
    return found


def _seconds(utc: str) -> float:
    return datetime.fromisoformat(utc.replace("Z", "+00:00")).astimezone(timezone.utc).timestamp()


def _read(path: Path, trace: Trace) -> None:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            sample = json.loads(line)
            if not isinstance(sample, dict) or not isinstance(sample.get("t"), (int, float)):
                raise ValueError(f"no sample: {line[:80]!r}")
            trace.minutes.append(trace.start_min + sample["t"] / 60)
            for name in ("temp_junction", "temp_mem", "temp_edge", "sclk", "mclk", "power", "vram", "gtt"):
                trace.values.setdefault(name, []).append(sample.get(name))


def _thinned(trace: Trace, parts: int) -> Trace:
    """Every n-th sample, so that the whole run has about MOST_POINTS; the last one stays."""
    step = max(1, math.ceil(len(trace.minutes) * parts / MOST_POINTS))
    if step > 1:
        keep = sorted({*range(0, len(trace.minutes), step), len(trace.minutes) - 1})
        trace.minutes = [trace.minutes[index] for index in keep]
        trace.values = {name: [values[index] for index in keep] for name, values in trace.values.items()}
    return trace
