"""The roles' questions asked in the preflight's call: a node that lacks nothing costs no call of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mi50.preflight import also

from lab.sysfs import build

POWER = {
    "cap_watts": None,
    "level": None,
    "cards": {},
    "files": [],
    "unit": "mi50-gpu-power.service",
    "fan_runtime": "/nonexistent",
}


def asked(tmp_path: Path, enabled: str) -> dict[str, dict[str, Any]]:
    build(tmp_path / "sys", "one-mi50-fan")
    listed = tmp_path / "list"
    listed.write_text("# Managed by Ansible (role gpu_power): PCI address, cap in microwatts, level\n")
    listed.chmod(0o644)
    fan = {"files": [], "package": "/nonexistent", "enabled": ["a.timer"], "active": ["a.timer"], "mapped": False}
    rest = {"config": "/nonexistent", "heartbeat": "/nonexistent", "proc_root": "/proc"}
    power = {**POWER, "list": str(listed), "sysfs_root": str(tmp_path / "sys")}

    def run(command: list[str]) -> tuple[int, str]:
        names = command[command.index("--") + 1 :]
        states = (("active", enabled) if name in ("a.timer", POWER["unit"]) else ("inactive", "") for name in names)
        blocks = (f"LoadState=loaded\nActiveState={a}\nUnitFileState={e}\nNeedDaemonReload=no" for a, e in states)
        return 0, "\n\n".join(blocks)

    questions = {"fan_info": {**fan, **rest, "sysfs_root": str(tmp_path / "sys")}, "gpu_power_info": power}
    return also.ask(questions, run)


def test_both_are_answered_when_settled(tmp_path: Path) -> None:
    answers = asked(tmp_path, "enabled")
    assert answers["fan_info"] == {"settled": True, "chips": [{"name": "nct6798"}]}
    assert answers["gpu_power_info"] == {"settled": True}


def test_neither_is_when_something_is_left_to_do(tmp_path: Path) -> None:
    assert asked(tmp_path, "disabled") == {}


@pytest.mark.parametrize("name", ["fan_info", "gpu_power_info"])
def test_roles_that_are_off_ask_nothing(name: str) -> None:
    assert also.ask({name: {}}, lambda command: (1, "")) == {}
