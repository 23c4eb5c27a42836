"""The figures of fleet and chaos runs: kept in docs/fleet-runs.json, shown in docs/fleet.md."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from lab.chaos_kinds import KINDS
from lab.console import say

BAR = 1.02
# What a round says of an event that the run did not last for, and of nodes that are as they should be.
MISSED, SAME = "did not happen", "no difference"
BEGIN, END = "<!-- runs:begin -->", "<!-- runs:end -->"


def save(path: Path, name: str, record: dict[str, Any]) -> None:
    """Keep a run's figures beside those of others, and make the tables of docs/fleet.md from all of them."""
    found = json.loads(path.read_text()) if path.exists() else {}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    date, clock = time.strftime("%Y-%m-%d %H:%M", time.gmtime()).split()
    found[name] = {**record, "machine": machine, "date": date, "time": f"{date} {clock}"}
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
        *_rounds([row for name, row in found.items() if name.startswith("chaos-")]),
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


def _rounds(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The newest whole round of chaos, or the newest there is, as it went; all others in a line each."""
    if not rows:
        return []
    first, *others = sorted(rows, key=lambda row: (_whole(row), row.get("time", row["date"])), reverse=True)
    if not others:
        return [chaos(first)]
    lines = ["Other rounds:", "", "| date | seed | nodes | struck | runs until all succeeded | and then |"]
    lines.append("|---|---|---|---|---|---|")
    for row in sorted(others, key=lambda row: (row.get("time", row["date"]), row["seed"]), reverse=True):
        struck = ", ".join(event["kind"] for event in row["events"] if event["outcome"] != MISSED)
        cells = [row["date"], row["seed"], row["nodes"], struck, len(row["re_runs"]), "; ".join(_ended(row))]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [chaos(first), lines]


def settled(record: dict[str, Any]) -> bool:
    """Whether nothing is left of a round of chaos."""
    whole = record["changed"] == 0 and record["left"] == "nothing" and record["verified"] == "every node works"
    return bool(whole and record.get("differs", SAME) == SAME)


def _whole(row: dict[str, Any]) -> bool:
    """Whether everything happened in a round, nothing is left of it, and nodes were compared with an untouched one."""
    struck = {event["kind"] for event in row["events"] if event["outcome"] != MISSED}
    return struck == set(KINDS) and "differs" in row and settled(row)


def _ended(row: dict[str, Any]) -> list[str]:
    """What a round left behind, in sentences."""
    found = [
        f"the run after that: changed={row['changed']}",
        f"`playbooks/verify.yml`: {row['verified']}",
        f"left half-done: {row['left']}",
    ]
    if row.get("compared"):
        found.append(f"compared with a node that nothing happened to ({row['compared']} paths): {row['differs']}")
    return found


def chaos(row: dict[str, Any]) -> list[str]:
    """One round of chaos: what happened to whom, and what came of it."""
    lines = [f"Chaos with seed {row['seed']}, {row['nodes']} nodes, {row['date']}:", ""]
    lines += ["| s | what | node | during | that node's run |", "|---|---|---|---|---|"]
    for event in row["events"]:
        cells = [event["kind"], event["node"] or "all", event["task"], event["outcome"]]
        at = f"{event['struck']:.0f}" if "struck" in event else "-"
        lines.append(f"| {at} | {' | '.join(cells)} |")
    took = ", ".join(f"{seconds:.0f} s" for seconds in row["re_runs"])
    ended = [f"Re-runs until all succeeded: {len(row['re_runs'])} ({took})", *_ended(row)]
    return [*lines, "", ". ".join(f"{line[0].upper()}{line[1:]}" for line in ended) + "."]
