"""How long it will still take."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.benchrun.forecast import Forecast, duration


def cell(mode: str = "fixed", max_tokens: int = 100, **changes: Any) -> dict[str, Any]:
    task = {"mode": mode, "max_tokens": max_tokens, "context": 0, "lengths": [], **changes}
    return {"task": task, "measure": {"repeats": 3, "warmups": 1}, "model": {}}


def test_nothing_is_foreseen_before_something_was_measured() -> None:
    forecast = Forecast()
    forecast.expect([cell(), cell()])
    assert forecast.text() == ""
    forecast.done(cell(), None)
    assert forecast.text() == "", "a cell that was measured before teaches nothing"


def test_cells_are_weighed_by_their_tokens() -> None:
    forecast = Forecast()
    forecast.expect([cell(), cell(), cell(max_tokens=300)])
    forecast.done(cell(), 30.0)
    assert forecast.text() == "about 2 min left"  # 4 x 30 s
    forecast.done(cell(), 50.0)
    assert forecast.text() == "about 2 min left"  # 3 x 40 s: sums, no mean of means
    forecast.done(cell(max_tokens=300), 1.0)
    assert forecast.text() == ""


def test_depth_costs_prefill() -> None:
    forecast = Forecast()
    forecast.expect([cell(max_tokens=64), cell(max_tokens=64, context=16 * 192)])
    forecast.done(cell(max_tokens=64), 20.0)
    assert forecast.text() == "about 80 s left"


def test_a_mode_that_was_not_seen_is_not_made_up() -> None:
    """The limit of an answer that ends by itself says little about its length."""
    forecast = Forecast()
    forecast.expect([cell(), cell(), cell("natural", 24576)])
    forecast.done(cell(), 30.0)
    assert forecast.text() == "more than 30 s left"
    forecast.done(cell("natural", 24576), 600.0)
    assert forecast.text() == "about 30 s left"


def test_what_an_engine_cannot_do_takes_no_time() -> None:
    forecast = Forecast()
    cannot = {**cell(), "model": {"unsupported": "why"}}
    forecast.expect([cell(), cannot, cell()])
    forecast.done(cannot, 0.1)
    assert forecast.text() == ""
    forecast.done(cell(), 30.0)
    assert forecast.text() == "about 30 s left"


def test_an_engine_that_is_through_is_taken_off() -> None:
    forecast = Forecast()
    forecast.expect([cell()] * 3)
    forecast.done(cell(), 30.0)
    forecast.drop([cell()])
    assert forecast.text() == "about 30 s left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (5300, "88 min"), (5400, "1 h 30 min"), (10900, "3 h 02 min")],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
