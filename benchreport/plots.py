"""The plots, as SVG that takes its colours from the page: legible on a light and on a dark ground.

Axes start at zero, every axis has its unit, intervals are drawn where there are any. A cell that is not OK has no bar
but its status in words.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mi50.bench.roofline import MI50_BANDWIDTH_GBS

from .rows import Row
from .samples import Trace
from .tables import digits

# Okabe and Ito's colours, told apart by most colour-blind readers; the light yellow is left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#666666")
# Stand for the page's own colours; put in place of them when the SVG is written.
_INK, _GRID = "#010203", "#040506"
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


def bars(rows: Sequence[Row], title: str) -> str | None:
    """Return prefill and decode of every task as bars with intervals; None without a task."""
    rows = [row for row in rows if row.task["probe"] == "task"]
    if not rows:
        return None
    tasks = list(dict.fromkeys(_label(row) for row in rows))
    names = list(dict.fromkeys(series_name(row, rows) for row in rows))
    height = len(tasks) * (len(names) * _BAR + _GAP) + _EDGES
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, max(2.2, height)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, which in ((left, "prefill"), (right, "decode")):
            _bars(axes, rows, which, tasks, names)
        left.set_yticks([_centre(index, len(names)) for index in range(len(tasks))], tasks)
        left.invert_yaxis()
        if len(names) > 1:
            handles, labels = right.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(names)))
        return _svg(figure, title)


def _label(row: Row) -> str:
    return f"{row.task['id']} ({row.task['mode']})"


def _centre(index: int, names: int) -> float:
    """Middle of a task's group of bars, in bar heights."""
    return index * (names + _GAP / _BAR) + (names - 1) / 2


def _bars(axes: Axes, rows: Sequence[Row], which: str, tasks: list[str], names: list[str]) -> None:
    drawn = set()
    highest = max(
        [figure.high or figure.median or 0 for row in rows if row.ok and (figure := row.headline(which))] or [1.0]
    )
    for row in rows:
        name = series_name(row, rows)
        place = names.index(name)
        y = _centre(tasks.index(_label(row)), len(names)) - (len(names) - 1) / 2 + place
        figure = row.headline(which)
        label = name if name not in drawn else None
        if not row.ok or figure is None or figure.median is None:
            axes.text(
                highest * 0.01, y, row.status if not row.ok else "not known", va="center", fontsize=8, style="italic"
            )
            continue
        drawn.add(name)
        axes.barh(y, figure.median, height=0.86, color=COLOURS[place % len(COLOURS)], label=label)
        end = figure.median
        if figure.low is not None and figure.high is not None:
            error = [[figure.median - figure.low], [figure.high - figure.median]]
            axes.errorbar(figure.median, y, xerr=error, color=_INK, capsize=2.5, linewidth=1)
            end = figure.high
        axes.text(end + highest * 0.012, y, digits(figure.median), va="center", fontsize=8)
    axes.set_xlim(0, highest * 1.14)
    axes.set_xlabel(f"{which}, tokens/s")
    axes.grid(axis="x", linewidth=0.6)
    axes.tick_params(axis="y", length=0)


def depth(rows: Sequence[Row], title: str) -> str | None:
    """Return decode and prefill against context length with the roofline; None without at least two lengths."""
    rows = [row for row in rows if row.task["probe"] == "depth"]
    if len({row.task["context"] for row in rows}) < 2:
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        _depth(left, rows, "decode", "decode_max")
        _depth(right, rows, "prefill", "prefill_max")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
        return _svg(figure, title)


def _depth(axes: Axes, rows: Sequence[Row], which: str, roof: str) -> None:
    for place, name in enumerate(dict.fromkeys(series_name(row, rows) for row in rows)):
        own = sorted((row for row in rows if series_name(row, rows) == name), key=_tokens)
        colour = COLOURS[place % len(COLOURS)]
        points = [
            (row, figure) for row in own if row.ok and (figure := row.headline(which)) and figure.median is not None
        ]
        x = [_tokens(row) for row, _ in points]
        y = [figure.median or 0.0 for _, figure in points]
        if any(figure.low is not None for _, figure in points):
            low = [
                (figure.median or 0) - (figure.low if figure.low is not None else figure.median or 0)
                for _, figure in points
            ]
            high = [
                (figure.high if figure.high is not None else figure.median or 0) - (figure.median or 0)
                for _, figure in points
            ]
            axes.errorbar(
                x, y, yerr=[low, high], color=colour, marker="o", markersize=4, capsize=2.5, linewidth=1.4, label=name
            )
        else:
            axes.plot(x, y, color=colour, marker="o", markersize=4, linewidth=1.4, label=name)
        for row in own:
            if not row.ok:
                axes.axvline(_tokens(row), color=colour, linewidth=0.8, linestyle=":")
                axes.annotate(
                    row.status,
                    (_tokens(row), 0.02),
                    xycoords=("data", "axes fraction"),
                    rotation=90,
                    fontsize=7.5,
                    ha="right",
                )
    _roof(axes, rows, roof)
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
    """The roofline where it does not flatten the measurement to a line at the bottom, else a remark."""
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
    mark = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    with mpl.rc_context({"svg.hashsalt": mark}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": title})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = text.replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
    # The metadata names addresses of vocabularies; a page that refers to nothing outside has none.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Every plot of a page brings glyphs of the same names: make them this plot's own.
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{mark}-", text)
    escaped = title.replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"<svg ", f'<svg role="img" aria-label="{escaped.replace(chr(34), "&quot;")}" ', text, count=1)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
