"""The Grafana dashboard asks for metrics that the daemon and the guardian write, and for no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

FILES = Path(__file__).resolve().parents[3] / "roles/fan_control/files"


def test_every_metric_is_written_by_somebody() -> None:
    dashboard = json.loads((FILES / "grafana/mi50-fans.json").read_text())
    daemon = re.findall(r'^ {8}\("([a-z_]+)", "(?:gauge|counter)"', (FILES / "mi50_fand/metrics.py").read_text(), re.M)
    guardian = re.findall(r"# TYPE (mi50_fan_guardian_\w+)", (FILES / "failsafe/mi50-fan-guardian").read_text())
    written = {f"mi50_fand_{name}" for name in daemon} | set(guardian)
    asked = set(re.findall(r"mi50_fan[a-z]*_[a-z_]+", json.dumps(dashboard["panels"])))
    assert len(written) > 10
    assert asked
    assert asked <= written


def test_panels_do_not_overlap() -> None:
    panels = json.loads((FILES / "grafana/mi50-fans.json").read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
