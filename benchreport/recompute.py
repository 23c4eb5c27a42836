"""A request's metrics, computed again from its raw stream where that is there."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from mi50.bench import again, record, stats

from .records import Record, Run

# Stored and recomputed figures may differ by rounding alone.
TOLERANCE = 1e-6


def differ(one: float | None, other: float | None) -> bool:
    """Whether two figures are not the same; a figure and none are not."""
    if one is None or other is None:
        return (one is None) != (other is None)
    return abs(one - other) > TOLERANCE * max(abs(one), abs(other))


class Streams:
    """Reads the raw streams of one run; counts what is not there, so that it is said once."""

    def __init__(self, run: Run, disagreements: list[str]) -> None:
        """Prepare for a run; what does not agree is added to the list."""
        self.run = run
        self.disagreements = disagreements
        self.missing: list[str] = []
        self.read = 0

    def derived(self, request: Record) -> dict[str, Any]:
        """Return the metrics of one request by name: from its raw stream, else as recorded.

        Figures of sensors and of the roofline need more than the stream and stay as recorded.
        """
        stored: dict[str, Any] = request["derived"]
        if not request["events_file"]:
            return stored
        path = self.run.path.parent / request["events_file"]
        try:
            found = again.derived(self.run.path.parent, request)
        except FileNotFoundError:
            self.missing.append(str(path))
            return stored
        except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as exc:
            self.disagreements.append(f"request {request['seq']}: its raw stream cannot be read: {exc!r}")
            return stored
        self.read += 1
        for name, metric in found.items():
            same = name in stored and stored[name]["formula"] == metric["formula"]
            if same and differ(metric["value"], stored[name]["value"]):
                self.disagreements.append(
                    f"request {request['seq']}: {name} is recorded as {stored[name]['value']}, "
                    f"its raw stream gives {metric['value']}"
                )
        return {**stored, **found}


def slope(requests: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Return prefill by slope and its overhead from the requests at two lengths; nothing for other cells."""
    by_role = {
        role: [r for r in requests if r["rep"]["role"] == role and r["status"] == record.OK]
        for role in ("length_a", "length_b")
    }
    if not all(by_role.values()):
        return {}
    lengths, times = [], []
    for found in by_role.values():
        counts = (r["tokens"] for r in found)
        lengths.append(
            statistics.median(
                c["prompt_server"] if c["prompt_server"] is not None else c["prompt_usage"] or 0 for c in counts
            )
        )
        times.append([(r["t"]["first_token"] - r["t"]["body_sent"]) / 1e9 for r in found])
    figure = stats.slope((lengths[0], lengths[1]), times[0], times[1])
    return {
        "pf_slope": {"median": figure["rate"], "low": figure["low"], "high": figure["high"]},
        "pf_overhead": {"median": figure["overhead"], "low": None, "high": None},
    }


def _prompt(tokens: Record) -> int:
    return int(tokens["prompt_server"] if tokens["prompt_server"] is not None else tokens["prompt_usage"] or 0)
