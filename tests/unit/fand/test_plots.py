"""docs/cooling.md shows what the simulator draws with the daemon of this checkout."""

from __future__ import annotations

from pathlib import Path

from lab.plant import plots


def test_pictures_and_table_are_current(tmp_path: Path) -> None:
    """Otherwise: `python -m lab.plant plots`."""
    data = plots.results()
    assert plots.table(data) in plots.DOCUMENT.read_text(encoding="utf-8")
    for case in plots.CASES:
        name = f"cooling-{case.key}.svg"
        plots.draw(case, data[case.key], tmp_path / name)
        assert (tmp_path / name).read_text() == (plots.IMAGES / name).read_text(), (
            f"{name} is not what it was drawn from"
        )
