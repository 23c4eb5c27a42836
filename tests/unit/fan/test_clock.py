"""A beat of this very moment may look younger than now: the kernel rounds /proc/uptime down. An old one is old."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.fan import question


@pytest.mark.parametrize(("age", "found"), [(-0.01, False), (0.0, False), (9.9, False), (10.1, True), (-1.5, True)])
def test_age_of_the_last_cycle(age: float, found: bool) -> None:
    result: dict[str, Any] = {"units": {}, "heartbeat": {"age_s": age, "state": "ok"}}
    problems = question.problems(result, [], [], mapped=True)
    assert bool([line for line in problems if "last completed cycle" in line]) is found
