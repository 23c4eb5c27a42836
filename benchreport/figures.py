"""Figures that belong to no single cell, and the definitions that only the report uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mi50.bench.formulas import Formula

from .rows import Row

FORMULAS_HERE: dict[str, Formula] = {
    "pf_total": Formula(
        "PF_total@1", "tok/s", "high", "sum of (p - c) / sum of prefill times, over cells with status OK"
    ),
    "dc_total": Formula(
        "DC_total@1", "tok/s", "high", "sum of decoded tokens / sum of decode times, over cells with status OK"
    ),
    "vram_fw": Formula(
        "VRAM_fw@1", "GiB", "low", "highest VRAM used while measuring - VRAM used before the engine started"
    ),
    "speedup": Formula("SPEEDUP@1", "", "", "median of B / median of A; its range is low_B / high_A to high_B / low_A"),
}


@dataclass(frozen=True)
class Total:
    """Ratio of totals over the tasks of one model on one node and engine."""

    node: str
    engine: str
    run_id: str
    model: str
    weights: str
    mode: str
    prefill: float | None
    decode: float | None
    counted: int
    cells: int


def totals(rows: Sequence[Row]) -> list[Total]:
    """Return one total for each run, engine, weights and mode; probes are left out."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.task["probe"] == "task":
            key = (row.node, row.engine, row.run.run_id, row.model["key"], row.weights, row.task["mode"])
            groups.setdefault(key, []).append(row)
    found = []
    for (node, engine, run_id, model, weights, mode), group in groups.items():
        counted = [row.totals for row in group if row.ok]
        prefill, decode = (
            _ratio(sum(t[f"{phase}_tokens"] for t in counted), sum(t[f"{phase}_seconds"] for t in counted))
            for phase in ("prefill", "decode")
        )
        found.append(Total(node, engine, run_id, model, weights, mode, prefill, decode, len(counted), len(group)))
    return found


def _ratio(tokens: float, seconds: float) -> float | None:
    return tokens / seconds if tokens > 0 and seconds > 0 else None
