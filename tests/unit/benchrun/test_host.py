"""The order in which a host is measured, on a host of a few lines that keeps a diary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mi50.bench import api
from mi50.bench.settings import SettingsError, Task
from mi50.benchrun.definition import parse
from mi50.benchrun.host import Runner, result
from mi50.benchrun.node import Limits, NodeLost, NodeProblem, Order
from mi50.benchrun.plan import Choice

CELL = {
    "id": "t.fixed",
    "model": "m",
    "task": {
        "id": "t", "prompt": "p", "mode": "fixed", "lang": "en", "max_tokens": 8, "min_tokens": 8, "context": 0,
        "lengths": [],
    },
    "measure": {"repeats": 6, "max_repeats": 12, "warmups": 1},
    "roofline": None,
}  # fmt: skip
SUITE = {"models": {"m": {"name": "m"}}, "cells": [CELL], "images": []}


class Host:
    """Answers like a node; `fails` names calls that raise, once each unless they end in a star."""

    limits = Limits(10, 6, 1, 100)

    def __init__(self, *fails: str) -> None:
        self.fails = list(fails)
        self.diary: list[str] = []
        self.done: dict[str, Any] = {}
        self.said: list[str] = []
        self.baselines: Iterator[str] = iter([])
        self.polls = 0

    def _note(self, what: str) -> None:
        self.diary.append(what)
        for fail in list(self.fails):
            if what.startswith(fail.split("!")[0].rstrip("*")):
                if not fail.endswith("*"):
                    self.fails.remove(fail)
                raise NodeLost("gone") if "!" in fail else NodeProblem("broken")

    def say(self, text: str) -> None:
        self.said.append(text)

    def node(self, action: str, **arguments: Any) -> dict[str, Any]:
        self._note(f"{action} {arguments.get('unit', '')}".strip())
        return {"stopped": [], "started": [], "seconds": 1.0, "missing": []}

    def benchmark(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._note(f"{arguments['action']} {arguments.get('phase', arguments['engine']['name'])}")
        if arguments["action"] == "summary":
            return {
                "cells": [
                    {"fingerprint": mark(arguments), **cell} for cell in self.done.get(arguments["engine"]["name"], [])
                ]
            }
        return {"baseline": {"status": next(self.baselines, "OK"), "reason": "held"}}

    def begin(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._note(f"begin {arguments['engine']['name']}")
        self.last = arguments
        return {"ansible_job_id": "j"}

    def peek(self, job: dict[str, Any]) -> tuple[str, str]:
        return '{"phase": "measure", "rep": 1, "reps": 6}', '{"started": true, "finished": false}' if self.polls else ""

    def poll(self, job: dict[str, Any]) -> dict[str, Any] | None:
        self._note("poll")
        return {"cell": {"status": "OK", "ok": 6, "measured": 6, "headline": {}}}

    def pictures(self) -> dict[str, tuple[str, bytes]]:
        return {}

    def put(self, name: str, data: bytes) -> None:
        self._note(f"put {name}")

    def collect(self) -> None:
        self._note("collect")


def mark(arguments: dict[str, Any]) -> str:
    """What llm_benchmark notes of CELL."""
    call = api.call_of({**arguments, "model": {"requested": "m", "key": "m"}, "measure": CELL["measure"]})
    return call.mark(Task.parse(CELL["task"]))  # type: ignore[arg-type]


class Clock:
    """Time that passes by sleeping."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def runner(host: Host, *names: str, unit: bool = True) -> Runner:
    engines = [
        {"name": name, "url": "http://127.0.0.1:1", "model": "m", **({"unit": f"{name}.service"} if unit else {})}
        for name in names
    ]
    common = {"run": {"id": "r"}, "sysfs_root": "/sys"}
    clock = Clock()
    return Runner(host, Order(parse(engines, {"m": "m"}), SUITE, Choice(), common), clock.sleep, clock)


ONE = ["summary {0}", "stop", "baseline before", "start {0}.service", "baseline loaded"]
CELLS = ["begin {0}", "poll", "collect"]
AFTER = ["stop", "baseline after"]


def expected(*parts: list[str], name: str) -> list[str]:
    return [line.format(name) for part in parts for line in part]


def test_one_engine_after_the_other() -> None:
    host = Host()
    found = runner(host, "a", "b").measure()
    assert host.diary == [
        "prepare",
        *expected(ONE, CELLS, AFTER, name="a"),
        *expected(ONE, CELLS, AFTER, name="b"),
        "restore",
        "collect",
    ]
    assert (found["statuses"], found["problems"], found["lost"]) == ({"OK": 2}, [], False)


def test_without_a_card_no_memory_is_asked_for() -> None:
    host = Host()
    engines = [{"name": name, "url": "http://h:1", "model": "m", "unit": f"{name}.service"} for name in ("a", "b")]
    common = {"run": {"id": "r"}, "gpu": "none"}
    Runner(host, Order(parse(engines, {"m": "m"}), SUITE, Choice(), common), Clock().sleep).measure()
    assert host.diary == [
        "prepare",
        *expected(["summary {0}", "stop", "start {0}.service"], CELLS, name="a"),
        *expected(["summary {0}", "stop", "start {0}.service"], CELLS, name="b"),
        "restore",
        "collect",
    ]


