"""F36 to F38: clocks that jump, two of the same kind, and the sandbox around it all."""

from __future__ import annotations

import time

import pytest

from tests.process.conftest import CHIP, METRICS, PWMS, SYS, UNIT, Box

pytestmark = pytest.mark.process
RUN = f"run --config /etc/mi50-fand/config.json --sysfs-root {SYS}"


def cycles(box: Box, seconds: float) -> None:
    """Let the daemon work; its process must stay the same."""
    pid = box.show("MainPID")
    time.sleep(seconds)
    assert box.show("MainPID") == pid


def test_f36_clocks_jump(box: Box) -> None:
    """Simulated: the offsets are added where the daemon reads its clocks (probe_faulty.py); systemd's are real."""
    box.dropin("ExecStart=", f"ExecStart=/usr/bin/python3 -IB /opt/probe_faulty.py clocks {RUN}")
    box.start()
    for wall in (86400, -86400):
        box.sh(f"echo {wall} 0 >/run/mi50-fault")
        cycles(box, 2)
    assert "RESUMED" not in box.journal()
    # 24 h asleep; the driver came back in automatic mode, as nct6775 does.
    box.sh(
        f"echo 0 86400 >/run/mi50-fault; for n in 1 2; do echo 5 >{CHIP}/pwm${{n}}_enable; echo 64 >{CHIP}/pwm$n; done"
    )
    assert 0 <= box.probe("until", f"{CHIP}/pwm2_enable", "!5")["seconds"] <= 1.5
    assert min(box.duties()) >= 200, "the firmware's 64 stayed"
    cycles(box, 2)
    said = box.journal()
    assert "RESUMED" in said
    assert "FAN_STALLED" not in said and "SENSOR_STUCK" not in said and "LADDER" not in said


def test_f37_second_instance_and_stale_lock(box: Box) -> None:
    assert box.code(f"mi50-fand {RUN}") == 3
    assert box.code(f"mi50-fand map --sysfs-root {SYS}") == 3
    cycles(box, 1.5)
    box.sh(f"systemctl stop {UNIT}; echo 1 >/run/mi50-fand/lock")  # PID 1 lives: a reused process id
    box.start()
    cycles(box, 1.5)


def inside(box: Box, command: str) -> int:
    """Exit code of a command in the running daemon's mount namespace."""
    return box.code(f"nsenter -t {box.show('MainPID')['MainPID']} -m sh -c '{command}' 2>/dev/null")


def test_f38_real_write_through_the_link(box: Box) -> None:
    assert box.sh(f"readlink {SYS}/class/hwmon/hwmon3").startswith("../../devices/")
    assert box.duties() == [255, 255], "the daemon's first cycle wrote nothing"
    assert inside(box, f"cat {SYS}/class/hwmon/hwmon3/pwm1 >/dev/null && echo 255 >{SYS}/class/hwmon/hwmon3/pwm1") == 0
    assert inside(box, f"echo 1 >{METRICS}/probe.prom") == 0
    for closed in (f"{SYS}/class/probe", "/etc/probe", "/usr/local/probe", "/var/lib/probe", "/srv/probe"):
        assert inside(box, f"echo 1 >{closed}") != 0, f"{closed} is writable"


def test_f38_the_bug_that_this_catches(box: Box) -> None:
    """With ReadWritePaths= of the class folder alone, as other daemons ship it, nothing can be written."""
    box.dropin("ReadWritePaths=", f"ReadWritePaths={SYS}/class/hwmon")
    box.sh(f"systemctl stop {UNIT}; for f in {' '.join(PWMS)}; do echo 64 >$f; done; systemctl start --no-block {UNIT}")
    time.sleep(3)
    assert "WRITE_FAILED" in box.journal()
    # No verified cycle, no watchdog ping: systemd ends it, and ExecStopPost=, outside of the sandbox, sets full speed.
    assert all(box.probe("until", path, "255")["seconds"] >= 0 for path in PWMS)
    assert box.show("ActiveState")["ActiveState"] != "failed"


def test_f38_a_missing_folder_is_no_reason_to_fail(box: Box) -> None:
    """A path of ReadWritePaths= that is missing fails the whole unit (226/NAMESPACE), ExecStopPost=+ too: measured."""
    assert all(path.startswith("-") for path in box.show("ReadWritePaths")["ReadWritePaths"].split())
    box.sh(f"rm -rf {METRICS}; mv {SYS}/devices {SYS}/gone")
    try:
        box.sh(f"systemctl restart {UNIT}")
        assert "226" not in box.sh(f"systemctl show {UNIT} -p ExecMainStatus -p StatusErrno")
    finally:
        box.sh(f"mv {SYS}/gone {SYS}/devices; mkdir -p {METRICS}")
    assert 0 <= box.probe("until", "/run/mi50-fand/heartbeat", "ok")["seconds"] < 15


def test_f38_without_any_way_out_there_is_the_guardian(box: Box) -> None:
    box.dropin("ReadWritePaths=/nonexistent")
    box.sh(f"systemctl kill -s KILL {UNIT}; for f in {' '.join(PWMS)}; do echo 64 >$f; done")
    time.sleep(1.5)
    assert "226/NAMESPACE" in box.sh(f'journalctl --no-pager -u {UNIT} --since "$(cat /run/test-began)"')
    box.sh("rm -f /run/mi50-fand/heartbeat")
    box.heat(88)
    box.sh("systemctl start mi50-fan-guardian.service")
    assert box.duties() == [255, 255]


def test_f38_ladder_reaches_out_of_the_sandbox(box: Box) -> None:
    """The power cap is a file below /sys/devices, the engine's unit is stopped through systemd's socket."""
    box.put({"/run/systemd/system/standin-engine.service": ("[Service]\nExecStart=/bin/sleep infinity\n", 0o644)})
    box.sh("systemctl daemon-reload; systemctl start standin-engine.service")
    cap = f"{SYS}/class/hwmon/hwmon1/power1_cap"
    before = box.sh(f"cat {cap}")
    for celsius in (60, 80, 95, 105, 105, 105, 106, 106, 106, 107, 107, 107):
        box.heat(celsius)
        time.sleep(1)
        if box.code("systemctl is-active -q standin-engine.service"):
            break
    assert int(box.sh(f"cat {cap}")) < int(before)
    assert box.code("systemctl is-active -q standin-engine.service") != 0
    assert box.sh("ls /run/mi50-fand/caps") == "0000:03:00.0"
