"""Plots: honest axes with units, intervals, failures in words; text that does not lie on other text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchreport import plots
from benchreport.records import read
from benchreport.rows import Row, rows
from benchreport.samples import MOST_POINTS, traces
from tests.unit.bench_report.made_up import MadeUp

Drawn = list[Figure]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drawn]:
    """Figures as they are about to be written."""
    seen: Drawn = []
    write: Callable[[Figure, str], str] = plots._svg

    def keep(figure: Figure, title: str) -> str:
        text = write(figure, title)
        seen.append(figure)
        return text

    monkeypatch.setattr(plots, "_svg", keep)
    yield seen


def model(found: list[Row], key: str, weights: str = "11111111") -> list[Row]:
    return [row for row in found if (row.model["key"], row.weights) == (key, weights)]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of words in a figure whose boxes lie on each other."""
    figure.canvas.draw()
    boxes = []
    for axes in figure.axes:
        shown = [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
            # Those beyond the ends of the axis exist and are not drawn.
            shown += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
        for text in shown:
            box = text.get_window_extent()
            # The boxes of slanted words are wider than the words.
            if text.get_text() and text.get_visible() and text.get_rotation() in (0, 90):
                boxes.append((text.get_text(), box.shrunk(0.9, 0.8)))
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[i + 1 :] if one.overlaps(other)]


def test_bars_start_at_zero_and_have_units(fleet_rows: list[Row], drawn: Drawn) -> None:
    assert plots.bars(model(fleet_rows, "gemma3-27b"), fleet_rows, "t")
    left, right = drawn[0].axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("prefill, tokens/s", "decode, tokens/s")
    assert left.get_xlim()[0] == right.get_xlim()[0] == 0
    assert all(bar.get_x() == 0 for axes in (left, right) for bar in axes.patches)
    assert overlapping(drawn[0]) == []


def test_bars_are_the_medians_with_their_intervals(fleet_rows: list[Row], drawn: Drawn) -> None:
    own = [row for row in model(fleet_rows, "qwen3-30b") if row.node == "node2"]
    plots.bars(own, fleet_rows, "t")
    right = drawn[0].axes[1]
    medians = [row.headline("decode").median for row in own]  # type: ignore[union-attr]
    assert [bar.get_width() for bar in right.patches] == medians
    ends = sorted(float(x) for part in right.collections for segment in part.get_segments() for x in segment[:, 0])
    wanted = sorted(v for row in own for v in (row.headline("decode").low, row.headline("decode").high))  # type: ignore[union-attr,type-var]
    assert ends == pytest.approx(wanted)


def test_a_failed_cell_has_its_status_and_one_that_disagrees_a_hatched_bar(fleet_rows: list[Row], drawn: Drawn) -> None:
    plots.bars(model(fleet_rows, "gemma3-27b"), fleet_rows, "t")
    plots.bars(model(fleet_rows, "qwen3-30b"), fleet_rows, "t")
    gemma, qwen = (figure.axes[1] for figure in drawn)
    assert texts(gemma).count("OOM") == 2
    assert len(gemma.patches) == 24 - 2
    hatched = [bar for bar in qwen.patches if bar.get_hatch()]
    assert len(hatched) == 1
    assert any(text.endswith(" DISAGREE") for text in texts(qwen))


def test_an_engine_has_one_colour_in_all_plots(fleet_rows: list[Row]) -> None:
    colours = plots.palette(fleet_rows)
    assert list(colours) == ["llama.cpp · node1", "vllm · node1", "llama.cpp · node2", "lmdeploy · node2"]
    assert len(set(colours.values())) == 4
    alone = plots.bars(model(fleet_rows, "qwen3-30b", "55555555"), fleet_rows, "t")
    assert alone is not None
    assert colours["lmdeploy · node2"] in alone
    assert colours["llama.cpp · node1"] not in alone


