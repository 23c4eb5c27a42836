"""The figures of fleet and chaos runs: kept in docs/fleet-runs.json, shown in docs/fleet.md."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from lab.console import say

BAR = 1.02
BEGIN, END = "<!-- runs:begin -->", "<!-- runs:end -->"


def save(path: Path, name: str, record: dict[str, Any]) -> None:
    """Keep a run's figures beside those of others, and make the tables of docs/fleet.md from all of them."""
    found = json.loads(path.read_text()) if path.exists() else {}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    found[name] = {**record, "machine": machine, "date": time.strftime("%Y-%m-%d", time.gmtime())}
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    page = path.with_name("fleet.md")
    if page.exists():
        head, dummy, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{head}{BEGIN}\n{tables(found)}{END}{rest.partition(END)[2]}")
    say(f"wrote {path} and the tables of {page}")


def tables(found: dict[str, dict[str, Any]]) -> str:
    """All runs as Markdown."""
    parts = [
        _online([row for name, row in found.items() if name.isdigit()]),
        _cut([row for name, row in found.items() if name.startswith("cut-")]),
        *(chaos(row) for name, row in sorted(found.items()) if name.startswith("chaos-")),
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in parts if lines)


def _online(rows: list[dict[str, Any]]) -> list[str]:
    """From nothing, through the mirror."""
    rows = sorted(rows, key=lambda row: int(row["nodes"]))
    if not rows:
        return []
    lines = ["| nodes | fill, s | site.yml, s | upstream to mirror, MB | upstream to nodes, B | mirror to nodes, MB |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        cells = [f"{row['fill_seconds']:.0f}", f"{row['site_seconds']:.0f}", f"{row['upstream_fill'] / 1e6:.1f}"]
        cells += [str(row["upstream_nodes"]), f"{row['local'] / 1e6:.1f}"]
        lines.append(f"| {row['nodes']} | {' | '.join(cells)} |")
    if len(rows) > 1:
        taken = [row["upstream_fill"] + row["upstream_nodes"] for row in (rows[0], rows[-1])]
        ratio = taken[1] / taken[0]
        verdict = f"(bar of the design: {BAR}): {'met' if ratio <= BAR else 'missed'}."
        counted = (
            f"Bytes from upstream for {rows[-1]['nodes']} nodes are {ratio:.3f} times those for {rows[0]['nodes']}"
        )
        lines += ["", f"{counted} {verdict}"]
    return lines


def _cut(rows: list[dict[str, Any]]) -> list[str]:
    """From a folder, without a network."""
    if not rows:
        return []
    lines = ["With every route but the one to the mirror cut, from an imported folder:", ""]
    lines += ["| nodes | folder, MB | import, s | site.yml, s | upstream, B |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: int(row["nodes"])):
        cells = [f"{row['folder_bytes'] / 1e6:.0f}", f"{row['import_seconds']:.0f}", f"{row['site_seconds']:.0f}"]
        lines.append(f"| {row['nodes']} | {' | '.join(cells)} | {row['upstream_bytes']} |")
    return lines


def chaos(row: dict[str, Any]) -> list[str]:
    """One round of chaos: what happened to whom, and what came of it."""
    lines = [f"Chaos with seed {row['seed']}, {row['nodes']} nodes, {row['date']}:", ""]
    lines += ["| s | what | node | during | that node's run |", "|---|---|---|---|---|"]
    for event in row["events"]:
        cells = [event["kind"], event["node"] or "all", event["task"], event["outcome"]]
        lines.append(f"| {event.get('struck', event['at']):.0f} | {' | '.join(cells)} |")
    took = ", ".join(f"{seconds:.0f} s" for seconds in row["re_runs"])
    ended = [
        f"Re-runs until all succeeded: {len(row['re_runs'])} ({took}).",
        f"The run after that: changed={row['changed']}.",
        f"`playbooks/verify.yml`: {row['verified']}.",
        f"Left half-done: {row['left']}.",
    ]
    if row.get("compared"):
        ended.append(f"Compared with a node that nothing happened to ({row['compared']} paths): {row['differs']}.")
    return [*lines, "", " ".join(ended)]
