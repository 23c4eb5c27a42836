"""F01 to F10: what a sensor does wrong, and what the blower must do about it."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from mi50_fand.sample import Sensor

from lab.plant.rig import IDLE, Rig

Build = Callable[..., Rig]
SENSORS = {"edge": 1, "junction": 2, "mem": 3}


def attribute(rig: Rig, sensor: str) -> str:
    return f"{rig.card.base}/temp{SENSORS[sensor]}_input"


def duties(trace: list[dict]) -> list[float]:
    return [row["duty"]["front"] for row in trace]


def never_falls(trace: list[dict]) -> bool:
    values = duties(trace)
    return all(after >= before for before, after in zip(values, values[1:], strict=False))


@pytest.mark.parametrize("whole", [False, True], ids=["temp2_input", "hwmon directory"])
def test_f01_sensor_gone(rig: Build, whole: bool) -> None:
    plant = rig()
    before = plant.blower().duty
    if whole:
        plant.card.unbind()
    else:
        plant.io.faults[attribute(plant, "junction")] = errno.ENOENT
    trace = plant.run(3)
    assert duties(trace)[0] >= before
    assert plant.duty() == 100
    plant.run(20)
    assert plant.duty() == 100
    # Comes back under another number, and the daemon finds it without help.
    plant.io.faults.clear()
    plant.card.unbind()
    plant.card.plug("hwmon11")
    plant.run(150, IDLE)
    assert plant.duty() < 30
    assert plant.alarms() == set()


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, errno.EINVAL], ids=["EIO", "ETIMEDOUT", "EINVAL"])
@pytest.mark.parametrize("sensor", SENSORS)
def test_f02_read_error(rig: Build, number: int, sensor: str) -> None:
    plant = rig()
    plant.run(3, 150)
    before = plant.blower().duty
    plant.io.faults[attribute(plant, sensor)] = number
    plant.die.load = IDLE
    plant.run(1)
    assert before <= plant.blower().duty < 100
    plant.io.faults.clear()
    plant.run(10)
    assert plant.blower().duty < 100  # one missed sample is no emergency
    plant.io.faults[attribute(plant, sensor)] = number
    plant.run(3)
    assert plant.duty() == 100
    assert "SENSOR_INVALID" in plant.alarms()


def test_f03_asleep(rig: Build) -> None:
    plant = rig()
    for sensor in SENSORS:
        plant.io.faults[attribute(plant, sensor)] = errno.EPERM
    plant.io.values[f"{plant.card.device}/power/runtime_status"] = "suspended"
    # A read would wake the card on older kernels: hung sensors show that nobody reads them.
    plant.io.faults[attribute(plant, "edge")] = 1e9
    trace = plant.run(60)
    assert set(duties(trace)) == {plant.blower().config.floor}
    assert plant.alarms() == set()
    plant.io.faults.clear()
    plant.io.values[f"{plant.card.device}/power/runtime_status"] = "active"
    plant.run(5, IDLE)
    assert plant.alarms() == set()


def test_f04_reset(rig: Build) -> None:
    plant = rig()
    for sensor in SENSORS:
        plant.io.faults[attribute(plant, sensor)] = errno.EPERM
    plant.run(1)
    assert plant.duty() == 100
    assert "GPU_RESET" in plant.alarms()
    plant.run(5)
    plant.io.faults.clear()
    plant.run(9)
    assert plant.blower().duty == 100
    card = next(iter(plant.engine.cards.values()))
    assert not card.may_lower  # nine good samples are one too few
    plant.run(1)
    assert card.may_lower


@pytest.mark.parametrize(
    "word", ["", "garbage", "nan", "inf", "1_0", "4", "0x32", "45 000", "-", "\uff14\uff15\uff10\uff10\uff10"]
)
def test_f05_no_number(rig: Build, word: str) -> None:
    """A partial line (the first digit alone) is 4 m°C, which no card has."""
    plant = rig()
    before = plant.blower().duty
    plant.io.faults[attribute(plant, "junction")] = word
    plant.run(1)
    assert plant.blower().duty >= before
    plant.run(2)
    assert plant.duty() == 100


@pytest.mark.parametrize("milli", ["0", "-273000", "-128000", "511000", "65535000"])
def test_f06_implausible(rig: Build, milli: str) -> None:
    plant = rig()
    plant.run(3, 120)
    before = plant.blower().duty
    for sensor in SENSORS:
        plant.io.faults[attribute(plant, sensor)] = milli
    trace = plant.run(30)
    assert never_falls(trace)
    assert duties(trace)[0] >= before
    assert duties(trace)[2] == 100
    assert "poweroff" not in plant.commands.words()
    assert next(iter(plant.engine.ladders.values())).rung == 0  # the tacho shows that the blower turns


def test_f07_frozen_value_under_moving_power(rig: Build) -> None:
    plant = rig()
    plant.run(5, 100)
    plant.io.faults[attribute(plant, "junction")] = f"{int(plant.die.junction)}000"
    plant.run(59, lambda second: 200.0 if second % 40 < 20 else 40.0)
    assert "SENSOR_STUCK" not in plant.alarms()
    plant.run(5, lambda second: 200.0)
    assert "SENSOR_STUCK" in plant.alarms()
    assert plant.duty() == 100


def test_f07_a_steady_value_under_steady_power_is_no_fault(rig: Build) -> None:
    plant = rig()
    plant.io.faults[attribute(plant, "junction")] = f"{int(plant.die.junction)}000"
    plant.run(300, IDLE)
    assert plant.alarms() == set()


def test_f08_junction_far_above_the_others(rig: Build) -> None:
    plant = rig()
    for sensor, word in (("junction", "105000"), ("edge", "50000"), ("mem", "50000")):
        plant.io.faults[attribute(plant, sensor)] = word
    plant.run(60)
    assert plant.duty() == 100
    assert "SENSOR_DELTA" in plant.alarms()
    assert plant.commands.words() == []  # nothing is stopped, nothing is powered off
    plant.io.faults[attribute(plant, "junction")] = "112000"
    plant.run(30)
    assert "poweroff" not in plant.commands.words()


def test_f09_single_spike(rig: Build) -> None:
    plant = rig()
    for sensor in SENSORS:
        plant.io.faults[attribute(plant, sensor)] = "60000"
    plant.run(120)
    before = plant.blower().duty
    assert before < 70
    plant.io.faults[attribute(plant, "junction")] = "123000"
    spike = plant.run(1)
    plant.io.faults[attribute(plant, "junction")] = "60000"
    after = plant.run(20)
    assert sum(duty == 100 for duty in duties(spike + after)) <= 1
    assert duties(after)[0] == before
    assert not next(iter(plant.engine.cards.values())).thermal_full
    assert plant.said("LADDER_CAP") is False
    assert plant.commands.words() == []


def test_f09_two_samples_are_no_spike(rig: Build) -> None:
    plant = rig()
    plant.io.faults[attribute(plant, "junction")] = "100000"
    plant.run(1)
    assert plant.duty() >= 85  # acted on at once
    plant.run(1)
    assert next(iter(plant.engine.cards.values())).thermal_full


@pytest.mark.parametrize(("policy", "full"), [("mandatory", True), ("optional", False)])
def test_f10_memory_sensor_missing(rig: Build, document: Callable[..., dict], policy: str, full: bool) -> None:
    data = document()
    data["gpus"][0]["sensors"] = {"mem": policy}
    plant = rig(data)
    plant.io.faults[attribute(plant, "mem")] = errno.ENODATA
    plant.run(20, IDLE)
    assert (plant.duty() == 100) is full


def test_f10_memory_alone_is_hot(rig: Build) -> None:
    plant = rig()
    for sensor, word in (("junction", "70000"), ("edge", "65000"), ("mem", "70000")):
        plant.io.faults[attribute(plant, sensor)] = word
    plant.run(30)
    before = plant.blower().duty
    plant.io.faults[attribute(plant, "mem")] = "90000"
    plant.run(1)
    assert plant.blower().duty > before + 20


def test_f08_junction_below_edge(rig: Build) -> None:
    """The hot spot is the hottest point of the die by definition."""
    plant = rig()
    for sensor, word in (("edge", "70000"), ("junction", "50000"), ("mem", "60000")):
        plant.io.faults[attribute(plant, sensor)] = word
    plant.run(5)
    assert plant.duty() == 100
    assert "SENSOR_DELTA" in plant.alarms()


def test_f09_a_sudden_fall_is_believed_at_the_third_sample() -> None:
    sensor = Sensor("junction", mandatory=True)
    sensor.judge(0, "95000", 100.0, awake=True)
    assert sensor.valid
    for second, valid in ((1, False), (2, False), (3, True)):
        sensor.judge(second, "30000", 100.0, awake=True)
        assert sensor.valid is valid
    assert sensor.temp == 30
    sensor.judge(4, "5000", 100.0, awake=True)  # 25 K in 4 s is what a card does
    assert sensor.valid


def test_full_speed_near_the_limit_lasts_until_everything_is_calm(rig: Build) -> None:
    plant = rig()
    for sensor, word in (("junction", "96000"), ("edge", "80000"), ("mem", "75000")):
        plant.io.faults[attribute(plant, sensor)] = word
    plant.run(10, IDLE)
    assert "THERMAL_FULL" in plant.alarms()
    for sensor, word in (("junction", "70000"), ("edge", "65000"), ("mem", "60000")):
        plant.io.faults[attribute(plant, sensor)] = word
    assert set(duties(plant.run(60, IDLE))) == {100}
    plant.run(60, IDLE)
    assert plant.duty() < 90
