"""The plots, as SVG that takes its colours from the page: legible on a light and on a dark ground.

Axes start at zero, every axis has its unit, intervals are drawn where there are any. A cell that is not OK has no bar
but its status in words.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mi50.bench.roofline import MI50_BANDWIDTH_GBS

from .rows import Row
from .samples import Trace
from .tables import digits

# Okabe and Ito's colours, told apart by most colour-blind readers; the light yellow is left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#666666")
# Stand for the page's own colours; put in place of them when the SVG is written.
_INK, _GRID, _GROUND = "#010203", "#040506", "#070809"
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "path",
}
_WIDTH = 10.5  # inches
_BAR, _GAP, _EDGES = 0.20, 0.16, 1.1  # inches: one bar, between tasks, title and axis


def series_name(row: Row, rows: Sequence[Row]) -> str:
    """Return what tells this row's engine apart from the others in one plot."""
    parts = [row.engine]
    if len({other.node for other in rows}) > 1:
        parts.append(row.node)
    if len({other.run.run_id for other in rows}) > 1:
        parts.append(row.run.run_id)
    return " · ".join(parts)


Palette = dict[str, str]


def palette(rows: Sequence[Row]) -> Palette:
    """Return one colour for each engine of the report, the same in every plot."""
    names = dict.fromkeys(series_name(row, rows) for row in rows)
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}


def bars(rows: Sequence[Row], everything: Sequence[Row], title: str) -> str | None:
    """Return prefill and decode of every task as bars with intervals; None without any figure.

    Names and colours are those of the whole report (`everything`).
    """
    rows = [row for row in rows if row.task["probe"] == "task"]
    if not any(row.headline(which) for row in rows for which in ("prefill", "decode")):
        return None
    colours = palette(everything)
    tasks = list(dict.fromkeys(_label(row) for row in rows))
    present = {series_name(row, everything) for row in rows}
    names = [name for name in colours if name in present]
    height = len(tasks) * (len(names) * _BAR + _GAP) + _EDGES
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, max(2.2, height)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, which in ((left, "prefill"), (right, "decode")):
            for row in rows:
                name = series_name(row, everything)
                y = _centre(tasks.index(_label(row)), len(names)) - (len(names) - 1) / 2 + names.index(name)
                _bar(axes, row, which, y, colours[name])
            _finish_bars(axes, which)
        left.set_yticks([_centre(index, len(names)) for index in range(len(tasks))], tasks)
        left.set_ylim(_centre(len(tasks) - 1, len(names)) + len(names) / 2 + 0.3, -0.8)
        handles = [Patch(color=colours[name], label=name) for name in names]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(names)))
        return _svg(figure, title)


def _label(row: Row) -> str:
    return f"{row.task['id']} ({row.task['mode']})"


def _centre(index: int, names: int) -> float:
    """Middle of a task's group of bars, in bar heights."""
    return index * (names + _GAP / _BAR) + (names - 1) / 2


def _bar(axes: Axes, row: Row, which: str, y: float, colour: str) -> None:
    """One bar; hatched with its status beside it when it does not count, the status alone when there is nothing."""
    figure = row.headline(which)
    if figure is None or figure.median is None:
        _beside(axes, 0, y, row.status if not row.ok else "not known", italic=True)
        return
    if not row.ok:
        axes.barh(y, figure.median, height=0.86, facecolor="none", edgecolor=colour, hatch="////", linewidth=0.8)
        _beside(axes, figure.median, y, f"{digits(figure.median)} {row.status}", italic=True)
        return
    axes.barh(y, figure.median, height=0.86, color=colour)
    end = figure.median
    if figure.low is not None and figure.high is not None:
        error = [[figure.median - figure.low], [figure.high - figure.median]]
        axes.errorbar(figure.median, y, xerr=error, color=_INK, capsize=2.5, linewidth=1)
        end = figure.high
    _beside(axes, end, y, digits(figure.median))


def _beside(axes: Axes, x: float, y: float, words: str, italic: bool = False) -> None:
    style = "italic" if italic else "normal"
    axes.annotate(words, (x, y), (5, 0), textcoords="offset points", va="center", fontsize=8, style=style)


def _finish_bars(axes: Axes, which: str) -> None:
    if not axes.patches:
        axes.set_xticks([])  # a scale of nothing
    # Room for the words at the longest bar.
    axes.set_xlim(0, max(axes.get_xlim()[1] * 1.1, 1e-9))
    axes.set_xlabel(f"{which}, tokens/s")
    axes.grid(axis="x", linewidth=0.6)
    axes.tick_params(axis="y", length=0)


def depth(rows: Sequence[Row], everything: Sequence[Row], title: str) -> str | None:
    """Return decode and prefill against context length with the roofline; None without at least two lengths."""
    rows = [row for row in rows if row.task["probe"] == "depth"]
    if len({row.task["context"] for row in rows}) < 2:
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, which in ((left, "decode"), (right, "prefill")):
            for name, colour in palette(everything).items():
                own = sorted((row for row in rows if series_name(row, everything) == name), key=_tokens)
                _depth(axes, own, which, name, colour)
            _roof(axes, rows, f"{which}_max")
            _finish_depth(axes, which)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
        return _svg(figure, title)


