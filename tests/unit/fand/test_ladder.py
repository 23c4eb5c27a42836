"""Rungs and their conditions that no fault of the matrix reaches by itself; late answers; commands."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable

from mi50_fand.commands import Commands
from mi50_fand.desk import Desk
from mi50_fand.workers import Pool, Ticket

from lab.plant.rig import IDLE, Rig
from lab.plant.standin_sysfs import VirtualClock

Build = Callable[..., Rig]


def temps(rig: Rig, edge: float, junction: float, mem: float) -> None:
    for number, value in ((1, edge), (2, junction), (3, mem)):
        rig.io.faults[f"{rig.card.base}/temp{number}_input"] = f"{int(value * 1000)}"


def rung(rig: Rig) -> int:
    return next(iter(rig.engine.ladders.values())).rung


def test_cap_needs_three_samples(rig: Build) -> None:
    plant = rig()
    temps(plant, 85, 97, 80)
    plant.run(2)
    temps(plant, 90, 102, 85)
    plant.run(2, 200)
    assert rung(plant) == 0
    plant.run(1, 200)
    assert rung(plant) == 1


def test_units_are_stopped_at_the_limit_only_while_it_rises(rig: Build) -> None:
    plant = rig()
    temps(plant, 88, 104, 85)
    plant.run(4, 60)
    temps(plant, 90, 106, 86)
    plant.run(20, 60)
    assert rung(plant) == 1  # at the limit, and standing still: the driver throttles there
    for step in range(8):
        temps(plant, 90, 106 + step / 5, 86)
        plant.run(1, 60)
    assert rung(plant) == 2


def test_blind_and_unproven_for_long_lowers_the_cap(rig: Build, document: Callable[..., dict]) -> None:
    data = document()
    data["blowers"][0] |= {"tacho": None, "calibration": []}
    plant = rig(data)
    for number in (1, 2, 3):
        plant.io.faults[f"{plant.card.base}/temp{number}_input"] = errno.EIO
    plant.run(10, 200)
    assert rung(plant) == 0
    plant.run(8, 200)
    assert rung(plant) == 1


def test_blind_with_a_blower_that_turns_is_cool_enough(rig: Build) -> None:
    plant = rig()
    for number in (1, 2, 3):
        plant.io.faults[f"{plant.card.base}/temp{number}_input"] = errno.EIO
    plant.run(40, 200)
    assert rung(plant) == 0
    assert plant.duty() == 100


def test_chip_gone_under_load_lowers_the_cap(rig: Build) -> None:
    plant = rig()
    plant.run(5, 200)
    plant.chip.unplug()
    plant.run(6, 200)
    assert rung(plant) == 0  # a driver that is loaded anew
    plant.run(6, 200)
    assert rung(plant) == 1


def test_power_that_cannot_be_read_holds_the_duty(rig: Build) -> None:
    plant = rig()
    plant.run(3, 150)
    before = plant.blower().duty
    plant.io.faults[f"{plant.card.base}/power1_average"] = errno.EIO
    plant.run(60, IDLE)
    assert plant.blower().duty == before


def test_a_blower_without_a_calibration_must_at_least_follow(rig: Build, document: Callable[..., dict]) -> None:
    data = document()
    data["blowers"][0]["calibration"] = []
    plant = rig(data)
    plant.chip.lost = True
    plant.run(12, 225)
    assert plant.alarms() & {"FAN_WEAK", "TACHO_UNUSABLE"}


def test_a_late_answer_is_taken_while_it_is_fresh() -> None:
    class Slow(Pool):
        def __init__(self, clock: VirtualClock) -> None:
            self.clock = clock
            self.tickets: list[Ticket] = []

        def submit(self, key: str, job: Callable[[], object]) -> Ticket:
            self.tickets.append(Ticket(job, self.clock.monotonic()))
            return self.tickets[-1]

    clock = VirtualClock()
    pool = Slow(clock)
    desk = Desk(pool, 1.0)
    desk.ask("card", lambda: "first")
    assert desk.answer("card", clock.now) is None
    pool.tickets[0].run()  # between the two cycles
    clock.now += 1
    desk.ask("card", lambda: "second")
    assert desk.answer("card", clock.now) == "first"
    pool.tickets[1].run()
    clock.now += 5
    desk.ask("card", lambda: "third")
    assert desk.answer("card", clock.now) is None  # too old to say anything


def test_commands_are_started_once_in_a_while_and_their_failures_told() -> None:
    commands = Commands()
    words = [sys.executable, "-c", "raise SystemExit(3)"]
    assert commands.start(words, 0.0) == ""
    assert commands.start(words, 5.0) == ""
    assert len(commands._running) == 1
    deadline = time.monotonic() + 10
    failures: list[str] = []
    while not failures and time.monotonic() < deadline:
        failures = commands.reap()
        time.sleep(0.02)
    assert failures[0].endswith("ended with 3")
    assert "No such file" in commands.start(["/nonexistent/systemctl"], 0.0)
    commands.start(words, 31.0)
    assert len(commands._running) == 1
    while commands._running:
        commands.reap()
        time.sleep(0.02)