def test_a_server_that_runs_already_is_left_alone() -> None:
    host = Host()
    runner(host, "a", unit=False).measure()
    assert "stop" not in host.diary and "baseline before" not in host.diary and "restore" not in host.diary
    assert host.diary[:4] == ["prepare", "summary a", "start", "baseline loaded"]


def test_an_engine_that_does_not_start_keeps_its_place_in_the_table() -> None:
    host = Host("start a.service")
    found = runner(host, "a", "b").measure()
    assert found["statuses"] == {"OK": 2}, "the cells are asked for all the same"
    assert found["problems"] == ["a: broken"]
    assert "begin b" in host.diary


def test_a_dead_server_is_not_waited_for() -> None:
    host = Host("start a.service")
    runner(host, "a").measure()
    assert host.last["measure"]["load_timeout"] < 10
    host = Host()
    runner(host, "a").measure()
    assert 10 < host.last["measure"]["load_timeout"] < 60, "a server that dies in between is not loading"


def test_a_failing_cell_call_still_restores_and_collects() -> None:
    host = Host("begin a")
    found = runner(host, "a", "b").measure()
    assert found["problems"] == ["broken"]
    assert host.diary[-2:] == ["restore", "collect"]


def test_a_host_that_goes_away_is_reported_not_raised() -> None:
    host = Host("begin a!")
    found = runner(host, "a").measure()
    assert found["lost"] and found["problems"] == ["the host went away: gone"]
    assert "restore" not in host.diary, "there is nobody to ask"


def test_a_broken_connection_does_not_lose_the_cell() -> None:
    host = Host("poll!", "poll!", "poll!")
    found = runner(host, "a").measure()
    assert (found["statuses"], found["lost"]) == ({"OK": 1}, False)
    assert host.diary.count("begin a") == 1


def test_a_host_is_given_up_after_a_while() -> None:
    host = Host("poll!*")
    found = runner(host, "a").measure()
    assert found["lost"]
    assert 90 <= host.diary.count("poll") <= 110


def test_an_engine_that_is_through_is_not_started() -> None:
    host = Host()
    host.done["a"] = [{"cell_id": "m.t.fixed.en", "status": "TRUNCATED"}]
    found = runner(host, "a").measure()
    assert host.diary == ["prepare", "summary a", "restore", "collect"]
    assert found["statuses"] == {"TRUNCATED": 1}


@pytest.mark.parametrize(
    ("measure", "words"), [({"repeat": 3}, "measure.repeat is unknown"), ({"thermal": "hot"}, "hot")]
)
def test_what_llm_benchmark_would_refuse_is_said_before_anything_is_asked(measure: dict[str, Any], words: str) -> None:
    host = Host()
    order = Order(
        parse([{"name": "a", "url": "http://h:1", "model": "m"}], {"m": "m"}),
        SUITE,
        Choice(0, 0, measure),
        {"run": {"id": "r"}},
    )
    with pytest.raises(SettingsError, match=words):
        Runner(host, order)
    assert host.diary == []


def test_an_engine_that_was_changed_meanwhile_is_measured_again() -> None:
    host = Host()
    host.done["a"] = [{"cell_id": "m.t.fixed.en", "status": "OK", "fingerprint": "of another model"}]
    assert runner(host, "a").measure()["statuses"] == {"OK": 1}
    assert "begin a" in host.diary


@pytest.mark.parametrize(
    "status", ["TIMEOUT_CONNECT", "SERVER_DIED", "HTTP_503_LOADING", "DIRTY_BASELINE", "GPU_RESET"]
)
def test_a_cell_that_never_met_its_server_is_tried_again(status: str) -> None:
    host = Host()
    host.done["a"] = [{"cell_id": "m.t.fixed.en", "status": status}]
    runner(host, "a").measure()
    assert "begin a" in host.diary


def test_vram_is_waited_for() -> None:
    host = Host()
    host.baselines = iter(["DIRTY_BASELINE", "DIRTY_BASELINE", "OK"])
    runner(host, "a").measure()
    assert host.diary[3:7] == ["baseline before"] * 3 + ["start a.service"]
    assert not any("dirty" in line for line in host.said)


def test_vram_that_is_not_given_back_is_said() -> None:
    host = Host()
    host.baselines = iter(["DIRTY_BASELINE"] * 3)
    runner(host, "a").measure()
    assert "a: dirty VRAM baseline: held" in host.said


def test_the_plan_asks_nobody() -> None:
    host = Host()
    plan = runner(host, "a", "b").plan()
    assert host.diary == []
    assert [(p["engine"], p["stops"], p["cells"]) for p in plan] == [
        ("a", ["b.service"], ["t.fixed"]),
        ("b", ["a.service"], ["t.fixed"]),
    ]


def test_restoring_alone() -> None:
    host = Host()
    runner(host, "a").restore()
    assert host.diary == ["restore"]


def test_a_result_is_one_line() -> None:
    figure = {"median": 12.34, "unit": "tok/s"}
    record = {"status": "OK", "ok": 6, "measured": 6, "headline": {"prefill": figure, "decode": {"median": None}}}
    assert result(record) == "OK, prefill 12.3 tok/s, 6 of 6 requests OK"
    assert result({"status": "SHORT", "reject_reason": "why"}) == "SHORT: why, 0 of 0 requests OK"
