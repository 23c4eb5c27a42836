"""The health program: what it finds, what it mends, and what it leaves alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from mi50.serve import health, unit

from tests.unit.serve.conftest import LOADED, PCI, UNIT, Machine

Check = Callable[..., dict[str, Any]]


class Systemd:
    """What the health program asks systemd."""

    def __init__(self) -> None:
        self.state = {"ActiveState": "active", "InvocationID": "one", "NRestarts": "0"}
        self.since = 1000.0
        self.restarted = 0
        self.heals: Callable[[], object] = lambda: None

    def run(self, argv: list[str]) -> str:
        if argv[1] == "restart":
            self.restarted += 1
            self.state["InvocationID"] = f"after {self.restarted}"
            self.since = 0.0
            self.heals()
        entered = (time.monotonic() - self.since) * 1e6
        known = {**self.state, "ActiveEnterTimestampMonotonic": str(int(entered))}
        return "\n".join(f"{key}={value}" for key, value in known.items())


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    found = Systemd()
    monkeypatch.setattr(health, "_run", found.run)
    monkeypatch.setattr(health, "_AGAIN", 0.01)
    return found


@pytest.fixture
def check(machine: Machine) -> Check:
    """One look; the service is installed and was ready once."""
    machine.apply()

    def look(**changes: Any) -> dict[str, Any]:
        config = json.loads(unit.configuration(machine.plan().service, machine.node))
        places = {"key_file": machine.root / config["key_file"][1:], "run_dir": machine.root / "run/mi50"}
        places["state_dir"] = machine.root / "var/lib/mi50"
        quick = {"interval": 0, "live_timeout": 20, "load_timeout": 100}
        return health.check({**config, **{name: str(path) for name, path in places.items()}, **quick, **changes})

    return look


def test_it_answers(machine: Machine, check: Check, systemd: Systemd) -> None:
    found = check()
    assert (found["state"], found["tokens_per_second"], found["heals"]) == ("ready", 50.0, [])
    asked = machine.completions
    # Until the next completion is due, the cheap questions do.
    assert check()["state"] == "ready"
    assert machine.completions == asked
    assert systemd.restarted == 0


def test_a_busy_server_is_not_asked_for_more(machine: Machine, check: Check, systemd: Systemd) -> None:
    check()
    machine.busy, asked = True, machine.completions
    assert check(completion_every=1e-9)["state"] == "ready"
    machine.busy = False
    assert machine.completions == asked
    assert check(completion_every=1e-9)["state"] == "ready"
    assert machine.completions == asked + 1


def test_a_hang_is_mended(machine: Machine, check: Check, systemd: Systemd) -> None:
    check()
    machine.hangs = True
    systemd.heals = lambda: setattr(machine, "hangs", False)
    found = check(interval=60, live_timeout=1)
    assert found["heals"][0]["state"] == "hung"
    assert found["heals"][0]["seconds"] >= 0
    assert (found["state"], systemd.restarted) == ("ready", 1)


WAITS, STARTED = {"ActiveState": "activating", "SubState": "auto-restart"}, {"InvocationID": "by systemd"}


@pytest.mark.parametrize(
    ("change", "before"), [(WAITS, True), (WAITS, False), (STARTED, False)], ids=["waits", "ended", "started"]
)
def test_a_start_by_systemd_is_left_alone(
    machine: Machine,
    check: Check,
    systemd: Systemd,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    before: bool,
) -> None:
    """A server that was killed: systemd waits RestartSec=, then starts it; the timer looks at any moment of that."""
    check()
    machine.hangs = True
    if before:
        systemd.state.update(change)
    else:
        sleep = time.sleep
        own = SimpleNamespace(
            time=time.time,
            monotonic=time.monotonic,
            sleep=lambda seconds: (systemd.state.update(change), sleep(min(seconds, 0.01)))[1],
        )
        monkeypatch.setattr(health, "time", own)
    found = check(live_timeout=1)
    assert (found["state"], systemd.restarted, found["heals"]) == ("loading", 0, [])
    assert "systemd starts it anew" in found["text"]


def test_an_answer_says_nothing_of_a_server_that_was_started_since(
    machine: Machine, check: Check, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    check()
    ask = health.probe.look

    def look(config: dict[str, Any], *, completion: bool) -> health.Answer | None:
        found = ask(config, completion=completion)
        systemd.state["InvocationID"] = "two"
        return found

    monkeypatch.setattr(health.probe, "look", look)
    assert check()["state"] == "loading"
    asked = machine.completions
    assert check()["state"] == "ready"
    assert machine.completions == asked + 1, "the new server was not put to the proof"
    assert systemd.restarted == 0


def test_an_unloaded_model_is_mended(machine: Machine, check: Check, systemd: Systemd) -> None:
    check()
    machine.loaded = ""
    systemd.heals = lambda: setattr(machine, "loaded", "small")
    found = check(interval=30)
    assert (found["state"], found["heals"][0]["state"]) == ("ready", "unloaded")


def test_a_fall_to_the_cpu_is_mended_and_given_up(machine: Machine, check: Check, systemd: Systemd) -> None:
    check()
    machine.vram(0)
    for number in range(1, 6):
        found = check()
        assert (found["state"], systemd.restarted) == ("cpu", min(number, health.HEALS))
        assert PCI in found["text"]
    assert "which did not help" in found["text"]
    machine.vram(LOADED)
    assert check()["state"] == "ready"


def test_one_miss_is_none(machine: Machine, check: Check, systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    check()
    machine.hangs = True
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        machine.hangs = False

    own = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr(health, "time", own)
    assert check(live_timeout=1)["state"] == "ready"
    assert (waited, systemd.restarted) == ([health._AGAIN], 0)


def test_loading_takes_its_time(machine: Machine, check: Check, systemd: Systemd) -> None:
    machine.loading, systemd.since = True, 5.0
    assert check()["state"] == "loading"
    systemd.since = 1000.0
    assert check()["state"] == "loading"  # the server itself says so, and the next line what that ends with
    machine.loading, machine.hangs = False, True
    assert check(live_timeout=1)["state"] == "hung"
    assert systemd.restarted == 1


@pytest.mark.parametrize(("active", "state"), [("inactive", "stopped"), ("failed", "failed")])
def test_what_does_not_run_is_left_so(check: Check, systemd: Systemd, active: str, state: str) -> None:
    systemd.state["ActiveState"] = active
    assert (check()["state"], systemd.restarted) == (state, 0)


def test_a_wrong_key_is_told_and_no_reason_to_restart(machine: Machine, check: Check, systemd: Systemd) -> None:
    machine.loaded = "small"
    path = machine.root / "other"
    path.write_text("another-key-0123456789\n")
    found = check(key_file=str(path))
    assert (found["state"], systemd.restarted) == ("refused", 0)
    assert "another-key" not in json.dumps(found)


def test_command_line(machine: Machine, systemd: Systemd, capsys: pytest.CaptureFixture[str]) -> None:
    machine.apply()
    config = json.loads(machine.file("/etc/mi50-aipc/serve/llama_cpp.json"))
    config.update(key_file=str(machine.root / config["key_file"][1:]), interval=0)
    config.update(run_dir=str(machine.root / "run/x"), state_dir=str(machine.root / "var/x"))
    path = machine.root / "config.json"
    path.write_text(json.dumps(config))
    assert health.main(["check", str(path)]) == 0
    assert health.main(["status", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("ready: it answers")
    assert json.loads(printed.split("\n", 1)[1])[0]["unit"] == UNIT
    systemd.state["ActiveState"] = "failed"
    assert health.main(["check", str(path)]) == 1
    assert health.main([]) == 2
