"""The shipped units on the real /sys: sandbox, order at boot, hardening; and that the harness can say no."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.vm import scenarios
from tests.vm.bench import FULL, Bench
from tests.vm.programs import Fand, Thinkfan
from tests.vm.scenarios import Scene

pytestmark = pytest.mark.vm
FAND = Fand()
LAUNCHER = "/usr/local/bin/mi50-fand"
# A service that would load a GPU: it notes what the blower did when it was started.
ENGINE = """[Unit]
Description=A service that loads a GPU
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat /sys/{device}/hwmon/hwmon*/pwm1 /sys/{device}/hwmon/hwmon*/pwm1_enable >/run/at-engine-start'
[Install]
WantedBy=multi-user.target
"""


@pytest.mark.parametrize("kind", ["adt7475", "nct7802", "w83795g"])
def test_detect_finds_cards_chips_and_channels_and_writes_nothing(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    FAND.install(bench, chip)
    before = chip.registers()
    found = json.loads(bench.machine.run(LAUNCHER, "detect", "--json"))
    text = json.dumps(found)
    assert all(card.pci in text for card in bench.cards)
    assert chip.device in text
    # The first byte of w83795 selects the bank, for reading too.
    assert chip.registers()[1:] == before[1:]
    # The fan that the driver shows on a card without one is no channel.
    channels = [entry for entry in found["chips"] if "amdgpu" in json.dumps(entry)]
    assert channels == []
    assert bench.machine.code(LAUNCHER, "check") == 0


def test_f38_the_sandbox_lets_the_daemon_write_through_the_hwmon_link_and_nowhere_else(
    settled: Callable[[str], Scene],
) -> None:
    scene = settled("adt7475")
    bench, chip = scene.bench, scene.chip
    inside = ("nsenter", "--mount", "--target", str(bench.pid(FAND.unit)), "sh", "-c")
    link = f"/sys/class/hwmon/{chip.hwmon}"
    assert bench.machine.code(*inside, f"echo 1 >{link}/pwm3_enable && echo 77 >{link}/pwm3") == 0
    bench.wait(0.3)
    assert chip.duties()[3] == 77
    for path in ("/etc/new", "/usr/local/lib/mi50-fand/new", "/var/lib/new", "/sys/kernel/mm/ksm/run"):
        assert bench.machine.code(*inside, f"echo 1 >{path}") != 0, path
    # ExecStopPost= of the same unit, after a death that ran no code of the daemon.
    assert scenarios.sigkill(scene).ok


def test_systemd_finds_the_unit_hardened(bench: Bench) -> None:
    chip = bench.chip("adt7475")
    FAND.install(bench, chip)
    said = bench.machine.run("systemd-analyze", "security", "--no-pager", FAND.unit, timeout=120)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found
    assert float(found.group(1)) <= 2.0, said


def test_units_verify_without_a_word(bench: Bench) -> None:
    chip = bench.chip("adt7475")
    FAND.install(bench, chip)
    units = bench.machine.run("sh", "-c", "ls /etc/systemd/system/mi50-fan*").split()
    assert len(units) == 5
    done = bench.machine.call("run", ["systemd-analyze", "verify", "--man=no", *units], timeout=120)
    assert (done["code"], done["err"]) == (0, "")


def test_memory_stays_small(settled: Callable[[str], Scene]) -> None:
    bench = settled("adt7475").bench
    status = bench.machine.run("cat", f"/proc/{bench.pid(FAND.unit)}/status")
    resident = int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])
    assert resident <= 20 * 1024, f"{resident} kB"


def test_f41_boot_full_speed_before_anything_can_load_a_gpu(bench: Bench) -> None:
    """Reboot: the early unit, then sysinit.target, then the daemon and the engine; the blower is full in between."""
    chip = bench.chip("adt7475")
    FAND.install(bench, chip)
    engine = ENGINE.format(device=chip.device)
    bench.machine.put({"/etc/systemd/system/engine.service": engine, "/etc/vm-chips": "0 adt7475\n"})
    units = ("mi50-fan-early.service", "mi50-fan-sleep.service", "mi50-fand.service", "mi50-fan-guardian.timer")
    bench.machine.run("systemctl", "daemon-reload")
    bench.machine.run("systemctl", "enable", *units, "engine.service")
    bench.machine.run("sync")
    bench.machine.reboot()
    assert bench.machine.run("systemctl", "is-system-running", "--wait", check=False, timeout=120).strip() == "running"

    def when(unit: str, name: str) -> float:
        return int(bench.property(unit, name)) / 1e6

    trace = bench.trace(chip, 0.0)
    full = trace.reached(1, FULL)
    sysinit = when("sysinit.target", "ActiveEnterTimestampMonotonic")
    started = when("engine.service", "ExecMainStartTimestampMonotonic")
    assert full is not None
    assert full - 0.2 <= sysinit < started  # the recording is a tenth of a second coarse
    assert bench.machine.call("read", "/run/at-engine-start").split() in (["255", "1"], ["255", "0"])
    # Between the early unit and the daemon's own law nothing lets go; at idle the daemon holds full for a while.
    assert trace.lowest(1, full) == FULL or trace.of(1)[-1][0] > started + 10
    assert bench.property(FAND.unit, "ActiveState") == "active"
    assert bench.property("mi50-fan-guardian.timer", "ActiveState") == "active"


def test_the_harness_can_say_no(bench: Bench) -> None:
    """thinkfan, killed: the same scenario that this daemon passes."""
    chip, program = bench.chip("adt7475"), Thinkfan()
    program.install(bench, chip)
    program.start(bench)
    bench.wait(10)
    assert chip.duties()[1] == 80
    outcome = scenarios.sigkill(Scene(bench, chip, program))
    assert not outcome.ok
    assert "stays at 80/80" in outcome.text
