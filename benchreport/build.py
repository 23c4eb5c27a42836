"""Make the report's files from recorded runs."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import blog, compare, content, detail, environment, plots, samples, text
from .page import render
from .records import Records, ReportError, read
from .rows import Row, rows
from .tables import Table

FORMATS = ("html", "md", "csv", "json")
NAME = "report"


@dataclass
class Options:
    """What to make. `against` are the runs to compare with (A), `sources` those of the report (B)."""

    sources: list[Path]
    dest: Path
    against: list[Path] = field(default_factory=list)
    across: list[str] = field(default_factory=list)
    title: str = "LLM benchmark"
    language: str = "en"
    formats: tuple[str, ...] = FORMATS


@dataclass
class Result:
    """What was made."""

    files: dict[str, Path]
    changed: bool
    problems: list[str]
    cells: int
    ok: int
    statuses: dict[str, int]
    verdicts: dict[str, int]


@dataclass
class _Parts:
    records: Records
    rows: list[Row]
    comparison: compare.Comparison | None
    problems: list[str]


def build(options: Options, dry_run: bool = False) -> Result:
    """Read, compute, write. Raises ReportError when there is nothing to report or an option is wrong."""
    wrong = [name for name in options.formats if name not in FORMATS]
    if wrong or options.language not in blog.LANGUAGES:
        what = f"format {wrong[0]!r}" if wrong else f"language {options.language!r}"
        raise ReportError(f"{what}: known are {', '.join(FORMATS if wrong else blog.LANGUAGES)}")
    parts = _collect(options)
    makers = {"html": _html, "md": _markdown, "csv": _csv, "json": _json}
    # HTML first: it reads the sensor samples, whose problems the others show too.
    made = {name: makers[name](parts, options) for name in FORMATS if name in options.formats}
    files = {name: options.dest / f"{NAME}.{name}" for name in made}
    changed = [name for name, data in made.items() if not _same(files[name], data)]
    if not dry_run:
        _write({files[name]: made[name] for name in changed}, options.dest)
    statuses = Counter(row.status for row in parts.rows)
    verdicts = Counter(pair.verdict for pair in parts.comparison.pairs) if parts.comparison else Counter()
    ok = statuses.get("OK", 0)
    return Result(files, bool(changed), parts.problems, len(parts.rows), ok, dict(statuses), dict(verdicts))


def _collect(options: Options) -> _Parts:
    records = read(options.sources)
    ours = rows(records)
    comparison = None
    problems = records.problems
    if options.against:
        earlier = read(options.against)
        comparison = compare.compare(rows(earlier), ours, options.across)
        problems += [f"compared with: {problem}" for problem in earlier.problems]
    return _Parts(records, ours, comparison, problems)


def _tables(parts: _Parts, language: str) -> tuple[list[Table], list[Table]]:
    """The tables above and below the plots, those with nothing in them left out."""
    found = parts.rows
    before = [content.problems(parts.records)]
    before += compare.tables(parts.comparison) if parts.comparison else []
    before += [*blog.tables(found, language), content.suite_totals(found)]
    after = [content.cells(found), content.agreement(found), detail.vram(found), detail.heat(found)]
    after += [detail.checks(found), detail.rejected(found)]
    after += [environment.table(parts.records.runs), detail.models(found), detail.client(found)]
    after.append(detail.formulas([*before, *after]))
    after.append(detail.statuses(found))
    return [t for t in before if t.rows or t.about], [t for t in after if t.rows]


def _plots(parts: _Parts) -> list[tuple[str, str]]:
    found: list[tuple[str, str | None]] = []
    for model in dict.fromkeys((row.model["key"], row.weights) for row in parts.rows):
        own = [row for row in parts.rows if (row.model["key"], row.weights) == model]
        named = f"{model[0]} ({model[1]})"
        found.append((f"{named}: speed of the tasks", plots.bars(own, parts.rows, f"Speed of the tasks, {named}")))
        found.append((f"{named}: speed against context length", plots.depth(own, parts.rows, f"Depth, {named}")))
    for run in parts.records.runs:
        own = [row for row in parts.rows if row.run is run]
        named = f"{run.node}, {run.framework}, {run.run_id}"
        drawn = plots.timeline(samples.traces(own, parts.problems), f"Sensors, {named}")
        found.append((f"{named}: sensors over the run, a vertical line where a cell begins", drawn))
    return [(caption, svg) for caption, svg in found if svg]


def _html(parts: _Parts, options: Options) -> bytes:
    drawn = _plots(parts)  # before the tables: what it cannot read is listed in one of them
    before, after = _tables(parts, options.language)
    counts = Counter(row.status for row in parts.rows)
    runs = parts.records.runs
    facts = [
        ("nodes", str(len({run.node for run in runs}))),
        ("engines", str(len({run.framework for run in runs}))),
        ("model weights", str(len({(row.model["key"], row.weights) for row in parts.rows}))),
        ("cells OK", f"{counts['OK']} of {len(parts.rows)}"),
        ("requests measured", str(sum(row.cell["measured"] for row in parts.rows))),
    ]
    notes = list(dict.fromkeys(str(run.head["note"]) for run in runs if run.head.get("note")))
    suites = sorted({str(run.head["suite"]["id"]) for run in runs if run.head.get("suite")})
    dates = sorted(str(run.head["started_utc"])[:10] for run in runs if run.head.get("started_utc"))
    when = dates[0] if dates and dates[0] == dates[-1] else " to ".join(dates[:1] + dates[-1:])
    subtitle = " · ".join(
        filter(None, (f"suite {', '.join(suites)}" if suites else "", f"measured {when}" if when else ""))
    )
    return render(options.title, subtitle, facts, notes, before, drawn, after, len(runs)).encode()


def _markdown(parts: _Parts, options: Options) -> bytes:
    notes = list(dict.fromkeys(str(run.head["note"]) for run in parts.records.runs if run.head.get("note")))
    before, after = _tables(parts, options.language)
    wanted = [t for t in after if t.id in ("cells", "rejected", "environment", "models", "formulas", "statuses")]
    body = text.markdown([*before, *wanted], "")
    heading = f"# {options.title}\n\n" + "".join(f"> {note}\n\n" for note in notes)
    return (heading + body).encode()


def _csv(parts: _Parts, options: Options) -> bytes:
    del options
    return text.csv_text(parts.rows).encode()


def _json(parts: _Parts, options: Options) -> bytes:
    extra: dict[str, Any] = {"title": options.title}
    if parts.comparison:
        extra["comparison"] = compare.as_dict(parts.comparison)
    return text.json_text(parts.rows, parts.problems, extra).encode()


def _same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _write(files: dict[Path, bytes], dest: Path) -> None:
    """Write each file whole or not at all. Raises ReportError naming the folder."""
    try:
        dest.mkdir(parents=True, exist_ok=True)
        for path, data in files.items():
            handle, temporary = tempfile.mkstemp(dir=dest, prefix=f".{path.name}.")
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
    except OSError as exc:
        raise ReportError(f"{dest}: cannot write the report: {exc.strerror}") from exc
