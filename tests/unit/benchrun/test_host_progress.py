"""What a user sees while a host is measured, and what is said of its end."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.benchrun.definition import parse
from mi50.benchrun.host import Runner
from mi50.benchrun.node import Order
from mi50.benchrun.plan import Choice

from tests.unit.benchrun.test_host import CELL, SUITE, Clock, Host, runner


def test_progress_is_shown_once_a_step_and_what_is_left_after_each_cell() -> None:
    """Two cells of one kind: the first one teaches what the second will take."""
    second = {**CELL, "id": "u.fixed", "task": {**CELL["task"], "id": "u"}}  # type: ignore[dict-item]

    class Slow(Host):
        def peek(self, job: dict[str, Any]) -> tuple[str, str]:
            self.polls += 1
            return super().peek(job)

        def poll(self, job: dict[str, Any]) -> dict[str, Any] | None:
            return None if self.polls % 40 else super().poll(job)

    host = Slow()
    clock = Clock()
    engine = {"name": "a", "url": "http://127.0.0.1:1", "model": "m"}
    suite = {**SUITE, "cells": [CELL, second]}
    order = Order(parse([engine], {"m": "m"}), suite, Choice(), {"run": {"id": "r"}})
    assert Runner(host, order, clock.sleep, clock).measure()["statuses"] == {"OK": 2}
    shown = [line for line in host.said if "t.fixed" in line]
    assert shown[0] == "a 1/2 t.fixed measure 1/6"
    assert shown[1].startswith("a 1/2 t.fixed OK, 6 of 6 requests OK; about ")
    assert len(shown) == 2, "the same step was said twice"
    assert [line for line in host.said if "u.fixed" in line][-1] == "a 2/2 u.fixed OK, 6 of 6 requests OK"


def test_an_earlier_calls_cell_is_waited_for() -> None:
    busy = iter([{"phase": "measure", "rep": 1, "reps": 6}] * 3 + [{"phase": "repeat"}])

    class Busy(Host):
        def node(self, action: str, **arguments: Any) -> dict[str, Any]:
            found = super().node(action, **arguments)
            return {**found, "busy": next(busy, None)} if action == "prepare" else found

    host = Busy()
    runner(host, "a").measure()
    assert host.diary.count("prepare") == 5
    assert [line for line in host.said if "earlier run" in line] == [
        "an earlier run still measures a cell, waiting for it: measure 1/6",
        "an earlier run still measures a cell, waiting for it: repeat",
    ]


@pytest.mark.parametrize(("fails", "words"), [("restore", "could not be started again"), ("collect", "collected")])
def test_what_fails_at_the_end_is_a_problem_too(fails: str, words: str) -> None:
    host = Host(f"{fails}*")
    host.done["a"] = [{"cell_id": "m.t.fixed.en", "status": "OK"}]
    found = runner(host, "a").measure()
    assert any(words in problem for problem in found["problems"]), found["problems"]
    assert any(line.startswith("PROBLEM ") for line in host.said)
