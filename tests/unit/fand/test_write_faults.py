"""F17 to F21: writes that fail, are lost, are undone, or reach more than they should."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from lab.plant.rig import IDLE, Rig
from lab.plant.standin_chip import Chip, ManualOnlyChip

Build = Callable[..., Rig]


def pwm(rig: Rig, channel: int = 2) -> str:
    return f"{rig.chip.base}/pwm{channel}"


def rung(rig: Rig) -> int:
    return next(iter(rig.engine.ladders.values())).rung


@pytest.mark.parametrize("number", [errno.EIO, errno.EBUSY, errno.EINVAL, errno.EROFS], ids=errno.errorcode.get)
def test_f17_write_fails(rig: Build, document: Callable[..., dict], number: int) -> None:
    data = document("two-blowers-one-card")
    plant = rig(data)
    plant.run(5, 100)
    plant.io.write_faults[pwm(plant)] = number
    trace = plant.run(8, 150)
    assert not any(row["healthy"] for row in trace)  # no watchdog ping while a write fails
    assert "WRITE_FAILED" in plant.alarms()
    assert plant.duty("right") == 100  # the other blower of the card takes over
    assert rung(plant) == 1  # and the card draws less
    assert plant.die.cap == 60
    plant.io.write_faults.clear()
    plant.run(1, IDLE)
    assert plant.engine.cycle()


def test_f17_one_failure_is_retried_within_the_cycle(rig: Build) -> None:
    plant = rig()
    plant.run(2, 200)
    hook = plant.io.hooks[pwm(plant)]
    failures = [errno.EBUSY]

    def busy_once(value: int) -> None:
        if failures:
            raise OSError(failures.pop(), "busy")
        hook(value)

    plant.io.hooks[pwm(plant)] = busy_once
    trace = plant.run(1, 200)
    assert failures == []
    assert trace[0]["healthy"]
    assert plant.duty() > 85


def test_f17_full_speed_shown_by_the_tacho_needs_no_cap(rig: Build) -> None:
    plant = rig()
    plant.run(20, 225)
    plant.run(20, 225)
    plant.io.write_faults[pwm(plant)] = errno.EROFS
    plant.run(10, 225)
    assert rung(plant) == 0  # the blower still turns as fast as it can


@pytest.mark.parametrize("tacho", ["turns on", "constant"])
def test_f18_writes_acknowledged_but_lost(rig: Build, tacho: str) -> None:
    """The driver's cache shows what was written; only the tacho can tell."""
    plant = rig()
    plant.chip.lost = True
    if tacho == "constant":
        plant.chip.tacho[2] = str(plant.fans[plant.blower().config.key].rpm)
    plant.run(12, 225)
    assert plant.alarms() & {"FAN_WEAK", "TACHO_UNUSABLE"}
    assert plant.blower().duty == 100
    plant.chip.lost = False
    plant.chip.tacho.clear()
    plant.run(2, 225)
    assert plant.duty() == 100


def test_f18_lost_writes_and_a_hot_card_lower_the_cap_within_15_s(rig: Build) -> None:
    plant = rig()
    plant.chip.lost = True
    for number, milli in ((1, "90000"), (2, "100000"), (3, "85000")):
        plant.io.faults[f"{plant.card.base}/temp{number}_input"] = milli
    plant.run(15, 225)
    assert rung(plant) >= 1


def test_f18_read_back_differs(rig: Build) -> None:
    plant = rig()
    plant.io.faults[pwm(plant)] = "90"
    trace = plant.run(5, 200)
    assert not trace[-1]["healthy"]
    assert "WRITE_IGNORED" in plant.alarms()
    wanted = [value for path, value in plant.io.writes if path == pwm(plant)][-5:]
    assert min(wanted) == 255  # asked again each cycle, at full speed
    plant.io.faults.clear()
    assert plant.run(2)[-1]["healthy"]


@pytest.mark.parametrize("mode", [5, 2, 99, 0])
def test_f19_firmware_takes_the_mode_each_second(rig: Build, mode: int) -> None:
    plant = rig()
    seen = []
    for _ in range(40):
        plant.chip.firmware_takes(2, mode)
        plant.run(1, IDLE)
        seen.append(plant.duty())
    assert plant.said("ENABLE_FOUGHT")
    assert seen[0] == pytest.approx(plant.blower().config.floor, abs=1)  # taken back in the same cycle
    assert set(seen[8:]) == {100}  # after some fights, full speed, and never low again
    assert plant.chip.channels[2].mode == 0  # the driver's own full speed, where it has one
    plant.run(400, IDLE)
    assert plant.duty() < 30
    assert plant.alarms() == set()


