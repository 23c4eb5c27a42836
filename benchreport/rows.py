"""One row for each measured cell, its figures computed again from the requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mi50.bench import summary as node
from mi50.bench.formulas import FORMULAS, HEADLINE
from mi50.bench.record import OK
from mi50.bench.stats import summary

from .recompute import Streams, differ, slope
from .records import Record, Records, Run


@dataclass(frozen=True)
class Stat:
    """A figure of a cell: median, interval (None with fewer than six values), values, and its definition."""

    name: str
    formula: str
    unit: str
    median: float | None
    low: float | None = None
    high: float | None = None
    cv: float | None = None
    values: tuple[float, ...] = ()
    source: str = ""
    reason: str | None = None


@dataclass
class Row:
    """One cell of one run, ready to be shown."""

    run: Run
    cell: Record
    requests: list[Record]
    stats: dict[str, Stat]
    disagreements: list[str] = field(default_factory=list)

    @property
    def node(self) -> str:
        """The node's name."""
        return self.run.node

    @property
    def engine(self) -> str:
        """The engine's name."""
        return self.run.framework

    @property
    def task(self) -> Record:
        """The task's record."""
        found: Record = self.cell["task"]
        return found

    @property
    def model(self) -> Record:
        """The model's record."""
        found: Record = self.cell["model"]
        return found

    @property
    def status(self) -> str:
        """The worst status of the measured requests."""
        return str(self.cell["status"])

    @property
    def ok(self) -> bool:
        """Whether every measured request counts."""
        return self.status == OK

    @property
    def weights(self) -> str:
        """What tells weights of one name apart: the checksum's beginning, else format and size, else what is served."""
        model = self.model
        if model["sha256"]:
            return str(model["sha256"])[:8]
        size = f"{model['bytes'] / 1e6:.0f} MB" if model["bytes"] else ""
        served = str(model["served"] or "").rpartition("/")[2]
        return " ".join(filter(None, (model["format"], served, size))) or "unknown weights"

    @property
    def totals(self) -> Record:
        """Tokens and seconds of prefill and decode over the requests that count."""
        found: Record = node.totals(self.requests) if self.requests else self.cell["totals"]
        return found

    def headline(self, which: str) -> Stat | None:
        """The headline figure, prefill or decode: the first of formulas.HEADLINE that has a value."""
        return next((s for name in HEADLINE[which] if (s := self.stats.get(name)) and s.median is not None), None)


def rows(records: Records) -> list[Row]:
    """Return all cells by node, run and engine, in the order in which they were measured."""
    found = []
    for run in records.runs:
        for cell in run.cells.values():
            row = Row(run, cell, run.requests_of(cell), {})
            streams = Streams(run, row.disagreements)
            _fill(row, streams)
            run.streams_missing += streams.missing
            run.streams_read += streams.read
            records.problems += _disagreements(row)
            found.append(row)
        records.problems += _missing(run)
    return found


def _disagreements(row: Row) -> list[str]:
    """One sentence for a cell, whatever the number of its figures that do not fit."""
    if not row.disagreements:
        return []
    more = f" (and {len(row.disagreements) - 1} more)" if len(row.disagreements) > 1 else ""
    return [f"{row.run.path}: {row.cell['cell_id']}: {row.disagreements[0]}{more}; the recomputed figures are shown"]


def _missing(run: Run) -> list[str]:
    missing = run.streams_missing
    if not missing:
        return []
    total = run.streams_read + len(missing)
    said = f"{len(missing)} of {total} raw streams are not there; their recorded figures are shown"
    return [f"{missing[0]}: no such file ({said})"]


def _fill(row: Row, streams: Streams) -> None:
    """Compute the row's figures, and compare them with those that the node stored."""
    cell, measured = row.cell, node.measured(row.requests)
    again = [streams.derived(request) for request in node.counted(row.requests)]
    once = slope(row.requests)
    names = {name for one in again for name in one} | set(cell["metrics"])
    for name in FORMULAS:
        if name in names:
            row.stats[name] = _stat(name, again, once.get(name), row)
    good = sum(1 for request in measured if request["status"] == OK)
    if measured and len(measured) != cell["measured"]:
        row.disagreements.append(f"{len(measured)} measured requests are recorded, the cell says {cell['measured']}")
    if measured and good != cell["ok"]:
        row.disagreements.append(f"{good} requests have status OK, the cell says {cell['ok']}")


def _stat(name: str, again: Sequence[Record], once: dict[str, Any] | None, row: Row) -> Stat:
    stored: dict[str, Any] | None = row.cell["metrics"].get(name)
    found = [one[name] for one in again if name in one]
    first = found[0] if found else None
    # Figures recorded by an older definition stand for themselves, not for this checkout's.
    same = [metric for metric in found if first is not None and metric["formula"] == first["formula"]]
    if len(same) < len(found):
        row.disagreements.append(f"{name}: {len(found) - len(same)} of {len(found)} requests have another formula")
    values = [float(metric["value"]) for metric in same if metric["value"] is not None]
    if once is None and (not values or first is None):
        return _stored(name, stored, first)
    figures = summary(values) if once is None else {**summary([]), **once}
    formula = str(first["formula"]) if first is not None and once is None else FORMULAS[name].id
    if stored is not None and stored["formula"] == formula:
        for key in ("median", "low", "high"):
            if differ(figures[key], stored[key]):
                row.disagreements.append(f"{name}: stored {key} is {stored[key]}, the requests give {figures[key]}")
                break
    source = str(first["source"]) if first else str(stored["source"] if stored else "")
    median, low, high, cv = (figures[key] for key in ("median", "low", "high", "cv"))
    return Stat(name, formula, FORMULAS[name].unit, median, low, high, cv, tuple(values), source)


def _stored(name: str, stored: dict[str, Any] | None, first: Record | None) -> Stat:
    """The cell's own figure, for those that belong to no single request, or the reason why there is none."""
    if stored is None:
        formula = FORMULAS[name]
        return Stat(name, formula.id, formula.unit, None, reason=str(first["reason"]) if first else "not recorded")
    values = tuple(float(value) for value in stored["values"] if value is not None)
    keys = ("formula", "unit", "median", "low", "high", "cv")
    identity, unit, median, low, high, cv = (stored[key] for key in keys)
    return Stat(name, identity, unit, median, low, high, cv, values, stored["source"], stored["reason"])