def test_nothing_is_drawn_without_figures(fleet_rows: list[Row], tmp_path: Path) -> None:
    assert plots.bars(model(fleet_rows, "gemma3-27b", "55555555"), fleet_rows, "t") is None
    assert plots.depth([row for row in fleet_rows if row.node == "node2"], fleet_rows, "t") is None
    assert plots.bars([], [], "t") is None
    assert plots.timeline([], "t") is None


def test_depth_has_the_roofline_above_every_point(fleet_rows: list[Row], drawn: Drawn) -> None:
    assert plots.depth(model(fleet_rows, "qwen3-30b"), fleet_rows, "t")
    for axes in drawn[0].axes:
        assert axes.get_xlim()[0] == axes.get_ylim()[0] == 0
        assert axes.get_xlabel() == "context, thousand tokens"
        roof = next(line for line in axes.lines if str(line.get_label()).startswith("roofline"))
        top = max(float(y) for line in axes.lines if line is not roof for y in line.get_ydata())  # type: ignore[union-attr]
        assert min(float(y) for y in roof.get_ydata()) > 0  # type: ignore[union-attr]
        assert float(roof.get_ydata()[0]) > top  # type: ignore[index]
        assert texts(axes) == ["TIMEOUT_PREFILL (vllm · node1)"]
    assert overlapping(drawn[0]) == []


def test_the_line_stops_where_a_length_failed(fleet_rows: list[Row], drawn: Drawn) -> None:
    plots.depth(model(fleet_rows, "qwen3-30b"), fleet_rows, "t")
    lengths: dict[str, Any] = {}
    for container in drawn[0].axes[0].containers:
        lengths[str(container.get_label())] = len(container.lines[0].get_xdata())  # type: ignore[attr-defined]
    assert lengths == {"llama.cpp · node1": 3, "vllm · node1": 2}


def test_sensors_over_time(fleet_rows: list[Row], drawn: Drawn) -> None:
    own = [row for row in fleet_rows if (row.node, row.engine) == ("node2", "llama.cpp")]
    problems: list[str] = []
    found = traces(own, problems)
    assert problems == []
    assert len(found) == 16
    assert sum(len(trace.minutes) for trace in found) <= MOST_POINTS * 1.2
    assert [trace.start_min for trace in found[:3]] == [0, 6, 12]
    assert plots.timeline(found, "t")
    panels = drawn[0].axes
    assert [axes.get_ylabel() for axes in panels] == ["°C", "MHz", "W", "GiB"]
    assert panels[-1].get_xlabel() == "minutes since the run began"
    assert all(axes.get_ylim()[0] == 0 for axes in panels)
    assert overlapping(drawn[0]) == []


def test_a_missing_sensor_has_no_panel(tmp_path: Path, drawn: Drawn) -> None:
    MadeUp(tasks=["algebra"]).write(tmp_path, samples=True)
    found = traces(rows(read([tmp_path])), [])
    for trace in found:
        trace.values["power"] = [None] * len(trace.minutes)
    plots.timeline(found, "t")
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["°C", "MHz", "GiB"]


def test_samples_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = MadeUp(tasks=["algebra"]).write(tmp_path, samples=True)
    found = rows(read([tmp_path]))
    samples = [path.parent / row.cell["samples_file"] for row in found]
    samples[0].write_bytes(samples[0].read_bytes()[:200])
    samples[1].unlink()
    problems: list[str] = []
    assert traces(found, problems) == [] or len(problems) == 2
    assert any(f"{samples[0]}: sensor samples cannot be read" in problem for problem in problems)
    assert any(f"{samples[1]}: no such file (1 of 2 files" in problem for problem in problems)


def test_an_svg_refers_to_itself_alone_and_is_the_same_every_time(fleet_rows: list[Row]) -> None:
    own = model(fleet_rows, "qwen3-30b")
    one, other = (plots.bars(own, fleet_rows, "A <b> & c") for _ in range(2))
    assert one == other
    assert one is not None
    assert one.startswith("<svg ")
    assert 'aria-label="A &lt;b&gt; &amp; c"' in one
    assert "#010203" not in one
    assert "#040506" not in one
    assert re.findall(r'href="(?!#)[^"]*"', one) == []