def test_f19_mode_lost_behind_a_cache_that_swallows_the_cure(rig: Build, document: Callable[..., dict]) -> None:
    """nct7802, measured: reads 1 for ever, a second 1 never reaches the chip, 0 is refused; 2 then 1 works."""

    class Nct7802(Chip):
        pass

    data = document()
    data["blowers"][0]["chip"] = "nct7802"
    plant = rig(data)
    plant.chip.cached, plant.chip.modes = True, {1, 2}
    plant.run(2, 225)
    for _ in range(20):
        plant.chip.firmware_takes(2)
        plant.run(1, 225)
        assert plant.duty() > 85
    assert plant.run(1)[-1]["healthy"]


def test_f19_nothing_but_the_tacho_shows_the_fight(rig: Build) -> None:
    """w83795, measured: mode 0 refused, no table, mode and duty read back as written whatever the firmware does."""
    plant = rig()
    plant.chip.modes = {1}
    channel = plant.chip.channels[2]
    channel.points = [64, 64]
    plant.run(20, 225)
    plant.run(20, 225)
    steps, duties = [0], []

    def board() -> None:
        steps[0] += 1
        if steps[0] % 10 == 3:
            channel.mode = 3  # automatic, behind a driver that shows 1 for ever
        duties.append(channel.effective())

    plant.firmware = board
    plant.run(40, 225)
    assert sum(duties) / len(duties) >= 180
    assert sum(duties[200:]) / len(duties[200:]) >= 200
    assert "ENABLE_FOUGHT" not in plant.alarms()
    assert plant.said("FAN_WEAK")


def test_f19_a_cache_not_known_by_name_is_found_by_the_tacho(rig: Build) -> None:
    plant = rig()
    plant.chip.cached, plant.chip.modes = True, {1, 2}
    plant.run(20, 225)
    plant.chip.firmware_takes(2)
    plant.chip.channels[2].points = [64, 64]
    plant.run(12, 225)
    assert plant.duty() == 100


@pytest.mark.parametrize(("value", "higher"), [(200, True), (20, False)])
def test_f20_third_party_writes(rig: Build, value: int, higher: bool) -> None:
    plant = rig()
    plant.chip.channels[2].shown_pwm = plant.chip.channels[2].pwm = value
    plant.run(1, IDLE)
    assert "THIRD_PARTY" in plant.alarms()
    assert f"to {value}" in "".join(plant.lines)
    plant.run(1, IDLE)
    assert plant.duty() == pytest.approx(value / 2.55 if higher else 25, abs=1)  # the higher wish wins
    for _ in range(10):
        plant.chip.channels[2].shown_pwm = plant.chip.channels[2].pwm = value
        plant.run(1, IDLE)
    # The same wish each second is granted; a lower one is a fight, and no endless one.
    assert plant.duty() == (pytest.approx(value / 2.55) if higher else 100)


def test_f20_the_rival_is_named(rig: Build) -> None:
    plant = rig()
    plant.engine.rivals = lambda: ["fancontrol (812)"]
    plant.chip.channels[2].shown_pwm = plant.chip.channels[2].pwm = 30
    plant.run(1, IDLE)
    assert "fancontrol (812)" in "".join(plant.lines)


def test_f21_first_write_of_a_manual_only_controller(rig: Build) -> None:
    plant = rig(settle=False, chip=ManualOnlyChip, spare=3)
    plant.run(1)
    assert all(channel.pwm == 255 for channel in plant.chip.channels.values())
    plant.run(150, IDLE)
    assert plant.duty() < 30
    assert [plant.chip.channels[n].pwm for n in (3, 4, 5)] == [255] * 3  # not ours: left at full speed
    # Resume: the cache starts from 0 again.
    plant.chip.forget()
    plant.clock.slept += 3600
    plant.run(1)
    assert [plant.chip.channels[n].pwm for n in (3, 4, 5)] == [255] * 3
    assert plant.duty() >= plant.blower().config.floor


def test_f21_the_chips_own_table_is_armed(rig: Build) -> None:
    plant = rig()
    assert plant.chip.channels[2].points == [255, 255]
    assert plant.chip.channels[3].points == [64, 128]  # not ours
    plant.chip.firmware_takes(2)
    assert plant.duty() == 100  # so that automatic means full speed
