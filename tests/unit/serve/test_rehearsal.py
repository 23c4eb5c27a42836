"""A version that is rehearsed: it has to pass its checks and to answer once before anything of the service changes."""

from __future__ import annotations

import dataclasses

import pytest
from mi50.serve import service, switch
from mi50.serve.model import Proof, Rehearsal, ServeError

from tests.unit.serve.conftest import IDLE, REHEARSAL, UNIT, Machine


def rehearsed(machine: Machine, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Proof | None:
    monkeypatch.setattr(switch, "_free_port", lambda: machine.port)
    todo = machine.plan(**changes)
    trial = Rehearsal((("it computes", ("/check", "--all")),), ("/usr/bin/llama-server", "--port", "{port}"))
    changed = dataclasses.replace(todo.service, rehearsal=trial)
    return service.apply(todo._replace(service=changed), machine.node)


def place(machine: Machine, *words: str) -> int:
    """When a program with these words was first called."""
    return next(at for at, call in enumerate(machine.calls) if all(word in call for word in words))


def test_checked_then_rehearsed_then_switched(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.apply()
    machine.calls.clear()
    assert rehearsed(machine, monkeypatch, context=2048)
    check, stopped = place(machine, "/check"), place(machine, "stop", UNIT)
    begun, ended = (
        place(machine, f"--unit={REHEARSAL}"),
        max(at for at, call in enumerate(machine.calls) if call[-2:] == ["stop", REHEARSAL]),
    )
    assert check < stopped < begun < ended < place(machine, "restart", "--no-block", UNIT)
    call = machine.calls[begun]
    assert call[call.index("--") + 1 :] == ["/usr/bin/llama-server", "--port", str(machine.port)]
    # Like the service itself, but for what starts it anew.
    assert "--property=User=mi50-llama_cpp" in call and "--property=DevicePolicy=closed" in call
    assert not [word for word in call if word.startswith("--property=Restart")]
    assert "-c 2048" in machine.file(f"/etc/systemd/system/{UNIT}")


def test_a_failed_check_touches_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.apply()
    before = machine.file(f"/etc/systemd/system/{UNIT}")
    machine.calls.clear()
    machine.rehearses = "fails"
    with pytest.raises(ServeError, match=r"it computes: failed \(1\): 17 operations wrong product.*not touched"):
        rehearsed(machine, monkeypatch, context=2048)
    assert not [call for call in machine.calls if call[0] == "systemctl" and "show" not in call]
    assert machine.file(f"/etc/systemd/system/{UNIT}") == before


def test_a_rehearsal_without_an_answer_is_taken_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.apply()
    before = machine.file(f"/etc/systemd/system/{UNIT}")
    machine.rehearses = "never"
    with pytest.raises(ServeError, match=r"rehearsal\.service did not answer within.*The version before serves again"):
        rehearsed(machine, monkeypatch, context=2048)
    assert machine.file(f"/etc/systemd/system/{UNIT}") == before
    assert machine.units[UNIT]["ActiveState"] == "active"
    assert machine.units[REHEARSAL]["ActiveState"] == "inactive"


def test_without_cards_what_serves_is_not_stopped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.root / "usr/share/vulkan/icd.d/lvp_icd.x86_64.json").touch()
    machine.apply(gpus=["none"], allow_software=True)
    machine.calls.clear()
    machine.rehearses = "never"
    with pytest.raises(ServeError, match="was not switched over, and nothing of it was changed"):
        rehearsed(machine, monkeypatch, gpus=["none"], allow_software=True, context=2048)
    assert not [call for call in machine.calls if call[0] == "systemctl" and UNIT in call and "show" not in call]


def test_a_first_version_is_rehearsed_as_well(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.rehearses = "never"
    with pytest.raises(ServeError, match="there was no version before that answered"):
        rehearsed(machine, monkeypatch)
    assert not (machine.root / f"etc/systemd/system/{UNIT}").exists()
    machine.rehearses, machine.loading = "", False
    machine.vram(IDLE)
    assert rehearsed(machine, monkeypatch)
