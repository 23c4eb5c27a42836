"""Two runs against each other: the environment's differences first, then cell by cell a verdict by intervals.

No verdict where the question, the weights or a condition (driver, power cap, clocks, ...) is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mi50.bench.formulas import FORMULAS, HEADLINE

from . import conditions, environment
from .records import ReportError
from .rows import Row, Stat
from .tables import Column, Table, Value, digits

FASTER, SLOWER, INCONCLUSIVE, INVALID = "faster", "slower", "inconclusive", "invalid"
# Parts of the key, in its order; `across` leaves some out to compare, say, two commits of one engine.
PARTS = ("node", "gpu", "engine", "commit", "weights", "task", "mode", "language", "context", "concurrency", "formula")
_OF_THE_KEY = ("node", "gpu", "engine", "commit", "weights")
DROPPABLE = (*_OF_THE_KEY, *(name for name in conditions.NAMES if name not in _OF_THE_KEY))
Key = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """One figure of both runs. `ratio` is B / A, with its range where both have intervals."""

    key: Key
    metric: str
    before: Stat | None
    after: Stat | None
    verdict: str
    reason: str
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Everything that two sets of runs say about each other."""

    pairs: list[Pair]
    differences: list[tuple[str, str, str, str]]  # where, item, A, B
    only_before: list[Key]
    only_after: list[Key]
    hint: str


def compare(before: Sequence[Row], after: Sequence[Row], across: Sequence[str] = ()) -> Comparison:
    """Compare run A (before) with run B (after). Raises ReportError for a part of the key that cannot be left out."""
    for part in across:
        if part not in DROPPABLE:
            raise ReportError(f"across: {part!r} is none of {', '.join(DROPPABLE)}")
    ours, theirs = _figures(before, across), _figures(after, across)
    pairs = [_pair(key, ours[key], theirs[key], tuple(across)) for key in ours if key in theirs]
    only_before, only_after = [k for k in ours if k not in theirs], [k for k in theirs if k not in ours]
    hint = "" if pairs else _hint(before, after, across)
    return Comparison(pairs, _environment(before, after, across), only_before, only_after, hint)


def _figures(rows: Sequence[Row], across: Sequence[str]) -> dict[Key, tuple[Row, str, Stat | None]]:
    """Headline figures by key; of a cell without one, the figure that it should have had."""
    found: dict[Key, tuple[Row, str, Stat | None]] = {}
    for row in rows:
        for which in HEADLINE:
            if row.task["probe"] == "slope":
                continue
            figure = row.headline(which)
            name = figure.name if figure else HEADLINE[which][0]
            formula = figure.formula if figure else FORMULAS[name].id
            key = _key(row, formula, across)
            if key in found and found[key][0].cell["finished_utc"] > row.cell["finished_utc"]:
                continue  # measured twice: the later one counts
            found[key] = (row, name, figure)
    return found


def _key(row: Row, formula: str, across: Sequence[str]) -> Key:
    head, task = row.run.head, row.task
    values = {
        "node": row.node,
        "gpu": str((head.get("gpu") or {}).get("bdf") or "no card"),
        "engine": row.engine,
        "commit": str(head.get("framework", {}).get("commit") or head.get("framework", {}).get("version") or "unknown"),
        "weights": f"{row.model['key']} {row.weights}",
        "task": str(task["id"]),
        "mode": str(task["mode"]),
        "language": str(task["lang"]),
        "context": str(task["context"]),
        "concurrency": str(task["concurrency"]),
        "formula": formula,
    }
    return tuple("any" if part in across else values[part] for part in PARTS)


def _pair(
    key: Key, ours: tuple[Row, str, Stat | None], theirs: tuple[Row, str, Stat | None], across: tuple[str, ...]
) -> Pair:
    (row_a, name, a), (row_b, _, b) = ours, theirs
    bad = [f"{side} is {row.status}" for side, row in (("A", row_a), ("B", row_b)) if not row.ok]
    if (
        row_a.task["prompt_sha256"] != row_b.task["prompt_sha256"]
        or row_a.task["image_sha256"] != row_b.task["image_sha256"]
    ):
        bad.append("the task's text or picture changed")
    if row_a.task["max_tokens"] != row_b.task["max_tokens"] and key[PARTS.index("mode")] == "fixed":
        bad.append(f"{row_a.task['max_tokens']} tokens in A, {row_b.task['max_tokens']} in B")
    bad += conditions.unlike(row_a, row_b, across)
    if a is None or b is None or a.median is None or b.median is None:
        bad = bad or ["no figure"]
        return Pair(key, name, a, b, INVALID, "; ".join(bad))
    if bad:
        return Pair(key, name, a, b, INVALID, "; ".join(bad), b.median / a.median)
    verdict, reason, low, high = _verdict(name, a, b)
    return Pair(key, name, a, b, verdict, reason, b.median / a.median, low, high)


