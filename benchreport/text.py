"""Markdown, CSV and JSON from the same tables and rows as the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .rows import Row
from .tables import Column, Table, Value

REPORT_VERSION = 1


def markdown(tables: Sequence[Table], heading: str, level: int = 2) -> str:
    """Return tables in GitHub's Markdown; reasons become numbered notes below their table."""
    parts = [f"{'#' * (level - 1)} {heading}\n"] if heading else []
    parts += [_markdown(table, level) for table in tables if table.rows or table.about]
    return "\n".join(parts)


def _markdown(table: Table, level: int) -> str:
    lines = [f"{'#' * level} {table.title}", ""]
    if table.about:
        lines += [table.about, ""]
    notes: dict[str, int] = {}
    if table.rows:
        lines.append("| " + " | ".join(_head(column) for column in table.columns) + " |")
        numeric = [any(line[i].kind == "number" for line in table.rows) for i, _ in enumerate(table.columns)]
        lines.append("|" + "|".join(" ---: " if right else " --- " for right in numeric) + "|")
        lines += ["| " + " | ".join(_cell(value, notes) for value in line) + " |" for line in table.rows]
    if notes:
        lines += ["", *(f"{index}. {_escape(note)}" for note, index in notes.items())]
    return "\n".join([*lines, ""])


def _head(column: Column) -> str:
    words = " ".join(filter(None, (column.group, column.title)))
    unit = f" ({column.unit})" if column.unit else ""
    return _escape(words) + unit + (f" `{column.formula}`" if column.formula else "")


def _cell(value: Value, notes: dict[str, int]) -> str:
    words = {"status": f"**{_escape(value.text)}**", "none": f"*{_escape(value.text)}*"}.get(
        value.kind, _escape(value.text)
    )
    if value.detail:
        words += f" ({_escape(value.detail)})"
    if value.note:
        words += f" [{notes.setdefault(value.note, len(notes) + 1)}]"
    return words


def _escape(text: str) -> str:
    """Text that a Markdown table can hold: one line, and no column or tag of its own."""
    for char in "\\|<>*`[]":
        text = text.replace(char, f"\\{char}")
    return " ".join(text.split(" ")).replace("\n", " ")


def csv_text(rows: Sequence[Row]) -> str:
    """Return one line a cell; columns of figures carry their formula's id and unit in the head."""
    names = list(dict.fromkeys(name for row in rows for name in row.stats))
    formulas = {name: next(row.stats[name] for row in rows if name in row.stats) for name in names}
    sensors = sorted({key for row in rows for key in row.cell["telemetry"] or {}})
    memory = sorted({key for row in rows for key in row.cell["vram"] or {}})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head = [*identity(rows[0])] if rows else []
    for name in names:
        unit = f" {formulas[name].unit}".rstrip()
        head += [f"{name} {part} [{formulas[name].formula}{unit}]" for part in ("median", "low", "high", "n")]
    writer.writerow([*head, *(f"sensor {key}" for key in sensors), *(f"vram {key} bytes" for key in memory)])
    for row in rows:
        line = list(identity(row).values())
        for name in names:
            figure = row.stats.get(name)
            # A figure by another definition than the head says does not belong into this column.
            same = figure is not None and figure.formula == formulas[name].formula
            line += [figure.median, figure.low, figure.high, len(figure.values)] if figure and same else [None] * 4
        line += [(row.cell["telemetry"] or {}).get(key) for key in sensors]
        line += [(row.cell["vram"] or {}).get(key) for key in memory]
        writer.writerow([_guarded(value) for value in line])
    return buffer.getvalue()


def _guarded(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe, which it shows as plain text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" else value


def identity(row: Row) -> dict[str, Any]:
    """Return what names a cell, its status and its counts, by column."""
    head, task, model = row.run.head, row.task, row.model
    engine = head.get("framework", {})
    return {
        "run": row.run.run_id,
        "node": row.node,
        "gpu": (head.get("gpu") or {}).get("bdf"),
        "engine": row.engine,
        "engine version": engine.get("version"),
        "engine commit": engine.get("commit"),
        "suite": head.get("suite", {}).get("id"),
        "suite sha256": head.get("suite", {}).get("sha256"),
        "model": model["key"],
        "model sha256": model["sha256"],
        "format": model["format"],
        "task": task["id"],
        "probe": task["probe"],
        "mode": task["mode"],
        "language": task["lang"],
        "context": task["context"],
        "concurrency": task["concurrency"],
        "status": row.status,
        "reason": row.cell["reject_reason"],
        "counted": row.cell["ok"],
        "measured": row.cell["measured"],
        "checks passed": row.cell["checks"]["passed"],
        "checks": row.cell["checks"]["total"],
        "prompt tokens": row.cell["tokens"]["prompt"],
        "answer tokens": row.cell["tokens"]["completion"],
        "started": row.cell["started_utc"],
    }


def json_text(rows: Sequence[Row], problems: Sequence[str], extra: dict[str, Any]) -> str:
    """Return everything the page shows, with all values, as JSON."""
    runs = {id(row.run): row.run for row in rows}
    document = {
        "report_version": REPORT_VERSION,
        **extra,
        "problems": list(problems),
        "runs": [{**run.head, "file": str(run.path), "baselines": run.baselines} for run in runs.values()],
        "cells": [
            {
                **identity(row),
                "cell_id": row.cell["cell_id"],
                "figures": {name: asdict(figure) for name, figure in row.stats.items()},
                "headline": {
                    which: figure.name if (figure := row.headline(which)) else None for which in ("prefill", "decode")
                },
                "statuses": row.cell["statuses"],
                "repetitions": [
                    {"index": r["rep"]["index"], "status": r["status"], "reason": r["reject_reason"]}
                    for r in row.requests
                    if r["rep"]["role"] == "measured"
                ],
                "vram": row.cell["vram"],
                "sensors": row.cell["telemetry"],
                "roofline": row.cell["roofline"],
                "controls": row.cell["controls"],
                "checks by id": row.cell["checks"]["by_id"],
                "warnings": row.cell["warnings"],
                "disagreements": row.disagreements,
            }
            for row in rows
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
