"""Tables as data: every column knows its formula, every cell says what kind of thing it shows. Renderers only draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mi50.bench.formulas import FORMULAS, HEADLINE
from mi50.bench.record import STATUSES

from .rows import Row, Stat

NOT_RUN = "not run"


@dataclass(frozen=True)
class Value:
    """What stands in one cell. kind: text, number, status (a named failure), none (nothing was recorded)."""

    text: str
    kind: str = "text"
    detail: str = ""  # shown small beside the text
    note: str = ""  # the reason; a foot note in Markdown, text under the cell in HTML
    value: float | None = None  # full precision, for CSV and JSON


@dataclass(frozen=True)
class Column:
    """One column; `formula` is the id that a legend explains, empty for what is no formula."""

    title: str
    unit: str = ""
    formula: str = ""
    group: str = ""


@dataclass
class Table:
    """One table with a heading of its own."""

    id: str
    title: str
    columns: list[Column]
    rows: list[list[Value]] = field(default_factory=list)
    about: str = ""


Maker = Callable[[Row], Value]
NOTHING = Value("none", "none")


def number(value: float | None, unit: str = "", note: str = "") -> Value:
    """Return a figure with the digits that mean something, or the reason why there is none."""
    if value is None:
        return Value("none", "none", note=note)
    # A count is no measurement: it has no decimals to be rounded to.
    shown = f"{int(value):,}".replace(",", "\u202f") if float(value).is_integer() else digits(value)
    return Value(shown + (f" {unit}" if unit else ""), "number", value=value)


def digits(value: float) -> str:
    """Three or four significant digits, without exponents, thousands apart."""
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    if size and size < 0.001:
        return f"{value:.1e}"
    return f"{value:,.{places}f}".replace(",", "\u202f")


def stat(figure: Stat | None, interval: bool = True) -> Value:
    """Return a median with its interval."""
    if figure is None:
        return NOTHING
    if figure.median is None:
        return Value("none", "none", note=figure.reason or "")
    detail = (
        f"{digits(figure.low)} to {digits(figure.high)}" if figure.low is not None and figure.high is not None else ""
    )
    if interval and not detail:
        detail = f"n = {len(figure.values)}, no interval" if figure.values else ""
    # Agreement is a matter of tenths of a per mille.
    shown = f"{figure.median:.4f}" if figure.name.startswith("a_") else digits(figure.median)
    return Value(shown, "number", detail if interval else "", value=figure.median)


def gib(value: float | None) -> Value:
    """Return bytes as GiB."""
    return NOTHING if value is None else Value(f"{value / 2**30:.2f}", "number", value=value / 2**30)


def status(row: Row) -> Value:
    """Return the cell's status; one that is not OK with how many repetitions counted, and the reason."""
    if row.ok:
        return Value("OK", "text", f"{row.cell['ok']}/{row.cell['measured']}")
    reason = row.cell["reject_reason"] or STATUSES.get(row.status, "")
    return Value(row.status, "status", f"{row.cell['ok']}/{row.cell['measured']} OK", note=reason)


def headline(row: Row, which: str) -> Value:
    """Return a headline figure; of a cell that is not OK its status instead, with what the good repetitions gave."""
    figure = row.headline(which)
    if row.ok:
        if figure is None:
            stats = (row.stats.get(name) for name in HEADLINE[which])
            reason = next((s.reason for s in stats if s is not None and s.reason), "")
            return Value("none", "none", note=reason or "")
        return stat(figure)
    named = status(row)
    seen = ""
    if figure is not None and figure.median is not None:
        some = 0 < row.cell["ok"] < row.cell["measured"]
        share = f"in {row.cell['ok']}/{row.cell['measured']}" if some else "seen, does not count"
        seen = f"{digits(figure.median)} {share}"
    return Value(named.text, "status", seen or named.detail, note=named.note)


def common_formula(rows: Sequence[Row], which: str) -> str:
    """Return the formula's id of a headline when it is the same in all rows, else nothing."""
    found = {figure.formula for row in rows if (figure := row.headline(which)) is not None}
    return found.pop() if len(found) == 1 else ""


def metric_column(name: str, title: str, group: str = "") -> Column:
    """Return the column of a metric with its formula's id and unit. Raises KeyError for an unknown metric."""
    formula = FORMULAS[name]
    return Column(title, formula.unit, formula.id, group)


def table(
    rows: Sequence[Row], table_id: str, title: str, makers: Sequence[tuple[Column, Maker]], about: str = ""
) -> Table:
    """Build a table with one line a row."""
    lines = [[make(row) for _, make in makers] for row in rows]
    return Table(table_id, title, [column for column, _ in makers], lines, about)


def drop_empty(source: Table, reasons: bool = True) -> Table:
    """Return the table without columns that have nothing in any line; `reasons` alone keep a column, or do not.

    Headline figures stay in any case: why there are none is what a reader looks for.
    """
    kept = [
        index
        for index, _ in enumerate(source.columns)
        if source.columns[index].title in HEADLINE
        or any(line[index].kind != "none" or (reasons and line[index].note) for line in source.rows)
    ]
    return Table(
        source.id,
        source.title,
        [source.columns[index] for index in kept],
        [[line[index] for index in kept] for line in source.rows],
        source.about,
    )
