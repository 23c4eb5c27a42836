"""The page of `script/lab gateway-cost`: figures as they came, one place to put them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import gateway_cost
from lab.gateway_cost import MARKS, PAGE, Seen
from lab.settings import LabError

ROOT = Path(__file__).resolve().parents[3]
DIRECT = Seen(5.2, 5.1, 5.4, 200.0, "")
ROWS = [(DIRECT, Seen(5.8, 5.6, 6.1, 199.9, "")), (DIRECT, Seen(6.0, None, None, None, "bursts"))]


def test_the_page_says_what_was_measured() -> None:
    text = gateway_cost._page(ROWS, "2.6.12", 0.4)
    assert "| 1 | 5.2 ms [5.1, 5.4] | 5.8 ms [5.6, 6.1] | 0.6 ms | 200.00 tok/s | 199.90 tok/s |" in text
    assert "| 2 | 5.2 ms [5.1, 5.4] | 6.0 ms | 0.8 ms | 200.00 tok/s | none: bursts |" in text
    assert "0.7 ms later, and decode differs by 0.05%" in text


def test_the_table_has_one_place_in_the_docs(tmp_path: Path) -> None:
    page = tmp_path / "gateway.md"
    page.write_text((ROOT / PAGE).read_text())
    gateway_cost._write(page, "new\n")
    assert page.read_text().count(MARKS[0] + "new\n" + MARKS[1]) == 1
    page.write_text("# Without a place\n")
    with pytest.raises(LabError, match="not one place"):
        gateway_cost._write(page, "new\n")
