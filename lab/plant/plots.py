"""Runs the laws and draws them.

`python -m lab.plant plots` writes docs/images/cooling-*.svg and the table of docs/cooling.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from lab.plant.laws import FancontrolLike, Fand, Law, Load, Row, ThinkfanLike, first_above, mean, peak, travel
from lab.plant.rig import IDLE

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tests" / "fixtures" / "fand" / "one-card.json"
DOCUMENT = ROOT / "docs" / "cooling.md"
IMAGES = ROOT / "docs" / "images"
LIMIT, EMERGENCY = 105.0, 110.0
DIES_AT = 60.0
COLOURS = {"mi50-fand": "#0b6e4f", "fancontrol-like": "#b5651d", "thinkfan-like": "#3c5a99"}


class Case:
    """One scenario: a load over time, and whether the blower dies."""

    def __init__(self, key: str, title: str, seconds: float, load: Load, dies_at: float | None = None) -> None:
        """`key` names the picture."""
        self.key = key
        self.title = title
        self.seconds = seconds
        self.load = load
        self.dies_at = dies_at


def full(second: float) -> float:
    """225 W for ever."""
    return 225.0


def bursts(second: float) -> float:
    """12 s on, 12 s off."""
    return 225.0 if second % 24 < 12 else IDLE


CASES = (
    Case("step", "Load step 20 W to 225 W", 600, full),
    Case("burst", "Bursts: 225 W for 12 s, 20 W for 12 s", 600, bursts),
    Case("dead-blower", "Blower dies at 60 s, 225 W", 400, full, DIES_AT),
)


def document() -> dict[str, Any]:
    """The example with paths that nothing is written to."""
    data: dict[str, Any] = json.loads(EXAMPLE.read_text())
    data["paths"] = {"runtime": "/proc/nonexistent", "metrics": "", "wanted_caps": "/proc/nonexistent"}
    return data


def laws() -> list[Law]:
    """A fresh one of each."""
    return [Fand(document()), FancontrolLike(), ThinkfanLike()]


def outcome(law: Law, rows: list[Row]) -> str:
    """What became of a card whose blower died."""
    parts = []
    if isinstance(law, Fand):
        if law.capped is not None:
            parts.append(f"cap after {law.capped - DIES_AT:.0f} s")
        parts += [f"{words[1]} after {when - DIES_AT:.0f} s" for when, words in law.orders]
    over = first_above(rows, EMERGENCY)
    parts.append("never at 110 °C" if over is None else f"110 °C after {over - DIES_AT:.0f} s, the card's own shutdown")
    return ", ".join(parts)


def results() -> dict[str, list[tuple[Law, list[Row]]]]:
    """Every law in every case."""
    return {case.key: [(law, law.run(case.seconds, case.load, case.dies_at)) for law in laws()] for case in CASES}


def table(data: dict[str, list[tuple[Law, list[Row]]]]) -> str:
    """The Markdown table."""
    head = "| law | step: peak / mean duty | bursts: peak / mean duty / noise travel | blower dies: peak | outcome |"
    lines = [head, "|---|---|---|---|---|"]
    for number, (law, step) in enumerate(data["step"]):
        burst, (fatal, dead) = data["burst"][number][1], data["dead-blower"][number]
        # A card at its emergency temperature cuts its own power; the model does not, so the number stops there.
        worst = f"{peak(dead):.0f} °C" if peak(dead) < EMERGENCY else "110 °C, cut"
        lines.append(
            f"| {law.name} | {peak(step):.0f} °C / {mean(step):.0f} % "
            f"| {peak(burst):.0f} °C / {mean(burst):.0f} % / {travel(burst):.1f} | {worst} | {outcome(fatal, dead)} |"
        )
    return "\n".join(lines)


def draw(case: Case, runs: list[tuple[Law, list[Row]]], target: Path) -> None:
    """Junction above, duty below."""
    mpl.use("svg")
    # The same bytes at each run: no date, no random ids.
    mpl.rcParams.update({"svg.hashsalt": "mi50-fand", "svg.fonttype": "none", "font.size": 9})
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5), height_ratios=(2, 1))
    for law, rows in runs:
        shown = [row for row in rows if row.junction <= EMERGENCY + 2]
        shown = shown if len(shown) == len(rows) else rows[: rows.index(shown[-1]) + 1]
        above.plot([r.time for r in shown], [r.junction for r in shown], label=law.name, color=COLOURS[law.name])
        below.plot([r.time for r in rows], [r.duty for r in rows], color=COLOURS[law.name])
    above.axhline(LIMIT, color="#a00", linewidth=0.8, linestyle="--")
    above.text(0, LIMIT + 0.5, "critical 105 °C", color="#a00", fontsize=7)
    above.set_ylabel("junction, °C")
    above.set_title(case.title)
    above.legend(loc="lower right", frameon=False)
    below.set_ylabel("duty, %")
    below.set_ylim(0, 105)
    below.set_xlabel("s")
    for axis in (above, below):
        axis.grid(visible=True, color="#ddd", linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)


def insert(mark: str, text: str, path: Path = DOCUMENT) -> None:
    """Put a text between `<!-- MARK:begin -->` and its end. Raises ValueError when the marks are missing."""
    pattern = re.compile(rf"(<!-- {mark}:begin -->\n).*?(<!-- {mark}:end -->)", re.DOTALL)
    content = path.read_text()
    if not pattern.search(content):
        raise ValueError(f"{path.name} has no marks for {mark}")
    replacement: Callable[[re.Match[str]], str] = lambda match: f"{match[1]}{text}\n{match[2]}"  # noqa: E731 - one line
    path.write_text(pattern.sub(replacement, content))


def write() -> str:
    """Draw everything and write the table; returns the table."""
    data = results()
    IMAGES.mkdir(exist_ok=True)
    for case in CASES:
        draw(case, data[case.key], IMAGES / f"cooling-{case.key}.svg")
    text = table(data)
    insert("laws", text)
    return text
