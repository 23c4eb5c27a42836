"""The node after role fan_control: the daemon governs, the fail-safe is where systemd looks for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers import journal

CHIP = "/srv/mi50-lab/presets/two-mi50-fan/devices/platform/nct6775.656/hwmon/hwmon3"
UNIT = "mi50-fand.service"


@pytest.mark.parametrize("unit", [UNIT, "mi50-fan-early.service", "mi50-fan-sleep.service", "mi50-fan-guardian.timer"])
def test_unit_is_enabled(host: Any, unit: str) -> None:
    assert host.service(unit).is_enabled


def test_daemon_runs_and_is_well(host: Any) -> None:
    with journal(host, UNIT):
        assert host.service(UNIT).is_running
        assert host.run("mi50-fand status --sysfs-root /srv/mi50-lab/presets/two-mi50-fan").rc in (0, 1)
        assert host.check_output("cut -d' ' -f2 /run/mi50-fand/heartbeat") != ""


def test_configuration_is_the_inventorys(host: Any) -> None:
    config = json.loads(host.file("/etc/mi50-fand/config.json").content_string)
    assert [(b["name"], b["channel"], b["gpus"]) for b in config["blowers"]] == [
        ("left", 1, ["gpu0"]),
        ("right", 2, ["gpu1"]),
    ]
    assert [gpu["pci"] for gpu in config["gpus"]] == ["0000:03:00.0", "0000:06:00.0"]
    assert host.run("mi50-fand check --sysfs-root /srv/mi50-lab/presets/two-mi50-fan").rc == 0


def test_channel_list_is_the_daemons_own(host: Any) -> None:
    listed = host.file("/etc/mi50-fand/channels").content_string
    assert listed == host.check_output("mi50-fand channels") + "\n"
    assert listed.count("\t") == 6


def test_fail_safe_reaches_both_channels(host: Any) -> None:
    host.check_output(f"systemctl stop {UNIT}; for n in 1 2; do echo 64 >{CHIP}/pwm$n; done")
    try:
        with journal(host, UNIT):
            tool = "/usr/local/lib/mi50-fand/mi50-fan-full"
            assert host.run(f"{tool} --sysfs-root /srv/mi50-lab/presets/two-mi50-fan").rc == 0
            assert host.check_output(f"cat {CHIP}/pwm1 {CHIP}/pwm2").split() == ["255", "255"]
    finally:
        host.check_output(f"systemctl start {UNIT}")


def test_no_byte_code_is_left(host: Any) -> None:
    assert host.check_output("find /usr/local/lib/mi50-fand -name __pycache__") == ""