def _verdict(name: str, a: Stat, b: Stat) -> tuple[str, str, float | None, float | None]:
    """Separated only when the intervals do not overlap."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        few = " and ".join(f"{len(s.values)} in {side}" for side, s in (("A", a), ("B", b)) if s.low is None)
        return INCONCLUSIVE, f"no interval: {few}, six are needed", None, None
    low = b.low / a.high if a.high else None
    high = b.high / a.low if a.low else None
    if b.low > a.high:
        better = FORMULAS[name].better != "low"
    elif b.high < a.low:
        better = FORMULAS[name].better == "low"
    else:
        return INCONCLUSIVE, "the intervals overlap", low, high
    return (FASTER if better else SLOWER), "the intervals do not overlap", low, high


def _environment(before: Sequence[Row], after: Sequence[Row], across: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Differences between the runs that are compared with each other, each said once."""
    found: dict[tuple[str, str, str, str], None] = {}
    for a in {id(row.run): row.run for row in before}.values():
        for b in {id(row.run): row.run for row in after}.values():
            same_node = "node" in across or a.node == b.node
            if same_node and ("engine" in across or a.framework == b.framework):
                place = f"{a.node} · {a.framework}"
                found.update({(place, *difference): None for difference in environment.differences(a, b)})
    return list(found)


def _hint(before: Sequence[Row], after: Sequence[Row], across: Sequence[str]) -> str:
    """Which part of the key keeps everything apart, if it is one alone."""
    for part in _OF_THE_KEY:
        if part not in across and set(_figures(before, [*across, part])) & set(_figures(after, [*across, part])):
            return f"nothing matches, because {part} differs everywhere; compare across={part}"
    return "nothing matches: no task was measured on the same node, card and engine with the same weights and formulas"


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison for JSON."""
    return {
        "differences": [dict(zip(("where", "item", "a", "b"), line)) for line in comparison.differences],
        "pairs": [{**asdict(pair), "key": dict(zip(PARTS, pair.key))} for pair in comparison.pairs],
        "only_a": [dict(zip(PARTS, key)) for key in comparison.only_before],
        "only_b": [dict(zip(PARTS, key)) for key in comparison.only_after],
        "hint": comparison.hint,
    }


def tables(comparison: Comparison) -> list[Table]:
    """Return the environment's differences and the verdicts as tables."""
    differing = Table("differences", "What differs between A and B", [Column(c) for c in ("where", "item", "A", "B")])
    differing.rows = [[Value(word) for word in line] for line in comparison.differences]
    if not differing.rows:
        differing.about = "No difference in what is recorded of the environment."
    parts = [i for i, _ in enumerate(PARTS) if i in (0, 2, 4, 5, 6) or len({p.key[i] for p in comparison.pairs}) > 1]
    heads = [Column(PARTS[i]) for i in parts]
    columns = [
        *heads,
        Column("A", "tok/s"),
        Column("B", "tok/s"),
        Column("B / A", "", "SPEEDUP@1"),
        Column("verdict"),
        Column("why"),
    ]
    verdicts = Table("verdicts", "Verdicts", columns, about=comparison.hint)
    for pair in comparison.pairs:
        names = [Value(pair.key[i]) for i in parts]
        span = f"{pair.ratio_low:.3f} to {pair.ratio_high:.3f}" if pair.ratio_low and pair.ratio_high else ""
        ratio = Value(f"{pair.ratio:.3f}", "number", span, value=pair.ratio) if pair.ratio else Value("none", "none")
        kind = "status" if pair.verdict in (SLOWER, INVALID) else "text"
        verdicts.rows.append(
            [*names, _side(pair.before), _side(pair.after), ratio, Value(pair.verdict, kind), Value(pair.reason)]
        )
    for side, keys in (("A", comparison.only_before), ("B", comparison.only_after)):
        for key in keys:
            names = [Value(key[i]) for i in parts]
            only = f"only in {side} ({key[-1]})"
            verdicts.rows.append([*names, *[Value("none", "none")] * 3, Value(INVALID, "status"), Value(only)])
    return [differing, verdicts]


def _side(figure: Stat | None) -> Value:
    if figure is None or figure.median is None:
        return Value("none", "none")
    span = (
        f"{digits(figure.low)} to {digits(figure.high)}" if figure.low is not None and figure.high is not None else ""
    )
    return Value(digits(figure.median), "number", span, value=figure.median)
