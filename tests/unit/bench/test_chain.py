"""Every status reaches the controller by the whole chain; killed anywhere, a run loses no finished cell."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mi50.bench import baseline, host, record
from mi50.benchrun.host import REDO

from .chain import Host, Killed, Units, runner, suite
from .conftest import PROPS, Bench
from .test_gpu import BDF, put
from .test_statuses import CASES, CUT, always, ending, good
from .virtual import Answer, Clock, Script, Server, timings, usage

Serve = Callable[..., Server]
Make = Callable[..., Host]
CELLS = ("first", "second")
WANTED = {f"m.{name}.fixed.en" for name in CELLS}


@pytest.fixture
def make(
    plugin: Callable[[str, str], ModuleType], roots: host.Roots, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """A host whose servers are ready at once."""
    del bench  # without a kernel log
    module = plugin("library", "benchmark_node")
    monkeypatch.setattr(module, "process_run", module.process_run)
    monkeypatch.setattr(module.ready, "missing", lambda *_all: None)
    return lambda folder, **states: Host(folder, module, Units(**(states or {"a": "active"})), roots)


ENGINE_LIES = always(ending(usage(40, 48, timings=timings(40, 0, 1, 48, 5.0))))
CHAIN: dict[str, tuple[Answer, dict[str, Any], str]] = {
    **CASES,
    record.IMPLAUSIBLE: (ENGINE_LIES, {}, "on the wall clock"),
}


@pytest.mark.parametrize("status", CHAIN)
def test_status(status: str, serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    answer, task, reason = CHAIN[status]
    serve(answer, pages={"/props": PROPS})
    node = make(tmp_path)
    found = runner(node, clock, suite("say", **task), "a").measure()
    assert (found["statuses"], found["problems"], found["cells"]) == ({status: 1}, [], 1)
    (cell,) = map(json.loads, node.cells())
    assert (cell["status"], reason in (cell["reject_reason"] or "")) == (status, True)
    (line,) = [said for said in node.said if said.startswith("a 1/1 say ") and "requests OK" in said]
    assert (status in line, reason in line) == (True, True), line
    assert node.units.states == {"a.service": "active"}


@pytest.mark.parametrize("status", [record.OK, record.TRUNCATED, record.HTTP_503_LOADING, record.HTTP_4XX])
def test_what_another_call_measures_again(status: str, serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    answer, task, _reason = CHAIN[status]
    server = serve(answer, pages={"/props": PROPS})
    node = make(tmp_path)
    for _call in range(2):
        before = len(server.asked)
        runner(node, clock, suite("say", **task), "a").measure()
    assert (len(server.asked) > before) is (status in REDO)
    assert len(node.cells()) == (2 if status in REDO else 1)


def test_a_server_that_nobody_reaches(serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    serve(good, refuse=10**6)
    node = make(tmp_path)
    assert runner(node, clock, suite("say"), "a").measure()["statuses"] == {record.TIMEOUT_CONNECT: 1}


def test_a_server_that_goes_away(serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        if number < 2:
            return good(document, number)
        server.refuse = 10**6
        return CUT, "reset"

    server = serve(answer)
    assert runner(make(tmp_path), clock, suite("say"), "a").measure()["statuses"] == {record.SERVER_DIED: 1}


def test_memory_that_is_not_given_back(
    serve: Serve, make: Make, clock: Clock, roots: host.Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "time", clock)
    server = serve(good)
    device = roots.sysfs / "bus/pci/devices" / BDF
    put(device, mem_info_vram_used=8_600_000_000)
    for name, value in {"vendor": "0x1002", "device": "0x66a1", "class": "0x038000",
                        "mem_info_vram_total": "34342961152"}.items():  # fmt: skip
        (device / name).write_text(value + "\n")
    node = make(tmp_path)
    before = clock.monotonic()
    assert runner(node, clock, suite("say"), "a").measure()["statuses"] == {record.DIRTY_BASELINE: 1}
    assert clock.monotonic() - before > 10, "not waited for"
    assert server.asked == []
    assert any("dirty VRAM baseline" in line for line in node.said)
    assert "8202 MiB of VRAM in use" in json.loads(node.cells()[0])["reject_reason"]


def test_a_model_that_is_not_served(serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    serve(good)
    node = make(tmp_path)
    found = runner(node, clock, suite("say"), "a", unsupported="no 4-bit kernel").measure()
    assert found["statuses"] == {record.UNSUPPORTED: 1}
    assert json.loads(node.cells()[0])["reject_reason"] == "no 4-bit kernel"


STATES = {"a": "active", "b": "inactive"}


def whole(node: Host, states: dict[str, str]) -> None:
    """Every cell of both engines once and OK; the node as it was."""
    cells = [json.loads(line) for line in node.cells()]
    assert Counter((cell["framework"], cell["cell_id"]) for cell in cells) == {
        (engine, cell): 1 for engine in STATES for cell in WANTED
    }
    assert {cell["status"] for cell in cells} == {record.OK}
    assert node.units.states == states
    assert not (node.there / "before.json").exists()
    assert not list(node.here.rglob("*.earlier-*"))


def test_killed_between_any_two_calls(serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    """The controller goes, the node stays: what was measured is neither lost nor measured again."""
    serve(good, pages={"/props": PROPS})
    states = {f"{name}.service": state for name, state in STATES.items()}
    node = make(tmp_path / "all", **STATES)
    runner(node, clock, suite(*CELLS), *STATES).measure()
    whole(node, states)
    assert node.calls > 30
    for last in range(1, node.calls + 1):
        one = make(tmp_path / str(last), **STATES)
        one.left = last
        with pytest.raises(Killed):
            runner(one, clock, suite(*CELLS), *STATES).measure()
        home = one.cells()
        there = {path: path.read_text() for path in (one.there / "r").glob("*.jsonl")} if one.there.exists() else {}
        runner(one, clock, suite(*CELLS), *STATES).measure()
        whole(one, states)
        assert one.cells()[: len(home)] == home or set(home) <= set(one.cells())
        assert all(path.read_text().startswith(text) for path, text in there.items())
        assert all(json.loads(line)["attempt"] == 1 for line in one.cells()), "measured twice"


def test_power_cut_in_any_request(serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    """The cell that was being measured begins again; the finished ones are kept."""
    cut_at = {"n": -1}

    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        if number == cut_at["n"]:
            raise Killed
        return good(document, number)

    requests = 3 * len(CELLS) * len(STATES)  # a warm-up and two repetitions a cell
    for last in range(requests):
        server = serve(answer, pages={"/props": PROPS})
        node = make(tmp_path / str(last), **STATES)
        cut_at["n"] = last
        with contextlib.suppress(Killed):
            runner(node, clock, suite(*CELLS), *STATES).measure()
            pytest.fail("the power stayed on")
        node.units.power_cut()
        cut_at["n"] = -1
        asked = len(server.asked)
        home = node.cells()
        assert len(home) == last // 3
        runner(node, clock, suite(*CELLS), *STATES).measure()
        whole(node, {f"{name}.service": state for name, state in STATES.items()})
        assert set(home) <= set(node.cells())
        assert len(server.asked) - asked == requests - 3 * len(home)


def test_a_picture_is_brought_once(serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    serve(good, pages={"/props": PROPS})
    node = make(tmp_path)
    path = node.there / "images/a.jpg"
    what = suite("say", kind="image", images=[{"path": str(path)}])
    assert runner(node, clock, what, "a").measure()["statuses"] == {record.OK: 1}
    stamp = path.stat().st_mtime_ns
    runner(node, clock, what, "a").measure()
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(b"something else")
    runner(node, clock, what, "a").measure()
    assert path.read_bytes() != b"something else"


def test_one_engine_at_a_time(serve: Serve, make: Make, clock: Clock, tmp_path: Path) -> None:
    """Whatever each request sees: one unit is up, the one that is asked."""
    seen: list[list[str]] = []

    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        seen.append([name for name, state in node.units.states.items() if state == "active"])
        return good(document, number)

    serve(answer, pages={"/props": PROPS})
    node = make(tmp_path, a="active", b="active")
    runner(node, clock, suite("say"), "a", "b").measure()
    assert seen == [["a.service"]] * 3 + [["b.service"]] * 3
    assert node.units.states == {"a.service": "active", "b.service": "active"}
