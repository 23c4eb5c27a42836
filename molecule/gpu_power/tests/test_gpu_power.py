"""The node after role gpu_power: caps and levels are in force, and systemd sets them again."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import journal

SYS = "/srv/mi50-lab/presets/two-mi50-fan/bus/pci/devices"
UNIT = "mi50-gpu-power.service"
WANTED = {"0000:03:00.0": ("190000000", "auto"), "0000:06:00.0": ("150000000", "high")}


def values(host: Any, pci: str) -> tuple[str, str]:
    cap = host.check_output(f"cat {SYS}/{pci}/hwmon/hwmon*/power1_cap")
    return cap, host.check_output(f"cat {SYS}/{pci}/power_dpm_force_performance_level")


@pytest.mark.parametrize("pci", WANTED)
def test_card_has_what_was_asked_for(host: Any, pci: str) -> None:
    assert values(host, pci) == WANTED[pci]


def test_wish_is_left_for_the_fan_daemon(host: Any) -> None:
    assert host.check_output("cat /run/mi50-gpu-power/0000:06:00.0") == "150000000"


def test_boot_and_the_end_of_sleep_set_it_again(host: Any) -> None:
    for target in ("multi-user", "suspend", "hibernate"):
        assert host.file(f"/etc/systemd/system/{target}.target.wants/{UNIT}").is_symlink
    host.check_output(f"echo 225000000 >$(echo {SYS}/0000:03:00.0/hwmon/hwmon*/power1_cap)")
    with journal(host, UNIT):
        host.check_output(f"systemctl start {UNIT}")
        assert values(host, "0000:03:00.0") == WANTED["0000:03:00.0"]


def test_a_value_that_does_not_stick_fails_the_unit(host: Any) -> None:
    cap = host.check_output(f"echo {SYS}/0000:03:00.0/hwmon/hwmon*/power1_cap")
    host.check_output(f"mount -t tmpfs -o ro tmpfs $(dirname {cap})")
    try:
        assert host.run("/usr/local/sbin/mi50-gpu-power --sysfs-root /srv/mi50-lab/presets/two-mi50-fan").rc == 1
    finally:
        host.check_output(f"umount $(dirname {cap})")
