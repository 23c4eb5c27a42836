"""One row for each measured cell, its figures computed again from the requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mi50.bench.formulas import FORMULAS, HEADLINE
from mi50.bench.record import OK
from mi50.bench.stats import summary

from .recompute import derived
from .records import Record, Records, Run

# Stored and recomputed figures may differ by rounding alone.
_TOLERANCE = 1e-6


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
        said = [str(model[key]) for key in ("format", "bytes", "served") if model[key]]
        return "/".join(said) or "unknown weights"

    def headline(self, which: str) -> Stat | None:
        """The headline figure, prefill or decode: the first of formulas.HEADLINE that has a value."""
        return next((s for name in HEADLINE[which] if (s := self.stats.get(name)) and s.median is not None), None)


def rows(records: Records) -> list[Row]:
    """Return all cells by node, run and engine, in the order in which they were measured."""
    found = [_row(run, cell, records.problems) for run in records.runs for cell in run.cells.values()]
    for row in found:
        records.problems += [
            f"{row.run.path}: {row.cell['cell_id']}: {text}; the recomputed figure is shown"
            for text in row.disagreements
        ]
    return found


def _row(run: Run, cell: Record, problems: list[str]) -> Row:
    requests = run.requests_of(cell)
    measured = [request for request in requests if request["rep"]["role"] == "measured"]
    counted = [request for request in measured if request["status"] == OK]
    row = Row(run, cell, requests, {})
    again = [derived(request, run, problems) for request in counted]
    names = {name for one in again for name in one} | set(cell["metrics"])
    for name in FORMULAS:
        if name in names:
            row.stats[name] = _stat(name, again, cell["metrics"].get(name), row)
    if measured and len(measured) != cell["measured"]:
        row.disagreements.append(f"{len(measured)} measured requests are recorded, the cell says {cell['measured']}")
    if measured and len(counted) != cell["ok"]:
        row.disagreements.append(f"{len(counted)} requests have status OK, the cell says {cell['ok']}")
    return row


def _stat(name: str, again: Sequence[Record], stored: dict[str, Any] | None, row: Row) -> Stat:
    values = [float(one[name]["value"]) for one in again if name in one and one[name]["value"] is not None]
    first = next((one[name] for one in again if name in one), None)
    if not values or first is None:
        return _stored(name, stored, first)
    figures = summary(values)
    if stored is not None and stored["formula"] == first["formula"]:
        for key in ("median", "low", "high"):
            if _differ(figures[key], stored[key]):
                row.disagreements.append(f"{name}: stored {key} {stored[key]}, from the requests {figures[key]:g}")
                break
    return Stat(
        name,
        first["formula"],
        first["unit"],
        figures["median"],
        figures["low"],
        figures["high"],
        figures["cv"],
        tuple(values),
        str(first["source"]),
    )


def _stored(name: str, stored: dict[str, Any] | None, first: Record | None) -> Stat:
    """The cell's own figure, for those that no single request has (slopes), or the reason why there is none."""
    if stored is None:
        formula = FORMULAS[name]
        return Stat(name, formula.id, formula.unit, None, reason=str(first["reason"]) if first else "not recorded")
    values = tuple(float(value) for value in stored["values"] if value is not None)
    keys = ("formula", "unit", "median", "low", "high", "cv")
    formula, unit, median, low, high, cv = (stored[key] for key in keys)
    return Stat(name, formula, unit, median, low, high, cv, values, stored["source"], stored["reason"])


def _differ(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        # The cell may leave out an interval that it could not give; a figure against none is a difference.
        return (one is None) != (other is None)
    return abs(one - other) > _TOLERANCE * max(abs(one), abs(other))
