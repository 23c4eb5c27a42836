"""fan_info and its parts: files, units, rivals, heartbeat, and the settings that become a configuration."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from mi50.fan import question, rivals, settings, state, variables

from tests.conftest import load_plugin
from tests.unit.fan.conftest import Board

PLUGIN = load_plugin("lookup_plugins", "mi50_fan")
BLOWER = {"name": "left", "device": "devices/platform/nct6775.656", "chip": "nct6798", "channel": 2, "tacho": 2}
SETTINGS: dict[str, Any] = {
    "blowers": [{**BLOWER, "gpus": ["0000:06:00.0", "0000:03:00.0"]}],
    "gpus": [],
    "stop_units": ["engine.service"],
    "law": {},
    "ladder": {},
    "interval": 1,
    "metrics_dir": "/var/lib/metrics",
    "modules": ["nct6775"],
    "guardian_interval": 10,
    "guardian_high": 85,
    "guardian_critical": 98,
    "alarm_program": "",
    "sysfs_root": "/sys",
}
UNITS = ["mi50-fand.service", "mi50-fan-guardian.timer"]


def systemctl(**states: tuple[str, str]) -> state.Runner:
    """A systemd that knows the units by these (ActiveState, UnitFileState); the rest is not there."""

    def run(command: list[str]) -> tuple[int, str]:
        blocks = []
        for name in command[command.index("--") + 1 :]:
            active, enabled = states.get(name.split(".")[0].replace("-", "_"), ("inactive", ""))
            load = "loaded" if enabled else "not-found"
            blocks.append(
                f"Id={name}\nLoadState={load}\nActiveState={active}\nUnitFileState={enabled}\nNeedDaemonReload=no"
            )
        return 0, "\n\n".join(blocks) + "\n"

    return run


RUNNING = {"mi50_fand": ("active", "enabled"), "mi50_fan_guardian": ("active", "enabled")}


@pytest.fixture
def node(tmp_path: Path, board: Board) -> dict[str, Any]:
    """A node as the role leaves it, and the question about it."""
    plan = PLUGIN.configured(SETTINGS)
    files = [*PLUGIN.shipped(), *PLUGIN.rendered(SETTINGS)]
    files.append({"path": "/etc/mi50-fand/config.json", "mode": "0644", "content": plan["config"]})
    for file in files:
        path = tmp_path / file["path"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"])
        path.chmod(int(file["mode"], 8))
    (tmp_path / "run/mi50-fand").mkdir(parents=True)
    (tmp_path / "run/mi50-fand/heartbeat").write_text("999.5 ok\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/uptime").write_text("1000.00 1.00\n")
    return {
        "files": PLUGIN.described(files, False),
        "package": "/usr/local/lib/mi50-fand/mi50_fand",
        "enabled": UNITS,
        "active": UNITS,
        "config": "/etc/mi50-fand/config.json",
        "heartbeat": "/run/mi50-fand/heartbeat",
        "mapped": True,
        "sysfs_root": str(board.sys),
        "proc_root": str(tmp_path / "proc"),
    }


def test_a_node_as_it_should_be_is_settled(node: dict[str, Any], tmp_path: Path) -> None:
    seen = question.answer(node, systemctl(**RUNNING), tmp_path)
    assert seen["settled"], seen
    assert seen["heartbeat"] == {"age_s": 0.5, "state": "ok"}
    assert [chip["name"] for chip in seen["chips"]] == ["nct6798", "it8696", "w83795g", "nct7802", "arctic_fan"]
    assert seen["chips"][2]["device"] == "devices/pci0000:00/0000:00:1f.4/i2c-0/0-002f"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "usr/local/bin/mi50-fand").write_text("x"), ["/usr/local/bin/mi50-fand"]),
        (
            lambda root: (root / "usr/local/lib/mi50-fand/mi50-fan-full").chmod(0o644),
            ["/usr/local/lib/mi50-fand/mi50-fan-full"],
        ),
        (lambda root: (root / "etc/mi50-fand/config.json").unlink(), ["/etc/mi50-fand/config.json"]),
        (lambda root: (root / "usr/local/lib/mi50-fand/mi50_fand/old.py").touch(), ["mi50_fand/old.py"]),
        (lambda root: (root / "run/mi50-fand/heartbeat").write_text("900 ok\n"), ["100 s ago"]),
        (lambda root: (root / "run/mi50-fand/heartbeat").unlink(), ["has not completed a cycle"]),
    ],
)
def test_anything_amiss_is_named(node: dict[str, Any], tmp_path: Path, spoil: Any, words: list[str]) -> None:
    spoil(tmp_path)
    seen = question.answer(node, systemctl(**RUNNING), tmp_path)
    assert not seen["settled"]
    text = json.dumps([seen["differing"], seen["left_over"], seen["problems"]])
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ({"mi50_fan_guardian": ("active", "enabled")}, "mi50-fand.service is inactive"),
        ({**RUNNING, "mi50_fand": ("active", "disabled")}, "mi50-fand.service is not enabled"),
    ],
)
def test_units_that_are_not_there(node: dict[str, Any], tmp_path: Path, states: Any, word: str) -> None:
    assert word in question.answer(node, systemctl(**states), tmp_path)["problems"]


@pytest.mark.parametrize("name", ["fancontrol", "thinkfan", "fan2go", "coolercontrold"])
@pytest.mark.parametrize("how", [("active", "disabled"), ("inactive", "enabled")])
def test_rivals_are_named_with_the_way_out(
    node: dict[str, Any], tmp_path: Path, name: str, how: tuple[str, str]
) -> None:
    seen = question.answer(node, systemctl(**RUNNING, **{name: how}), tmp_path)
    assert not seen["settled"]
    assert [(r["unit"], r["remedy"]) for r in seen["rivals"]] == [
        (f"{name}.service", f"systemctl disable --now {name}.service")
    ]
    assert rivals.RIVALS[f"{name}.service"] == seen["rivals"][0]["program"]


def test_a_node_without_systemd_is_told_so(node: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(question.Unanswered, match="systemd does not answer"):
        question.answer(node, lambda command: (1, ""), tmp_path)


def test_digests_are_of_the_shipped_files() -> None:
    files = {file["path"]: file for file in PLUGIN.described(PLUGIN.shipped(), False)}
    tool = Path(__file__).resolve().parents[3] / "roles/fan_control/files/failsafe/mi50-fan-full"
    assert files["/usr/local/lib/mi50-fand/mi50-fan-full"] == {
        "path": "/usr/local/lib/mi50-fand/mi50-fan-full",
        "mode": "0755",
        "sha256": sha256(tool.read_bytes()).hexdigest(),
    }
    assert "/usr/local/lib/mi50-fand/mi50_fand/daemon.py" in files
    assert not [path for path in files if "__pycache__" in path]


def test_cards_called_by_their_address_get_names() -> None:
    config = settings.build({**SETTINGS, "gpus": [{"name": "gpu0", "pci": "0000:06:00.0", "cap_watts": 80}]})
    assert config["gpus"] == [
        {"name": "gpu0", "pci": "0000:06:00.0", "cap_watts": 80, "stop_units": ["engine.service"]},
        {"name": "gpu1", "pci": "0000:03:00.0", "stop_units": ["engine.service"]},
    ]
    assert config["blowers"][0]["gpus"] == ["gpu0", "gpu1"]


def test_mistakes_name_the_variable() -> None:
    broken = {**SETTINGS, "blowers": [{**BLOWER, "gpus": ["0000:03:00.0"], "floor": 0}], "interval": 9}
    with pytest.raises(AnsibleError) as caught:
        PLUGIN.configured(broken)
    assert "fan_control_blowers[0].floor: 0" in str(caught.value)
    assert "fan_control_interval: 9" in str(caught.value)


def test_no_blower_means_no_configuration() -> None:
    assert PLUGIN.configured({**SETTINGS, "blowers": []}) == {
        "config": "",
        "channels": "",
        "warnings": [],
        "unmeasured": [],
    }


def channel(number: int, tachos: list[int], cards: list[str]) -> dict[str, Any]:
    return {
        "device": BLOWER["device"],
        "chip": "nct6798",
        "channel": number,
        "tachos": [{"device": BLOWER["device"], "tacho": n, "before": 1000, "after": 3000} for n in tachos],
        "cards": cards,
        "temperature_changes": {},
        "remark": "" if tachos else "no tacho answered",
    }


def test_mapping_becomes_blowers_that_the_daemon_takes() -> None:
    gpus = ["0000:03:00.0", "0000:06:00.0"]
    seen = [channel(1, [], []), channel(2, [2], [gpus[0]]), channel(3, [4], [gpus[1]])]
    found, remarks = variables.blowers(seen, gpus)
    assert [(b["name"], b["tacho"], b["gpus"]) for b in found] == [
        ("nct6798-2", 2, [gpus[0]]),
        ("nct6798-3", 4, [gpus[1]]),
    ]
    assert "pwm1: no tacho answered" in remarks[0]
    assert PLUGIN.configured({**SETTINGS, "blowers": found})["channels"].count("\n") == 3


def test_a_channel_no_card_felt_is_left_to_the_reader() -> None:
    found, remarks = variables.blowers([channel(2, [2], [])], ["0000:03:00.0"])
    assert found[0]["gpus"] == ["0000:03:00.0"]
    assert "no card became cooler" in remarks[0]
    with pytest.raises(variables.Unclear, match="no tacho answered on any channel"):
        variables.blowers([channel(1, [], [])], ["0000:03:00.0"])


def test_calibration_is_merged_and_never_lowers_a_floor() -> None:
    measured = {"left": {"calibration": [[30, 900], [100, 3000]], "start": 20, "floor": 20}}
    (merged,) = variables.calibrated([{**BLOWER, "gpus": ["x"], "floor": 30}], measured)
    assert (merged["floor"], merged["start"], merged["calibration"][1]) == (30, 20, [100, 3000])
    with pytest.raises(variables.Unclear, match="right"):
        variables.calibrated([BLOWER], {"right": {}})
