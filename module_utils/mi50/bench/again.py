"""Computes recorded metrics again from the raw streams: to prove a record, or after a definition has changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import derive, figures, reading
from .adapters import adapter
from .record import Metric
from .store import read_events


def derived(base: Path, row: Mapping[str, Any]) -> dict[str, Metric]:
    """Return the metrics of a request line out of its raw file (those of sensors and the roofline are not in it).

    Raises OSError when the raw file is gone.
    """
    head, events = read_events(base / row["events_file"])
    kind = adapter(head["adapter"])
    heard = reading.read(kind, events)
    timing = derive.Timing(head["t0_ns"] or 0, head["body_sent_ns"], head["headers_ns"])
    return derive.derive(heard, timing, figures.figures(kind.kind, head["server"]), kind.headers_mark_prefill)


def differences(path: Path) -> tuple[int, list[str]]:
    """Return how many values of a run's file were computed again, and a sentence for each that is another one now."""
    count, found = 0, []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["type"] != "request" or row["t0_ns"] is None:
            continue
        for name, item in derived(path.parent, row).items():
            count += 1
            if item != row["derived"][name]:
                old = row["derived"][name]
                where = f"{row['cell_id']}, request {row['seq']}, {item['formula']}"
                found.append(f"{where}: recorded {old['value']} ({old['formula']}), now {item['value']}")
    return count, found
