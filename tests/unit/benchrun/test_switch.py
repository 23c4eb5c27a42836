"""One engine at a time, on a systemd of a few lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mi50.benchrun.switch import Switch, SwitchError
from mi50.process import Finished


class Systemd:
    """Units by name: their state, and what starting them leads to."""

    def __init__(self, **states: str) -> None:
        self.states = {f"{name}.service": state for name, state in states.items()}
        self.leads_to: dict[str, str] = {}
        self.restarts: dict[str, int] = {}
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, argv: list[str], timeout: float) -> Finished:
        if argv[0] == "journalctl":
            return Finished(0, b"line one\nout of memory\n", b"")
        verb, name = argv[1], argv[-1]
        self.calls.append((verb, name))
        if verb == "show":
            state = self.states.get(name)
            load = "loaded" if state else "not-found"
            text = f"LoadState={load}\nActiveState={state}\nSubState=x\nNRestarts={self.restarts.get(name, 0)}\n"
            return Finished(0, text.encode(), b"")
        if verb == "stop":
            self.states[name] = "inactive"
        if verb == "start":
            self.states[name] = self.leads_to.get(name, "active")
        return Finished(0, b"", b"")


class Clock:
    """Time that passes by sleeping."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


Make = Callable[[Systemd], Switch]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    clock = Clock()
    return lambda systemd: Switch(tmp_path / "before.json", systemd, clock.sleep, clock)


def test_what_ran_before_runs_again(make: Make) -> None:
    systemd = Systemd(a="active", b="inactive", c="active")
    switch = make(systemd)
    assert switch.stop_all(["a.service", "b.service", "c.service"], "r") == ["a.service", "c.service"]
    switch.start("b.service")
    assert systemd.states == {"a.service": "inactive", "b.service": "active", "c.service": "inactive"}
    assert switch.restore() == {"started": ["a.service", "c.service"], "stopped": ["b.service"]}
    assert systemd.states == {"a.service": "active", "b.service": "inactive", "c.service": "active"}
    assert switch.remembered() is None


def test_a_second_stop_does_not_forget(make: Make) -> None:
    systemd = Systemd(a="active", b="inactive")
    make(systemd).stop_all(["a.service", "b.service"], "r")
    systemd.states["b.service"] = "active"
    # As after a kill: another process, the engine under test still up.
    make(systemd).stop_all(["a.service", "b.service"], "r")
    assert make(systemd).remembered() == {
        "run_id": "r",
        "units": ["a.service", "b.service"],
        "was_active": ["a.service"],
    }


def test_an_engine_that_joins_later_is_remembered_too(make: Make) -> None:
    systemd = Systemd(a="active", b="active")
    make(systemd).stop_all(["a.service"], "r")
    make(systemd).stop_all(["a.service", "b.service"], "r")
    assert (make(systemd).remembered() or {})["was_active"] == ["a.service", "b.service"]


def test_nothing_to_restore(make: Make) -> None:
    assert make(Systemd()).restore() == {"started": [], "stopped": []}


def test_a_unit_that_does_not_exist_stops_nothing(make: Make) -> None:
    systemd = Systemd(a="active")
    with pytest.raises(SwitchError, match=r"no unit gone\.service"):
        make(systemd).stop_all(["a.service", "gone.service"], "r")
    assert systemd.states["a.service"] == "active"


def test_a_unit_that_something_restarts(make: Make) -> None:
    class Stubborn(Systemd):
        def __call__(self, argv: list[str], timeout: float) -> Finished:
            done = super().__call__(argv, timeout)
            self.states["a.service"] = "active"
            return done

    with pytest.raises(SwitchError, match=r"a\.service runs again right after"):
        make(Stubborn(a="active")).stop_all(["a.service"], "r")


def test_waiting_for_a_server(make: Make) -> None:
    answers = iter(["refused", "503", None])
    assert make(Systemd(a="active")).wait("a.service", lambda: next(answers), 60) == 1.0


def test_a_server_that_never_answers(make: Make) -> None:
    with pytest.raises(SwitchError, match=r"not ready within 5 s: refused; its log ends: .*out of memory"):
        make(Systemd(a="active")).wait("a.service", lambda: "refused", 5)


@pytest.mark.parametrize("state", ["failed", "inactive"])
def test_a_unit_that_fails_is_not_waited_for(make: Make, state: str) -> None:
    with pytest.raises(SwitchError, match=rf"a\.service did not start \({state}\): line one \| out of memory"):
        make(Systemd(a=state)).wait("a.service", lambda: "refused", 600)


def test_a_unit_that_is_started_over_and_over(make: Make) -> None:
    systemd = Systemd(a="activating")
    systemd.restarts["a.service"] = 3
    with pytest.raises(SwitchError, match="did not start"):
        make(systemd).wait("a.service", lambda: "refused", 600)


def test_an_engine_that_does_not_come_back_is_named(make: Make) -> None:
    systemd = Systemd(a="active")
    switch = make(systemd)
    switch.stop_all(["a.service"], "r")
    systemd.leads_to["a.service"] = "failed"
    with pytest.raises(SwitchError, match=r"a\.service ran before the benchmark and does not start"):
        switch.restore()
    assert switch.remembered() is not None, "forgotten although it does not run"


def test_a_broken_marker_is_not_guessed_at(make: Make, tmp_path: Path) -> None:
    (tmp_path / "before.json").write_text(json.dumps({"units": 3}))
    with pytest.raises(SwitchError, match=r"before\.json cannot be read"):
        make(Systemd(a="active")).restore()


def test_no_systemd(make: Make) -> None:
    def absent(argv: list[str], timeout: float) -> Finished:
        raise FileNotFoundError(argv[0])

    with pytest.raises(SwitchError, match="no systemd"):
        Switch(Path("/nonexistent/before.json"), absent).look(["a.service"])
