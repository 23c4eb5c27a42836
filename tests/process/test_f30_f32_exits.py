"""F30 to F32: however the daemon ends, the blowers are at full speed at once and somebody governs them again."""

from __future__ import annotations

import pytest

from tests.process.conftest import CHIP, SYS, UNIT, Box

pytestmark = pytest.mark.process
RUN = f"run --config /etc/mi50-fand/config.json --sysfs-root {SYS}"


def faulty(box: Box, fault: str) -> None:
    """The same unit with a fault to be set off."""
    box.dropin("ExecStart=", f"ExecStart=/usr/bin/python3 -IB /opt/probe_faulty.py {fault} {RUN}")
    box.start()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_f30_asked_to_leave(box: Box, name: str) -> None:
    seen = box.probe("kill", name)
    assert 0 <= seen["full_s"] <= 1.0, seen
    assert 0 <= seen["back_s"] <= 5.0, seen
    assert "every owned channel at full speed, read back" in box.journal()


def test_f30_stopped_for_good(box: Box) -> None:
    seen = box.probe("systemctl", "stop", UNIT)
    assert 0 <= seen["full_s"] <= 1.0, seen
    box.sh(f"systemctl stop {UNIT}")
    assert box.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert box.duties() == [255, 255]


def test_f30_reload_never_lowers_an_emergency(box: Box) -> None:
    box.heat(101)
    assert box.probe("until", f"{CHIP}/pwm1", "255")["seconds"] >= 0
    box.install(law={"hold_s": 5, "down_percent_per_s": 5, "hysteresis_c": 0})
    pid = box.show("MainPID")
    box.sh(f"systemctl kill -s HUP --kill-who=main {UNIT}")
    assert box.probe("watch", "3")["lowest"] >= 100
    assert int(box.sh(f"cat {CHIP}/pwm1")) == 255
    assert box.show("MainPID") == pid
    assert "RELOADED" in box.journal()


def test_f31_sigkill(box: Box) -> None:
    seen = box.probe("kill", "SIGKILL")
    print(f"SIGKILL to full speed {seen['full_s']} s, next cycle {seen['back_s']} s")
    assert 0 <= seen["full_s"] <= 1.0, seen
    assert 0 <= seen["back_s"] <= 5.0, seen


# "oom" takes memory until the unit's own MemoryMax= ends it: a real out-of-memory kill, of this unit alone.
@pytest.mark.parametrize(
    ("fault", "ended"),
    [("exit", "status=7"), ("segfault", "status=11/SEGV"), ("oom", "status=9/KILL"), ("raise", "status=1/FAILURE")],
)
def test_f31_sudden_end(box: Box, fault: str, ended: str) -> None:
    faulty(box, fault)
    seen = box.probe("touch", "/run/mi50-fault")
    # A second until the next cycle comes to the fault, one for the way out; taking 96 MiB takes time as well.
    assert 0 <= seen["full_s"] <= (4.0 if fault == "oom" else 2.0), seen
    assert 0 <= seen["back_s"] <= 8.0, seen
    assert ended in box.sh(
        f"journalctl --no-pager -u {UNIT} --since \"$(cat /run/test-began)\" | grep 'process exited'"
    )


def test_f32_sigstop(box: Box) -> None:
    seen = box.probe("kill", "SIGSTOP")
    print(f"SIGSTOP to full speed {seen['full_s']} s, next cycle {seen['back_s']} s")
    assert 0 <= seen["full_s"] <= 12.0, seen
    assert 0 <= seen["back_s"] <= 17.0, seen


# The same watchdog as above; a shorter one says as much and takes less of everybody's time.
@pytest.mark.parametrize("fault", ["loop", "deadlock"])
def test_f32_hangs(box: Box, fault: str) -> None:
    box.dropin("WatchdogSec=2", "ExecStart=", f"ExecStart=/usr/bin/python3 -IB /opt/probe_faulty.py {fault} {RUN}")
    box.start()
    seen = box.probe("touch", "/run/mi50-fault")
    assert 1.5 <= seen["full_s"] <= 6.0, seen
    assert "watchdog" in box.sh(
        f"journalctl --no-pager -u {UNIT} --since \"$(cat /run/test-began)\" | grep 'Failed with'"
    )
