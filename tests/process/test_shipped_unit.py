"""The units as shipped: what systemd says of them, early boot, the guardian."""

from __future__ import annotations

import re

import pytest

from tests.process.conftest import CHIP, METRICS, PWMS, SYS, UNIT, Box

pytestmark = pytest.mark.process
GUARDIAN = "mi50-fan-guardian.service"


def low(box: Box) -> None:
    """Daemon gone, fans low: what a masked unit looks like."""
    box.sh(f"systemctl stop {UNIT}; for f in {' '.join(PWMS)}; do echo 64 >$f; done")


def test_exposure_is_at_most_two(box: Box) -> None:
    text = box.sh(f"systemd-analyze security --no-pager {UNIT}", check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)
    assert found
    print(f"systemd-analyze security: {found.group(1)}")
    assert float(found.group(1)) <= 2.0


def test_units_are_free_of_mistakes(box: Box) -> None:
    assert (
        box.sh("systemd-analyze verify /etc/systemd/system/mi50-fan*.service /etc/systemd/system/mi50-fan*.timer 2>&1")
        == ""
    )


def test_it_never_gives_up_and_never_waits_long(box: Box) -> None:
    names = ("Restart", "RestartUSec", "StartLimitIntervalUSec", "WatchdogUSec", "TimeoutAbortUSec", "TimeoutStopUSec")
    assert box.show(*names) == {
        "Restart": "always",
        "RestartUSec": "1s",
        "StartLimitIntervalUSec": "0",
        "WatchdogUSec": "8s",
        "TimeoutAbortUSec": "1s",
        "TimeoutStopUSec": "1s",
    }


def test_early_boot_sets_full_speed_and_waits_for_a_late_chip(box: Box) -> None:
    low(box)
    box.sh(f"mv {CHIP} {CHIP}.late; (sleep 1.5; mv {CHIP}.late {CHIP}) & systemctl restart mi50-fan-early.service")
    assert box.duties() == [255, 255]
    before = box.sh("systemctl show mi50-fan-early.service -p Before --value")
    assert {"sysinit.target", UNIT} <= set(before.split())


def test_guardian_leaves_a_healthy_daemon_alone(box: Box) -> None:
    box.heat(90)
    box.sh(f"systemctl start {GUARDIAN}")
    assert "mi50_fan_guardian_state 0" in box.sh(f"cat {METRICS}/mi50_fan_guardian.prom")
    assert "hottest_celsius 90" in box.sh(f"cat {METRICS}/mi50_fan_guardian.prom")


def test_guardian_helps_when_the_daemon_is_gone_and_a_card_is_hot(box: Box) -> None:
    low(box)
    box.sh("rm /run/mi50-fand/heartbeat")
    box.heat(70)
    box.sh(f"systemctl start {GUARDIAN}")
    assert box.duties() == [64, 64], "a cool card needs no noise"
    box.heat(86)
    box.sh(f"systemctl start {GUARDIAN}")
    assert box.duties() == [255, 255]
    assert "GUARDIAN hot" in box.journal(GUARDIAN)


def test_guardian_helps_when_the_daemon_says_all_is_well(box: Box) -> None:
    """A heartbeat that goes on while a card burns: somebody else, or a bug, feeds it."""
    low(box)
    box.sh('read up rest </proc/uptime; echo "$up ok" >/run/mi50-fand/heartbeat')
    box.heat(99, card=2)
    box.sh(f"systemctl start {GUARDIAN}")
    assert box.duties() == [255, 255]
    assert "GUARDIAN critical" in box.journal(GUARDIAN)


def test_guardian_that_hangs_is_a_reason_for_full_speed(box: Box) -> None:
    low(box)
    sensor = f"{SYS}/class/hwmon/hwmon1/temp2_input"
    box.sh(f"rm {sensor}; mkfifo {sensor}")  # a read that never returns
    try:
        box.sh(f"systemctl start {GUARDIAN}", check=False)
        assert box.duties() == [255, 255]
        assert "the guardian itself ended with timeout" in box.journal(GUARDIAN)
    finally:
        box.sh(f"rm {sensor}; echo 34000 >{sensor}")


def test_guardian_needs_neither_mapping_nor_daemon(box: Box) -> None:
    """A node where nothing was mapped yet: every header of the board, for nobody knows which is the blower's."""
    low(box)
    box.sh("rm -rf /etc/mi50-fand /run/mi50-fand")
    box.heat(90)
    box.sh(f"systemctl start {GUARDIAN}")
    everything = box.sh(f"cat {CHIP}/pwm[1-7]").split()
    assert everything == ["255"] * 7
    assert box.sh(f"cat {SYS}/class/hwmon/hwmon1/pwm1") == "37", "the card's phantom fan was written"


def test_sleep_is_entered_and_left_at_full_speed(box: Box) -> None:
    # sleep.target cannot be started by hand; this one wants the unit as it does.
    box.put({"/run/systemd/system/probe.target": ("[Unit]\nWants=mi50-fan-sleep.service\n", 0o644)})
    low(box)
    box.sh("systemctl daemon-reload; systemctl start mi50-fan-sleep.service probe.target; systemctl start probe.target")
    assert box.duties() == [255, 255]
    box.sh(f"for f in {' '.join(PWMS)}; do echo 64 >$f; done; systemctl stop probe.target; sleep 0.3")
    assert box.duties() == [255, 255]
