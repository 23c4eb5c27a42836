"""What the kernel's drivers really do: the facts that the daemon is built on. A kernel that differs shows here."""

from __future__ import annotations

import errno

import pytest

from lab.vm.agent.chips import FIRMWARE_DUTY, KINDS, rpm_at
from lab.vm.machine import AgentError
from tests.vm.bench import FULL, Bench

pytestmark = pytest.mark.vm
ALL = pytest.mark.parametrize("kind", sorted(KINDS))
# The drivers that keep what they read for two seconds.
CACHING = {"adt7475", "w83795g"}


@ALL
def test_discovery_where_the_attributes_lie(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    old_registration = kind == "w83795g"
    assert chip.path("pwm1").endswith("/device/pwm1") is old_registration
    assert chip.path("name").endswith("/device/name") is old_registration
    assert bench.machine.call("read", chip.path("name")).strip() == kind
    assert chip.device == f"devices/platform/standin_smbus.0/i2c-0/0-{chip.kind.address:04x}"
    assert chip.duties()[1] == FIRMWARE_DUTY
    assert chip.read("pwm1_enable") == {"adt7475": 2, "w83795g": 3, "nct7802": 2}[kind]


@ALL
def test_control_reaches_the_pin_and_the_tacho_answers(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    for channel in (1, 2):
        chip.write(f"pwm{channel}_enable", 1)
        chip.write(f"pwm{channel}", 120 + channel)
    bench.wait(3)
    for channel in (1, 2):
        assert chip.duties()[channel] == 120 + channel
        assert chip.read(f"pwm{channel}") == 120 + channel
        # Two of the chips round a tacho to 16 or 32 counts.
        assert chip.read(f"fan{channel}_input") == pytest.approx(rpm_at(120 + channel), rel=0.06)
    chip.stall(1)
    bench.wait(3)
    assert chip.read("fan1_input") == 0
    assert chip.read("fan2_input") > 0


@ALL
def test_enable_0_is_refused_by_two_of_three(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    chip.write("pwm1_enable", 1)
    chip.write("pwm1", 90)
    expected = 0 if kind == "adt7475" else errno.EINVAL
    assert chip.errno("pwm1_enable", 0) == expected
    assert chip.duties()[1] == (FULL if kind == "adt7475" else 90)


@ALL
def test_enable_2_hands_the_channel_to_the_firmware(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    chip.write("pwm1_enable", 1)
    chip.write("pwm1", 200)
    assert chip.errno("pwm1_enable", 2) == (errno.EOPNOTSUPP if kind == "w83795g" else 0)
    assert chip.duties()[1] == (200 if kind == "w83795g" else FIRMWARE_DUTY)


@ALL
def test_f18_a_write_in_automatic_mode_is_called_a_success_and_changes_nothing(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    assert chip.errno("pwm1", FULL) == 0
    assert chip.duties()[1] == FIRMWARE_DUTY


@ALL
def test_f19_the_driver_never_shows_that_firmware_took_the_channel_back(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    chip.write("pwm1_enable", 1)
    chip.write("pwm1", 200)
    chip.take_back()
    bench.wait(5)
    assert chip.duties()[1] == FIRMWARE_DUTY
    assert chip.read("pwm1_enable") == 1
    # Only adt7475 shows it in pwm1; the others return what was written.
    assert chip.read("pwm1") == (FIRMWARE_DUTY if kind == "adt7475" else 200)


@ALL
def test_f19_what_makes_a_re_assertion_reach_the_chip(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    chip.write("pwm1_enable", 1)
    chip.write("pwm1", 200)
    chip.take_back()
    assert chip.errno("pwm1_enable", 1) == 0
    chip.write("pwm1", 200)
    swallowed = kind == "nct7802"
    assert chip.duties()[1] == (FIRMWARE_DUTY if swallowed else 200)
    if swallowed:
        chip.write("pwm1_enable", 2)
        chip.write("pwm1_enable", 1)
        assert chip.duties()[1] == 200


@ALL
def test_f17_a_write_that_fails_on_the_bus(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    chip.write("pwm1_enable", 1)
    chip.write("pwm1", 100)
    bench.wait(3)
    chip.set(write_error=errno.EIO)
    bench.machine.call("read", chip.path("pwm1"))  # what two of the drivers now keep for two seconds
    assert chip.errno("pwm1", FULL) == (0 if kind in CACHING else errno.EIO)
    assert chip.duties()[1] == 100
    assert chip.read("pwm1") == (FULL if kind in CACHING else 100)
    chip.set(write_error=0)
    bench.wait(3)
    assert chip.read("pwm1") == 100


@ALL
def test_f18_a_write_that_is_acknowledged_and_lost(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    chip.write("pwm1_enable", 1)
    chip.write("pwm1", 100)
    bench.wait(3)
    chip.set(lose_writes=1)
    assert chip.errno("pwm1", FULL) == 0
    bench.wait(3)
    assert chip.read("pwm1") == 100
    assert chip.duties()[1] == 100


@ALL
def test_f02_a_read_that_fails_on_the_bus(bench: Bench, kind: str) -> None:
    chip = bench.chip(kind)
    chip.write("pwm1_enable", 1)
    chip.write("pwm1", 200)
    bench.wait(3)
    chip.set(read_error=errno.EIO)
    if kind == "w83795g":  # looks like a blower that stands still
        assert chip.read("fan1_input") == 0
        assert chip.read("pwm1") == 0
        return
    for attribute in ("fan1_input", "pwm1"):
        with pytest.raises(AgentError) as caught:
            chip.read(attribute)
        assert caught.value.errno == errno.EIO


def test_f12_a_chip_that_comes_back_gets_another_number_and_a_foreign_one_its_old(bench: Bench) -> None:
    chip = bench.chip("adt7475")
    before = chip.hwmon
    chip.unbind()
    foreign = bench.chip("nct7802", bus=1)
    assert foreign.hwmon == before
    assert chip.bind() != before


def test_f12_a_card_that_is_bound_again_gets_another_number(bench: Bench) -> None:
    first, second = bench.cards
    numbers = [bench.machine.run("ls", f"{card.device}/hwmon").strip() for card in (first, second)]
    for card in (first, second):
        bench.machine.call("write", "/sys/bus/pci/drivers/amdgpu/unbind", card.pci)
    for card in (second, first):
        bench.machine.call("write", "/sys/bus/pci/drivers/amdgpu/bind", card.pci)
    assert [bench.machine.run("ls", f"{card.device}/hwmon").strip() for card in (second, first)] == numbers


def test_f13_a_card_leaves_the_bus_and_returns_as_an_mi50(bench: Bench) -> None:
    card = bench.cards[0]
    card.remove()
    assert bench.machine.code("test", "-e", card.device) != 0
    card.rescan()
    assert bench.machine.call("read", f"{card.device}/device").strip() == "0x66a1"
    assert bench.machine.run("readlink", f"{card.device}/driver").strip().endswith("/amdgpu")


def test_f11_a_read_that_hangs_is_in_d_state_and_no_signal_ends_it(bench: Bench) -> None:
    card = bench.cards[0]
    card.hang()
    reader = f"cat {card.device}/hwmon/hwmon*/temp2_input >/dev/null 2>&1 & p=$!"
    shell = f"{reader}; sleep 1; kill -9 $p; sleep 1; cat /proc/$p/stat"
    assert ") D " in bench.machine.run("sh", "-c", shell, timeout=10, check=False)
    card.release()
