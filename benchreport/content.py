"""What the report shows, table by table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .figures import totals
from .records import Records
from .rows import Row
from .tables import (
    NOTHING,
    Column,
    Maker,
    Table,
    Value,
    common_formula,
    drop_empty,
    headline,
    metric_column,
    number,
    stat,
    status,
    table,
)

Makers = list[tuple[Column, Maker]]


def text(value: object) -> Value:
    """Return anything as text."""
    return NOTHING if value is None or value == "" else Value(str(value))


def task_name(row: Row) -> str:
    """Id of the task with what sets the cell apart from others of that task."""
    task = row.task
    parts = [task["id"]]
    if task["probe"] == "depth":
        parts.append(f"{task['context']:,} tokens".replace(",", "\u202f"))
    if task["concurrency"] > 1 or task["probe"] == "concurrency":
        parts.append(f"{task['concurrency']} at once")
    return " ".join(parts)


def identity(rows: Sequence[Row]) -> Makers:
    """Return the column that says which cell this is; run and language only where there is more than one."""
    runs = len({row.run.run_id for row in rows}) > 1
    languages = len({row.task["lang"] for row in rows}) > 1

    def name(row: Row) -> Value:
        task = f"{task_name(row)} · {row.task['mode']}" + (f" · {row.task['lang']}" if languages else "")
        place = f"{row.node} · {row.engine}" + (f" · {row.run.run_id}" if runs else "")
        return Value(task, detail=f"{place} · {row.model['key']} {row.weights}")

    return [(Column("cell"), name)]


def metric(name: str, title: str, interval: bool = True) -> tuple[Column, Maker]:
    """Return a column of one metric."""
    return metric_column(name, title), lambda row: stat(row.stats.get(name), interval)


def telemetry(key: str, title: str, unit: str) -> tuple[Column, Maker]:
    """Return a column of one sensor figure."""
    return Column(title, unit), lambda row: number((row.cell["telemetry"] or {}).get(key))


def cells(rows: Sequence[Row]) -> Table:
    """Every cell with its headline figures, times, counts, room left, heat."""
    return drop_empty(
        table(
            rows,
            "cells",
            "All cells",
            [
                *identity(rows),
                (Column("status"), status),
                *[_headline(rows, which) for which in ("prefill", "decode")],
                metric("dc_w", "decode, tokens 33 to 288"),
                metric("ttft", "first token"),
                metric("ttfo", "first word of the answer"),
                metric("thinking", "thinking"),
                metric("e2e", "whole answer"),
                metric("pf_slope", "prefill by slope"),
                metric("pf_overhead", "overhead by slope"),
                metric("t_img", "picture"),
                metric("rate_total", "all streams together"),
                (Column("prompt", "tokens"), lambda row: number(row.cell["tokens"]["prompt"])),
                (Column("answer", "tokens"), lambda row: number(row.cell["tokens"]["completion"])),
                (metric_column("eta_dec", "of the roofline, decode"), lambda row: _share(row, "eta_dec")),
                (metric_column("eta_pf", "of the roofline, prefill"), lambda row: _share(row, "eta_pf")),
                telemetry("temp_start_c", "junction at start", "°C"),
                telemetry("temp_max_c", "junction at most", "°C"),
                telemetry("power_mean_w", "power, mean", "W"),
                (Column("answers right"), answers),
            ],
            "Median of the repetitions that count, and the order-statistic interval of the median (96.9 % at six).",
        ),
        reasons=False,
    )


def _headline(rows: Sequence[Row], which: str) -> tuple[Column, Maker]:
    """A headline's column; the reason of a failure stands beside the status already."""
    formula = common_formula(rows, which)
    return Column(which, "tok/s", formula), lambda row: with_formula(row, which, formula, reason=False)


def with_formula(row: Row, which: str, column: str, reason: bool = True) -> Value:
    """A headline that says by which formula, unless its column does."""
    value, figure = headline(row, which), row.headline(which)
    detail = value.detail
    if figure is not None and figure.formula != column and value.kind == "number":
        detail = f"{detail} · {figure.formula}".strip(" ·")
    return Value(value.text, value.kind, detail, value.note if reason or row.ok else "", value.value)


def _share(row: Row, name: str) -> Value:
    figure = row.stats.get(name)
    value = figure.median if figure else None
    if value is None:
        value = (row.cell["roofline"] or {}).get(name)
    return NOTHING if value is None else Value(f"{value:.0%}", "number", value=value)


def answers(row: Row) -> Value:
    """Return how many of the checks of the answers passed."""
    checks = row.cell["checks"]
    if not checks["total"]:
        return NOTHING
    wrong = [f"{name} {c['passed']}/{c['total']}" for name, c in checks["by_id"].items() if c["passed"] < c["total"]]
    passed = f"{checks['passed']}/{checks['total']}"
    return Value(passed, "status" if wrong else "text", note=f"wrong: {', '.join(wrong)}" if wrong else "")


def agreement(rows: Sequence[Row]) -> Table:
    """The clocks side by side."""
    return drop_empty(
        table(
            rows,
            "agreement",
            "Clocks and counts beside each other",
            [
                *identity(rows),
                (Column("status"), lambda row: Value(row.status, "text" if row.ok else "status")),
                metric("pf_srv", "prefill, server"),
                metric("pf_hdr", "prefill, headers"),
                metric("pf_cli", "prefill, client"),
                metric("a_hdr", "headers / server", interval=False),
                metric("a_pf", "client / server", interval=False),
                metric("dc_srv", "decode, server"),
                metric("dc_cli", "decode, client"),
                metric("a_dec", "client / server", interval=False),
                metric("dc_vendor", "decode, engine's own word"),
                metric("a_tok", "tokens, usage / counters", interval=False),
                metric("burst", "bursts", interval=False),
                (Column("cached at most", "tokens"), lambda row: number(row.cell["tokens"]["cached_max"])),
                (Column("deliberate repeat"), lambda row: _control(row, "cache")),
                (Column("coherence"), lambda row: _control(row, "coherence")),
                (Column("template"), lambda row: _control(row, "template")),
            ],
            "Clocks that agree are the reason to believe a figure. The repeat asks the same prompt again on purpose.",
        )
    )


def _control(row: Row, name: str) -> Value:
    control: dict[str, Any] | None = row.cell["controls"][name]
    if control is None:
        return NOTHING
    good = control.get("ok")
    word = "ok" if good else "not known" if good is None else "FAILED"
    return Value(word, "text" if good else "status", note="" if good else str(control.get("detail", "")))


def suite_totals(rows: Sequence[Row]) -> Table:
    """One figure a model: tokens of all answers by the time of all answers."""
    found = Table(
        "totals",
        "Over all tasks",
        [
            Column("node"),
            Column("engine"),
            Column("run"),
            Column("model"),
            Column("mode"),
            Column("prefill", "tok/s", "PF_total@1"),
            Column("decode", "tok/s", "DC_total@1"),
            Column("cells"),
        ],
        about="Ratios of sums, never means of rates; only cells whose status is OK.",
    )
    for total in totals(rows):
        counted = Value(f"{total.counted} of {total.cells}", "text" if total.counted == total.cells else "status")
        names = [text(value) for value in (total.node, total.engine, total.run_id)]
        model = Value(total.model, detail=total.weights)
        found.rows.append([*names, model, text(total.mode), number(total.prefill), number(total.decode), counted])
    return found


def problems(records: Records) -> Table:
    """What could not be read or does not fit together."""
    return Table(
        "problems",
        "Problems with the data",
        [Column("problem")],
        [[Value(line, "status")] for line in records.problems],
    )
