"""The tables further down: memory, heat, checks, what does not count, models, the client, legends."""

from __future__ import annotations

from collections.abc import Sequence

from mi50.bench import summary as node
from mi50.bench.formulas import FORMULAS
from mi50.bench.record import OK, STATUSES

from .content import Makers, identity, metric, telemetry, text
from .figures import FORMULAS_HERE
from .rows import Row
from .tables import NOTHING, Column, Table, Value, drop_empty, gib, number, table


def vram(rows: Sequence[Row]) -> Table:
    """Memory, taken apart."""
    names = {
        "baseline": "before the engine",
        "loaded": "loaded",
        "peak": "peak",
        "steady": "steady",
        "framework": "peak - before",
        "gtt_delta": "spilled to GTT",
        "weights": "weights",
        "kv_capacity_bytes": "KV capacity",
        "other": "other",
        "fit_margin_128k": "left at 128k",
    }
    makers = [
        (
            Column(title, "GiB", "VRAM_fw@1" if key == "framework" else ""),
            lambda row, key=key: gib((row.cell["vram"] or {}).get(key)),
        )
        for key, title in names.items()
    ]
    capacity: Makers = [
        (Column("KV capacity", "tokens"), lambda row: number((row.cell["vram"] or {}).get("kv_capacity_tokens"))),
        (Column("KV used at most"), lambda row: _part((row.cell["vram"] or {}).get("kv_used_peak"))),
    ]
    return drop_empty(
        table(
            [row for row in rows if row.cell["vram"]],
            "vram",
            "VRAM",
            [*identity(rows), *makers, *capacity],
            "An engine mostly takes what it was told to take; weights and KV capacity say what it does with it.",
        )
    )


def _part(value: float | None) -> Value:
    return NOTHING if value is None else Value(f"{value:.0%}", "number", value=value)


def heat(rows: Sequence[Row]) -> Table:
    """Sensors of the cells."""
    return drop_empty(
        table(
            [row for row in rows if row.cell["telemetry"]],
            "heat",
            "Heat, clocks, power",
            [
                *identity(rows),
                telemetry("temp_start_c", "junction at start", "°C"),
                telemetry("temp_max_c", "junction at most", "°C"),
                telemetry("temp_mem_max_c", "memory at most", "°C"),
                telemetry("sclk_min_mhz", "core clock, least", "MHz"),
                telemetry("sclk_mean_mhz", "core clock, mean", "MHz"),
                telemetry("mclk_min_mhz", "memory clock, least", "MHz"),
                telemetry("power_mean_w", "power, mean", "W"),
                telemetry("power_max_w", "power at most", "W"),
                telemetry("busy_mean_pct", "busy", "%"),
                metric("e_pf", "energy, prefill"),
                metric("e_dec", "energy, decode"),
                (Column("throttled"), _throttled),
                telemetry("rate_hz", "samples", "1/s"),
            ],
        )
    )


def _throttled(row: Row) -> Value:
    seen = row.cell["telemetry"] or {}
    if seen.get("throttled") is None:
        return NOTHING
    return Value("yes", "status", note=seen.get("throttle_reason") or "") if seen["throttled"] else Value("no")


def checks(rows: Sequence[Row]) -> Table:
    """Every check of the answers, with what the first failing answer was told."""
    found = Table("checks", "Answers, checked", [c for c, _ in identity(rows)])
    found.columns += [Column("check"), Column("passed"), Column("of"), Column("first failure")]
    for row in rows:
        named = [make(row) for _, make in identity(rows)]
        for name, count in row.cell["checks"]["by_id"].items():
            failed = (c for r in row.requests for c in r["checks"] if c["id"] == name and not c["pass"])
            why = next((str(check["detail"]) for check in failed), "")
            kind = "number" if count["passed"] == count["total"] else "status"
            passed = Value(str(count["passed"]), kind, value=count["passed"])
            found.rows.append([*named, Value(name), passed, number(count["total"]), text(why) if why else Value("")])
    return found


def rejected(rows: Sequence[Row]) -> Table:
    """Every measured repetition that does not count, and cells that never got as far as one."""
    columns = [Column(c.title) for c, _ in identity(rows)]
    found = Table(
        "rejected",
        "Repetitions that do not count",
        [*columns, Column("repetition"), Column("status"), Column("reason")],
    )
    for row in rows:
        bad = [r for r in node.measured(row.requests) if r["status"] != OK]
        named = [make(row) for _, make in identity(rows)]
        for request in bad:
            index = str(request["rep"]["index"] + 1)
            found.rows.append(
                [*named, Value(index), Value(request["status"], "status"), text(request["reject_reason"])]
            )
        if not bad and not row.ok:
            found.rows.append([*named, Value("all"), Value(row.status, "status"), text(row.cell["reject_reason"])])
    return found


def client(rows: Sequence[Row]) -> Table:
    """What measuring itself cost."""
    return drop_empty(
        table(
            rows,
            "client",
            "The client itself",
            [
                *identity(rows),
                (Column("CPU", "s"), lambda row: number(row.cell["client_cpu_s"])),
                (Column("memory", "MiB"), lambda row: number(row.cell["client_rss_mib"])),
                (Column("lost requests"), lambda row: number(row.cell["lost_requests"])),
                (Column("retries, refused"), lambda row: number(row.cell["retries"]["refused"])),
                (Column("retries, loading"), lambda row: number(row.cell["retries"]["loading"])),
                (Column("took", "s"), lambda row: number(row.cell["duration_s"])),
                (Column("warnings"), lambda row: text("; ".join(row.cell["warnings"]))),
            ],
        )
    )


def models(rows: Sequence[Row]) -> Table:
    """Which weights, exactly."""
    keys = {
        "requested": "asked for",
        "served": "served",
        "format": "format",
        "bpw": "bits a weight",
        "bytes": "bytes",
        "n_params": "parameters",
        "kv_type": "KV cache",
        "ctx_effective": "context",
        "sha256": "sha256",
        "mmproj_sha256": "projector's sha256",
        "template_sha256": "template's sha256",
    }
    found = Table("models", "Models", [Column("model"), Column("node"), Column("engine"), *map(Column, keys.values())])
    seen = set()
    for row in rows:
        line = [row.model["key"], row.node, row.engine, *(row.model[key] for key in keys)]
        if tuple(line) not in seen:
            seen.add(tuple(line))
            line = [f"{value:.2f}" if isinstance(value, float) else value for value in line]
            shown = [
                str(value)[:12] if str(key).endswith("sha256") and value else value
                for key, value in zip(keys, line[3:])
            ]
            found.rows.append([Value(str(line[0])), Value(str(line[1])), Value(str(line[2])), *map(text, shown)])
    return drop_empty(found)


def formulas(tables: Sequence[Table]) -> Table:
    """The definition of every formula that a column names."""
    used = {column.formula for shown in tables for column in shown.columns if column.formula}
    found = Table("formulas", "Formulas", [Column("id"), Column("unit"), Column("definition"), Column("better")])
    for formula in [*FORMULAS.values(), *FORMULAS_HERE.values()]:
        if formula.id in used or formula.id.startswith(("PF_", "DC_")):
            found.rows.append([Value(formula.id), text(formula.unit), text(formula.text), text(formula.better)])
    return found


def statuses(rows: Sequence[Row]) -> Table:
    """What the statuses that occur mean."""
    seen = {row.status for row in rows} | {request["status"] for row in rows for request in row.requests}
    lines = [[Value(name), text(meaning)] for name, meaning in STATUSES.items() if name in seen]
    return Table("statuses", "Statuses", [Column("status"), Column("means")], lines)
