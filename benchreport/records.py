"""Read the JSONL of runs. Whatever can be read is kept; whatever cannot becomes one sentence with file and line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
from mi50.bench.record import SCHEMA_VERSION

from . import CHECKOUT

Record = dict[str, Any]
_SCHEMA = CHECKOUT / "module_utils" / "mi50" / "bench" / "schema.json"
_TYPES = ("run", "request", "cell", "baseline")
_SHOWN_LINES = 3  # wrong lines of one kind in one file that are named; the others are counted


class ReportError(Exception):
    """Nothing to report; the text is meant for the user as it is."""


@dataclass
class Run:
    """One JSONL file: what one node measured with one engine in one run."""

    path: Path
    sessions: list[Record] = field(default_factory=list)
    cells: dict[str, Record] = field(default_factory=dict)
    requests: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    baselines: list[Record] = field(default_factory=list)
    streams_read: int = 0
    streams_missing: list[str] = field(default_factory=list)

    @property
    def head(self) -> Record:
        """The latest `run` line, empty when the file has none."""
        return self.sessions[-1] if self.sessions else {}

    @property
    def run_id(self) -> str:
        """Name of the run, from its lines, else from its folder."""
        return str(
            self.head.get("run_id") or next(iter(self.cells.values()), {}).get("run_id") or self.path.parent.name
        )

    @property
    def node(self) -> str:
        """The node's name in the inventory."""
        return str(self.head.get("node", {}).get("inventory_name") or "unknown node")

    @property
    def framework(self) -> str:
        """The engine's name."""
        first = next(iter(self.cells.values()), {})
        return str(self.head.get("framework", {}).get("name") or first.get("framework") or self.path.stem)

    def requests_of(self, cell: Record) -> list[Record]:
        """The requests of the attempt that finished the cell, in order."""
        found = self.requests.get((cell["cell_id"], cell["attempt"]), [])
        return sorted(found, key=lambda request: int(request["seq"]))

    def unfinished(self) -> list[str]:
        """Cells that were begun and have no end in this file."""
        return sorted({cell_id for cell_id, _ in self.requests} - set(self.cells))


@dataclass
class Records:
    """Everything that was read, and what could not be."""

    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(sources: Iterable[Path]) -> Records:
    """Read files and folders. Raises ReportError when there is no run in them at all, with every reason."""
    found = Records()
    for path in _files(sources, found.problems):
        run = _read_file(path, found.problems)
        if run.sessions or run.cells or run.requests:
            found.runs.append(run)
    _drop_duplicates(found)
    for run in found.runs:
        for cell_id in run.unfinished():
            found.problems.append(
                f"{run.path}: {cell_id} was begun on {run.node} and never finished; resume the run to measure it"
            )
        if not run.cells:
            found.problems.append(f"{run.path}: the run {run.run_id} on {run.node} has no finished cell")
    if not any(run.cells for run in found.runs):
        reasons = "; ".join(found.problems) or "no .jsonl file in: " + ", ".join(map(str, sources))
        raise ReportError(f"no finished measurement to report: {reasons}")
    found.runs.sort(key=lambda run: (run.node, run.run_id, run.framework))
    return found


def _files(sources: Iterable[Path], problems: list[str]) -> Iterator[Path]:
    seen = set()
    for source in sources:
        if source.is_dir():
            # The sensor samples beside a run are .jsonl.gz and lie in raw/; neither is a run.
            paths = sorted(path for path in source.rglob("*.jsonl") if "raw" not in path.relative_to(source).parts)
            if not paths:
                problems.append(f"{source}: no .jsonl file in this folder")
        elif source.is_file():
            paths = [source]
        else:
            problems.append(f"{source}: no such file or folder")
            continue
        for path in paths:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _read_file(path: Path, problems: list[str]) -> Run:
    run = Run(path)
    complaints: dict[str, list[int]] = {}
    try:
        content = path.read_bytes()
    except OSError as exc:
        problems.append(f"{path}: cannot be read: {exc.strerror}")
        return run
    if not content.strip():
        problems.append(f"{path}: empty")
        return run
    lines = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            # The last line has no line feed when the writer was killed in the middle of it.
            problem = _take(run, line, last=number == len(lines))
            if problem:
                complaints.setdefault(problem, []).append(number)
    for problem, numbers in complaints.items():
        shown = ", ".join(map(str, numbers[:_SHOWN_LINES]))
        more = f" and {len(numbers) - _SHOWN_LINES} more" if len(numbers) > _SHOWN_LINES else ""
        problems.append(f"{path}: line {shown}{more}: {problem}")
    if not run.sessions and (run.cells or run.requests):
        problems.append(f"{path}: no line of type run: node, card and engine are unknown")
    return run


def _take(run: Run, line: bytes, last: bool) -> str | None:
    """Add one line to the run; return what is wrong with it."""
    try:
        record = json.loads(line)
    except ValueError:
        return "cut off in the middle, left out (the writer was killed?)" if last else "no valid JSON, left out"
    if not isinstance(record, dict) or record.get("type") not in _TYPES:
        kind = record.get("type") if isinstance(record, dict) else type(record).__name__
        return f"type {kind!r} is unknown, left out"
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        way = "update this checkout" if isinstance(version, int) and version > SCHEMA_VERSION else "measure again"
        return f"schema_version {version!r}, this report reads {SCHEMA_VERSION}, left out: {way}"
    error = next(iter(_validator(record["type"]).iter_errors(record)), None)
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "the line"
        return f"{record['type']}: {where}: {error.message[:160]}, left out"
    _store(run, record)
    return None


def _store(run: Run, record: Record) -> None:
    kind = record["type"]
    if kind == "run":
        run.sessions.append(record)
    elif kind == "cell":
        run.cells[record["cell_id"]] = record  # a later line of the same cell replaces the earlier one
    elif kind == "request":
        run.requests.setdefault((record["cell_id"], int(record["attempt"])), []).append(record)
    else:
        run.baselines.append(record)


_VALIDATORS: dict[str, jsonschema.Draft202012Validator] = {}


def _validator(kind: str) -> jsonschema.Draft202012Validator:
    """The schema of one type of line; the schema's own choice between types would hide the cause."""
    if kind not in _VALIDATORS:
        schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
        _VALIDATORS[kind] = jsonschema.Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{kind}"})
    return _VALIDATORS[kind]


def _drop_duplicates(found: Records) -> None:
    """Keep the latest of cells that came twice for one run, node and engine, such as from a copied folder."""
    seen: dict[tuple[str, str, str, str], tuple[Run, Record]] = {}
    for run in found.runs:
        for cell_id, cell in list(run.cells.items()):
            key = (run.run_id, run.node, run.framework, cell_id)
            if key not in seen:
                seen[key] = (run, cell)
                continue
            other, earlier = seen[key]
            older, newer = (other, run) if cell["finished_utc"] >= earlier["finished_utc"] else (run, other)
            del older.cells[cell_id]
            # Its requests would otherwise look like those of a cell that never ended.
            older.requests = {which: value for which, value in older.requests.items() if which[0] != cell_id}
            seen[key] = (newer, newer.cells[cell_id])
            found.problems.append(
                f"{older.path}: {cell_id} of {key[0]} on {key[1]} is in {newer.path} as well; the later one is shown"
            )
    found.runs = [run for run in found.runs if run.cells or run.requests or run.sessions]