def _depth(axes: Axes, rows: Sequence[Row], which: str, name: str, colour: str) -> None:
    """One engine's line; where a length failed, a cross on the axis and the status."""
    points = [(row, f, f.median) for row in rows if row.ok and (f := row.headline(which)) and f.median is not None]
    if points:
        middles = [middle for _, _, middle in points]
        # A point without an interval gets whiskers of no length.
        low = [middle - (f.low if f.low is not None else middle) for _, f, middle in points]
        high = [(f.high if f.high is not None else middle) - middle for _, f, middle in points]
        style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4, "linewidth": 1.4, "label": name}
        axes.errorbar([_tokens(row) for row, _, _ in points], middles, yerr=[low, high], capsize=2.5, **style)
    for row in rows:
        if not row.ok:
            axes.plot(_tokens(row), 0, color=colour, marker="x", markersize=7, clip_on=False)
            axes.annotate(
                f"{row.status} ({name})",
                (_tokens(row), 0),
                (-7, 6),
                textcoords="offset points",
                ha="right",
                fontsize=7.5,
                bbox={"facecolor": _GROUND, "edgecolor": "none", "pad": 1.0},
            )


def _finish_depth(axes: Axes, which: str) -> None:
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("context, thousand tokens")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}")
    axes.set_ylabel(f"{which}, tokens/s")
    axes.grid(linewidth=0.6)


def _tokens(row: Row) -> float:
    """Length of the whole prompt: as counted, else as asked for."""
    return float(row.cell["tokens"]["prompt"] or row.task["context"])


def _roof(axes: Axes, rows: Sequence[Row], key: str) -> None:
    """What memory and arithmetic allow at each length."""
    roofs = {
        _tokens(row): row.cell["roofline"][key] for row in rows if row.cell["roofline"] and row.cell["roofline"][key]
    }
    if not roofs:
        return
    points = sorted(roofs.items())
    bandwidth = next(
        (row.cell["roofline"]["bandwidth_gbs"] for row in rows if row.cell["roofline"]), MI50_BANDWIDTH_GBS
    )
    label = f"roofline ({bandwidth:g} GB/s)"
    axes.plot([x for x, _ in points], [y for _, y in points], color=_INK, linestyle="--", linewidth=1.1, label=label)


def timeline(traces: Sequence[Trace], title: str) -> str | None:
    """Return temperature, clocks, power and VRAM over a run; None without samples."""
    quantities = [q for q in _PANELS if any(trace.has(name) for trace in traces for name, _ in q[1])]
    if not quantities:
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 1.55 * len(quantities) + 0.6), layout="constrained")
        panels = figure.subplots(len(quantities), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (label, lines, scale) in zip(panels, quantities):
            _panel(axes, traces, label, lines, scale)
        for trace in traces:
            panels[0].annotate(
                trace.label, (trace.start_min, 1.02), xycoords=("data", "axes fraction"), rotation=28, fontsize=7
            )
        panels[-1].set_xlabel("minutes since the run began")
        panels[-1].set_xlim(left=0)
        return _svg(figure, title)


# label of the axis, (key of the samples, name), factor
_PANELS: tuple[tuple[str, tuple[tuple[str, str], ...], float], ...] = (
    ("°C", (("temp_junction", "junction"), ("temp_mem", "memory"), ("temp_edge", "edge")), 1.0),
    ("MHz", (("sclk", "core clock"), ("mclk", "memory clock")), 1.0),
    ("W", (("power", "power"),), 1.0),
    ("GiB", (("vram", "VRAM"), ("gtt", "GTT")), 2.0**-30),
)


def _panel(axes: Axes, traces: Sequence[Trace], label: str, lines: tuple[tuple[str, str], ...], scale: float) -> None:
    for place, (key, name) in enumerate(lines):
        for index, trace in enumerate(traces):
            x, y = trace.points(key)
            if x:
                values = [value * scale for value in y]
                axes.plot(x, values, color=COLOURS[place], linewidth=1.1, label=name if index == 0 else None)
    for trace in traces:
        axes.axvline(trace.start_min, color=_GRID, linewidth=1)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", linewidth=0.6)
    if len(lines) > 1:
        axes.legend(loc="lower right", ncols=len(lines), fontsize=8)


def _svg(figure: Figure, title: str) -> str:
    """Write the figure as an SVG element for an HTML page."""
    buffer = io.StringIO()
    mark = "p" + hashlib.sha256(title.encode()).hexdigest()[:8]
    with mpl.rc_context({"svg.hashsalt": mark}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": title})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = text.replace(_INK, "currentColor").replace(_GRID, "var(--grid)").replace(_GROUND, "var(--ground)")
    # The metadata names addresses of vocabularies; a page that refers to nothing outside has none.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # A hundredth of a point is finer than any screen; six digits only make the page larger.
    text = re.sub(r' d="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match.group()), text)
    # Every plot of a page brings glyphs of the same names: make them this plot's own.
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{mark}-", text)
    # The page decides how large it is; the viewBox keeps the proportions.
    for size in ("width", "height"):
        text = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
